"""Faults inside a worker's process, and sabotage: what keeps a promise is switched off.

A test passes `patch(name, …)` to `start_worker(bug=…)`. The product has no switches for them.
"""

import asyncio
import os
import random
import signal
import time
import uuid
import zlib
from datetime import datetime, timedelta
from pathlib import Path

from schemas import rules
from streams import app as wiring
from streams.kafka import dead_letter, events, transport, worker
from streams.kafka.acker import Acker
from streams.stages import screen

ROOT = Path(__file__).parents[2]


def patch(name, *arguments):
    """Return lines of code that apply a patch of this module in another process."""
    return (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        f"from tests.chaos import patches; patches.{name}(*{arguments!r})"
    )


def session_timeout(seconds):
    """Let the group notice a dead member sooner than after 30 s, so that tests can kill more.

    6 s is the least that a broker takes.
    """
    configured(broker_session_timeout=seconds, broker_heartbeat_interval=seconds / 5)


def metadata_age(seconds):
    """Let clients look for new partitions more often than every 5 minutes."""
    configured(consumer_metadata_max_age_ms=seconds * 1000)


def configured(**settings):
    """Change settings of Faust."""
    make = worker.faust_app

    def changed(*arguments):
        app = make(*arguments)
        for name, value in settings.items():
            setattr(app.conf, name, value)
        return app

    worker.faust_app = changed


def die():
    """End as a crash of the machine would: nothing more is sent."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_publishing(times):
    """Die when a micro-batch's events are delivered, and none of them is acknowledged."""
    publish, calls = worker.published, iter(range(1, times + 1))

    async def published(*arguments, **options):
        taken = await publish(*arguments, **options)
        if next(calls, times) == times:
            die()
        return taken

    worker.published = published


def die_while_publishing(times):
    """Die when half of a micro-batch's events are delivered: an assessment without its alert."""
    publish, calls = worker.published, iter(range(1, times + 1))

    async def published(app, events, **options):
        if next(calls, times) == times:
            await publish(app, events[: (len(events) + 1) // 2], **options)
            die()
        return await publish(app, events, **options)

    worker.published = published


def die_before_commit(times):
    """Die when offsets are about to be committed."""
    commit, calls = transport.PromptConsumer._commit, iter(range(1, times + 1))

    async def dying(consumer, offsets):
        if next(calls, times) == times:
            die()
        return await commit(consumer, offsets)

    transport.PromptConsumer._commit = dying


def die_after_commit(times):
    """Die when offsets were committed, and nobody was told yet."""
    commit, calls = transport.PromptConsumer._commit, iter(range(1, times + 1))

    async def dying(consumer, offsets):
        done = await commit(consumer, offsets)
        if next(calls, times) == times:
            die()
        return done

    transport.PromptConsumer._commit = dying


DEATHS = (die_while_publishing, die_after_publishing, die_before_commit, die_after_commit)


def jump_clock(seed, hours, every_s):
    """Let the wall clock jump by up to so many hours, ahead and back, again and again.

    Time that is measured with the monotonic clock goes on as it does.
    """
    real, begin = time.time, time.monotonic()

    def ahead_s():
        jump = int((time.monotonic() - begin) / every_s)
        return random.Random(f"{seed} {jump}").uniform(-hours, hours) * 3600

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(seconds=ahead_s())

    time.time = lambda: real() + ahead_s()
    wiring.datetime = Clock


def slow_publishing(seconds):
    """Let every delivery take so long, so that much is under way when something happens."""
    publish = worker.published

    async def published(*arguments, **options):
        await asyncio.sleep(seconds)
        return await publish(*arguments, **options)

    worker.published = published


def slow_publishing_of_some(seconds):
    """Let the deliveries of one of the two pumps take so long: the other one overtakes it."""
    publish = worker.published

    async def published(app, some, **options):
        if zlib.crc32(some[0].key or b"") % 2:
            await asyncio.sleep(seconds)
        return await publish(app, some, **options)

    worker.published = published


# Sabotage.


def random_ids():
    """Give another id whenever an event is answered again."""
    screen.event_id = dead_letter.event_id = lambda *_: str(uuid.uuid4())


def unawaited_delivery():
    """Acknowledge events before the broker has what they led to."""
    publish, under_way = worker.published, set()

    async def published(app, some, **options):
        under_way.add(asyncio.create_task(publish(app, some, **options)))
        return [True] * len(some)

    worker.published = published


def acknowledge_in_any_order():
    """Acknowledge an event when it is done, whatever is before it."""

    def done(acker, ticket):
        acker._under_way[ticket.partition].remove(ticket)
        ticket.acknowledge()

    Acker.done = done


def read_uncommitted():
    """Read events of transactions that were aborted, too."""
    create = transport.PromptConsumerThread._create_worker_consumer

    def created(thread, driver):
        consumer = create(thread, driver)
        consumer._isolation_level = "read_uncommitted"
        return consumer

    transport.PromptConsumerThread._create_worker_consumer = created


def accept_any_value():
    """Check no rules for declarations."""
    rules.check = lambda declaration, _key: declaration


def accept_any_header():
    """Take headers as they come."""
    events.bounded_headers = tuple
