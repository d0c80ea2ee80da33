"""Releases events in the order of their offsets, however they finish.

Faust commits past an unfinished event when acknowledgements come out of order. "Nothing lost"
therefore rests on this module: it acknowledges an event once that event and all before it in its
partition are done.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from streams.kafka.heartbeat import Heartbeat


@dataclass(slots=True, eq=False)
class Ticket:
    """An event under way."""

    partition: Hashable
    acknowledge: Callable[[], object]
    since: float
    """When it arrived, by the acker's clock. Unit: s."""
    heartbeat: Heartbeat | None = None
    """Of what works on it, or on what it waits for."""
    done: bool = False

    @property
    def last_sign(self) -> float:
        """When it arrived, or what works on it last gave a sign of life. Unit: s."""
        return self.since if self.heartbeat is None else max(self.since, self.heartbeat.at)


class Acker:
    """In-order acknowledgement for each partition.

    `track` must be called in the order of the offsets, `done` may be called in any.
    Neither blocks nor awaits; both belong to the event loop's thread.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._under_way: defaultdict[Hashable, deque[Ticket]] = defaultdict(deque)

    def track(
        self,
        partition: Hashable,
        acknowledge: Callable[[], object],
        heartbeat: Heartbeat | None = None,
    ) -> Ticket:
        """Register an event that arrived.

        Args:
            partition: of the event.
            acknowledge: releases its offset.
            heartbeat: of what works on it; without one its age counts as time without progress.
        """
        ticket = Ticket(partition, acknowledge, self.clock(), heartbeat)
        self._under_way[partition].append(ticket)
        return ticket

    def done(self, ticket: Ticket) -> None:
        """Mark an event whose outcome is delivered; acknowledge all that waited for it alone."""
        ticket.done = True
        queue = self._under_way[ticket.partition]
        while queue and queue[0].done:
            queue.popleft().acknowledge()

    @property
    def overtaken(self) -> list[Ticket]:
        """Events that are not done, but later ones of their partition are; in their order."""
        tickets = []
        for queue in self._under_way.values():
            last_done = max((n for n, ticket in enumerate(queue) if ticket.done), default=0)
            tickets += [ticket for ticket in list(queue)[:last_done] if not ticket.done]
        return tickets

    @property
    def under_way(self) -> int:
        """Number of events that are not yet acknowledged."""
        return sum(map(len, self._under_way.values()))

    @property
    def oldest_age(self) -> float:
        """How long the oldest event has been under way; 0 when there is none. Unit: s."""
        heads = [queue[0].since for queue in self._under_way.values() if queue]
        return self.clock() - min(heads) if heads else 0.0

    @property
    def longest_silence(self) -> float:
        """How long no sign of life came for one of the events that are not done. Unit: s."""
        signs = [
            ticket.last_sign
            for queue in self._under_way.values()
            for ticket in queue
            if not ticket.done
        ]
        return self.clock() - min(signs) if signs else 0.0
