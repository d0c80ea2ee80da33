"""customs-messages → declarations, dead-letters.

Each message becomes a version of its declaration, or a dead letter. One in JSON says itself which.
In XML an amendment before its original waits in object storage; if that never comes, it ends as a
dead letter.

Messages are read in a thread: a large one would keep the loop from Kafka for a second.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Final, ParamSpec, TypeVar

import structlog

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration
from schemas.topics import DECLARATIONS
from streams import metrics
from streams.intake import json_message
from streams.intake.ledger import EXPIRY, Ledger, Received, Step
from streams.intake.store import Changed, Ledgers, Mark, StoreFailed
from streams.intake.wco import Message, understand
from streams.intake.xml_document import XmlSchema
from streams.kafka.dead_letter import dead_letter, reason_of
from streams.kafka.events import Inbound, Outbound, cloud_event, event_id, fate_of
from streams.retry import retrying

MESSAGE: Final = "customs-message"
"""Names what a message leads to, in its id."""
SWEEP_EVERY: Final = timedelta(minutes=1)
CONFLICTS: Final = 5
"""Times that a ledger is read again because another worker replaced it; then that worker has it."""
P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Intake:
    """The stage; see the module."""

    def __init__(
        self,
        *,
        schema_id: int,
        ledgers: Ledgers,
        now: Callable[[], datetime],
        wait: timedelta,
        schema: XmlSchema | None = None,
        executor: Executor | None = None,
        attempts: int = 6,
        delay_s: float = 0.5,
    ) -> None:
        """Take the services.

        Args:
            schema_id: of declarations.
            ledgers: of declarations between their messages.
            now: the clock.
            wait: longest time that an amendment waits for its original.
            schema: that messages in XML must follow; None for none.
            executor: threads that read messages; those of the loop by default.
            attempts: of object storage that fails; then the worker stops.
            delay_s: see `retrying`.
        """
        self._schema_id = schema_id
        self._ledgers = ledgers
        self._now = now
        self._wait = wait
        self._schema = schema
        self._executor = executor
        self._retry = retrying(attempts=attempts, delay_s=delay_s)
        self._swept: datetime | None = None
        self._published: list[Mark] = []
        """Marks whose expired messages were published; forgotten once that is certain."""

    async def __call__(self, batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
        """Take a micro-batch; returns what each message leads to, in order.

        What expired is published with the first of them.
        """
        by_key: dict[bytes | None, list[Inbound]] = {}
        for cause in batch:
            by_key.setdefault(cause.key, []).append(cause)
        fates: dict[Inbound, tuple[Outbound, ...]] = {}
        # Messages of one declaration one after the other, those of others at the same time.
        for some in await asyncio.gather(*map(self._taken, by_key.values())):
            fates |= some
        results = [fates[cause] for cause in batch]
        if results and (expired := await self._sweep()):
            results[0] += expired
        return results

    async def _taken(self, causes: Iterable[Inbound]) -> Mapping[Inbound, tuple[Outbound, ...]]:
        return {cause: await self._fate(cause) for cause in causes}

    async def _fate(self, cause: Inbound) -> tuple[Outbound, ...]:
        try:
            if json_message.is_json(cause.value or b"", cause.header("content-type")):
                return (await self._stated(cause),)
            return await self._entered(cause)
        except StoreFailed:
            raise
        except Exception as error:  # noqa: BLE001 - reported in its dead letter, and counted
            return (self._dead(cause, error),)

    async def _stated(self, cause: Inbound) -> Outbound:
        """Return the version that a message in JSON states, or its dead letter."""
        message = await self._in_thread(
            json_message.parse, cause.value or b"", cause.header("content-type")
        )
        cause = message.identified(cause)
        try:
            declaration = await self._in_thread(message.declaration, cause.key or b"")
        except Undecodable as error:
            return self._dead(cause, error)
        metrics.CUSTOMS_MESSAGES.labels(json_message.kind_of(declaration)).inc()
        return self._version(declaration, event_id(cause, "", MESSAGE), cause)

    async def _entered(self, cause: Inbound) -> tuple[Outbound, ...]:
        """Return what a message in XML leads to: nothing while it waits."""
        message = await self._in_thread(self._understand, cause.value or b"")
        _check_key(cause, message)
        received = Received.of(cause, event_id(cause, "", MESSAGE))
        ledger = await self._retry((StoreFailed,), self._enter, received, message)
        steps = ledger.published_with(received.event)
        metrics.CUSTOMS_MESSAGES.labels(message.kind if steps else "waiting").inc()
        return tuple(
            self._event(step, step.received.inbound() if step.received else cause) for step in steps
        )

    async def _in_thread(self, call: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *arguments)

    def _understand(self, value: bytes) -> Message:
        return understand(value, self._schema)

    async def _enter(self, received: Received, message: Message) -> Ledger:
        """Enter a message into its declaration's ledger; returns the ledger."""

        def enter(ledger: Ledger) -> Ledger:
            taken = ledger.take(received, message)
            return taken.release(received.event, self._understand)

        return await self._change(message.reference, enter)

    async def _change(self, reference: str, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Change a ledger, again where another worker replaced it meanwhile; returns it."""
        for _ in range(CONFLICTS):
            kept = await self._ledgers.load(reference)
            ledger = await self._in_thread(change, kept.ledger)
            if ledger is kept.ledger:
                return ledger
            if len(ledger.waiting) > len(kept.ledger.waiting):
                # First, so that a message never waits without a mark.
                await self._ledgers.mark(reference, ledger.waiting[-1].timestamp)
            try:
                await self._ledgers.save(reference, ledger, kept.tag)
            except Changed:
                continue
            return ledger
        raise StoreFailed("the ledger of a declaration is replaced again and again")

    async def _sweep(self) -> tuple[Outbound, ...]:
        """Return the dead letters of what waited too long.

        A mark is forgotten only a sweep later, when they are certainly published: a worker that is
        killed before that publishes them again, under the same ids.
        """
        now = self._now()
        if self._swept is not None and now - self._swept < SWEEP_EVERY:
            return ()
        self._swept = now
        for mark in self._published:
            await self._retry((StoreFailed,), self._ledgers.unmark, mark)
        self._published = []
        letters: list[Outbound] = []
        before = (now - self._wait).timestamp()
        for mark in await self._retry((StoreFailed,), self._marks, before):
            ledger = await self._retry(
                (StoreFailed,), self._change, mark.reference, lambda ledger: ledger.expire(before)
            )
            letters += [
                self._event(step, step.received.inbound())
                for step in ledger.published_with(EXPIRY)
                if step.received
            ]
            self._published.append(mark)
        return tuple(letters)

    async def _marks(self, before: float) -> list[Mark]:
        return [mark async for mark in self._ledgers.marks(before)]

    def _event(self, step: Step, cause: Inbound) -> Outbound:
        """Return the version that a message made, or its dead letter."""
        if step.declaration is None:
            return self._dead(cause, Undecodable(Reason(step.reason), step.detail))
        return self._version(step.declaration, step.event, cause)

    def _version(self, declaration: Declaration, event: str, cause: Inbound) -> Outbound:
        """Return the event of a version, under an id."""
        return Outbound(
            topic=DECLARATIONS,
            key=declaration.declaration_id.encode(),
            value=codec.encode(declaration, self._schema_id),
            headers=cloud_event(
                Declaration.SCHEMA,
                id_=event,
                source="redlane/intake",
                time=self._now(),
                traceparent=cause.header("traceparent"),
                extensions=[fate_of(cause)],
            ),
        )

    def _dead(self, cause: Inbound, error: Exception) -> Outbound:
        metrics.CUSTOMS_MESSAGES.labels("dead_letter").inc()
        log.warning(
            "dead letter",
            partition=cause.partition,
            offset=cause.offset,
            error=type(error).__name__,
            reason=reason_of(error),
        )
        return dead_letter(cause, error, stage="intake", bundle_id="")


def _check_key(cause: Inbound, message: Message) -> None:
    """Check that all messages of a declaration are under one key, and so in their order.

    Raises:
        Undecodable: they are not.
    """
    if cause.key != message.reference.encode():
        raise Undecodable(
            Reason.MESSAGE_INVALID, "the event's key is not the LRN (or else MRN) of the message"
        )
