"""A worker says how it is: live while events make progress, ready once it can take some."""

import aiohttp
import pytest

from streams.kafka.acker import Acker
from streams.kafka.health import CutOff, Health, Stalled
from streams.local.process import LOOPBACK


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def acker(clock):
    return Acker(clock)


@pytest.fixture
async def health(acker):
    """Health with one partition, and a function that asks it by HTTP."""
    partitions = [1]
    health = Health(acker, lambda: partitions[0], stall_limit_s=300, model_warm=True)
    runner = await health.serve(LOOPBACK, 0)
    ((host, port),) = runner.addresses

    async with aiohttp.ClientSession(f"http://{host}:{port}") as client:

        async def ask(path):
            async with client.get(path) as answer:
                return answer.status, await answer.text()

        yield health, partitions, ask
    await runner.cleanup()


async def test_it_is_live_while_events_make_progress(health, acker, clock):
    """A stalled event is seen, whatever port is open; one that is done is forgotten."""
    _, _, ask = health
    assert await ask("/livez") == (200, "live\n")
    ticket = acker.track("p0", lambda: None)
    clock.now = 300
    assert await ask("/livez") == (200, "live\n")
    clock.now = 301
    assert await ask("/livez") == (503, "An event has been under way for 301 s.\n")
    acker.done(ticket)
    assert await ask("/livez") == (200, "live\n")


async def test_it_is_ready_with_a_warm_model_and_a_partition(health):
    """It says what is missing."""
    worker, partitions, ask = health
    assert await ask("/readyz") == (200, "ready\n")
    partitions[0] = 0
    assert await ask("/readyz") == (503, "No partition is assigned yet.\n")
    worker.model_warm = False
    assert await ask("/readyz") == (503, "The model is not warm.\n")


async def test_metrics_tell_what_is_under_way(health, acker, clock):
    """In Prometheus' text format."""
    worker, partitions, ask = health
    partitions[0] = 4
    acker.track("p0", lambda: None)
    acker.track("p0", lambda: None)
    clock.now = 7
    worker.check_progress()
    status, text = await ask("/metrics")
    assert status == 200
    assert "\nredlane_declarations_under_way 2.0\n" in text
    assert "\nredlane_oldest_under_way_seconds 7.0\n" in text
    assert "\nredlane_assigned_partitions 4.0\n" in text


async def test_a_stall_stops_the_worker_that_watches_itself(health, acker, clock):
    """The gauges are up to date when it does."""
    worker, _, ask = health
    acker.track("p0", lambda: None)
    clock.now = 301
    with pytest.raises(Stalled, match="301 s"):
        worker.check_progress()
    assert "redlane_oldest_under_way_seconds 301.0\n" in (await ask("/metrics"))[1]


async def test_a_worker_without_kafka_says_so(health):
    """At once that it is not ready; after the limit that it is not live, and it stops itself."""
    worker, _, ask = health
    cut_off = [0.0]
    worker.cut_off_s, worker.cut_off_limit_s = lambda: cut_off[0], 60
    assert await ask("/readyz") == (200, "ready\n")
    cut_off[0] = 4
    assert await ask("/readyz") == (503, "Kafka has not answered for 4 s.\n")
    assert await ask("/livez") == (200, "live\n")
    cut_off[0] = 61
    assert await ask("/livez") == (503, "Kafka has not answered for 61 s.\n")
    with pytest.raises(CutOff, match="61 s"):
        worker.check_progress()
