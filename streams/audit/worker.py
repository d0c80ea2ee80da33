"""Settings → the process that logs decisions: the writer in a thread, health beside it."""

import asyncio
import signal
import time

import structlog

from schemas.topics import DECISION_LOG
from streams.audit.writer import Writer
from streams.exit_deadline import ExitDeadline
from streams.kafka.acker import Acker
from streams.kafka.contact import Contact, asking_for
from streams.kafka.health import Health
from streams.settings import Settings

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Log decisions until SIGTERM or SIGINT; then finish the transaction at hand.

    Raises:
        NotDeployed: the registry lacks a schema, or Kafka a topic.
        RegistryFailed, NoAnswer: the registry or Kafka does not answer.
        NotDelivered, LogDamaged, TooFewPartitions, SourceRecreated: see `Writer.run`.
    """
    asyncio.run(_run(settings, Writer(settings)))


async def _run(settings: Settings, writer: Writer) -> None:
    deadline = ExitDeadline(settings.stop_within_s, cut_off=lambda: contact.lost_s > 0)
    contact = Contact(
        asking_for(settings, DECISION_LOG),
        limit_s=settings.delivery_timeout_s,
        on_lost=deadline.start,
    )
    health = Health(
        Acker(clock=time.monotonic),  # a transaction is bounded by itself
        lambda: writer.assigned,
        settings.stall_limit_s,
        model_warm=True,
        cut_off_s=lambda: contact.lost_s,
        cut_off_limit_s=settings.delivery_timeout_s,
    )

    def stop() -> None:
        deadline.start()
        writer.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    runner = await health.serve(settings.health_host, settings.health_port)
    log.info("health served", addresses=[list(address) for address in runner.addresses])
    contact.start()
    try:
        await asyncio.to_thread(writer.run)
    finally:
        deadline.start()
        await runner.cleanup()
