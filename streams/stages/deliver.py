"""alerts, explanations → webhooks to a case management system, dead-letters.

At least once, and in order for each declaration of a topic. An event that the receiver does not
take becomes a dead letter; a receiver that takes none stops the worker, before anything is
committed past what it has not taken.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import structlog
from structlog.contextvars import bound_contextvars

from schemas.records import Alert, Explanation
from schemas.topics import ALERTS, EXPLANATIONS, Topic
from streams.kafka.dead_letter import dead_letter, reason_of
from streams.kafka.events import Inbound, Outbound, identification
from streams.kafka.registry import NotDeployed, RegistryFailed
from streams.webhook.event import Webhook, webhook
from streams.webhook.receiver import ReceiverFailed

KINDS: Final[dict[str, tuple[Topic, type[Alert | Explanation]]]] = {
    ALERTS.name: (ALERTS, Alert),
    EXPLANATIONS.name: (EXPLANATIONS, Explanation),
}
"""Topic → what its events are."""
FAILURES: Final = (ReceiverFailed, RegistryFailed, NotDeployed)
"""What a failing service looks like."""
log = structlog.get_logger(__name__)


class Taker(Protocol):
    """Who gets the events: see `streams.webhook.receiver.Receiver`."""

    async def deliver(self, topic: str, event: Webhook) -> None:
        """Return once the event is taken."""


class Deliver:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        decode: Callable[[Topic, bytes | None, type[Alert | Explanation]], Alert | Explanation],
        receiver: Taker,
    ) -> None:
        """Take the services.

        Args:
            decode: see `streams.kafka.registry.Decoder`.
            receiver: of the events.
        """
        self._decode = decode
        self._receiver = receiver

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Deliver a micro-batch; returns a dead letter for each event that is not taken."""
        by_key: dict[bytes | None, list[Inbound]] = {}
        for cause in batch:
            by_key.setdefault(cause.key, []).append(cause)
        fates: dict[Inbound, tuple[Outbound, ...]] = {}
        # Events of one declaration one after the other, those of others at the same time.
        async with asyncio.TaskGroup() as tasks:
            for causes in by_key.values():
                tasks.create_task(self._deliver_all(causes, fates))
        return [fates[cause] for cause in batch]

    async def _deliver_all(
        self, causes: Iterable[Inbound], fates: dict[Inbound, tuple[Outbound, ...]]
    ) -> None:
        for cause in causes:
            fates[cause] = await self._fate(cause)

    async def _fate(self, cause: Inbound) -> tuple[Outbound, ...]:
        topic, kind = KINDS[cause.topic]
        try:
            # In a thread: it may ask the registry about a new schema.
            record = await asyncio.to_thread(self._decode, topic, cause.value, kind)
            with bound_contextvars(
                service="case management",
                declaration_id=identification(record.declaration_id),
                **cause.identity,
            ):
                await self._receiver.deliver(topic.name, webhook(cause, record))
        except FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
            log.warning(
                "dead letter",
                **cause.identity,
                topic=cause.topic,
                partition=cause.partition,
                offset=cause.offset,
                error=type(error).__name__,
                reason=reason_of(error),
            )
            return (dead_letter(cause, error, stage="deliver", bundle_id=""),)
        return ()
