"""Networks that fail before Kafka, the registry, Redis and object storage: one fate each.

The worker reaches every service through a proxy (proxy.py); whoever sends and verifies does not.
"""

import contextlib
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from schemas.reasons import Reason
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.local.process import LOOPBACK
from tests.chaos.services.proxy import TO_CLIENT, TO_SERVER, Fault, Proxy
from tests.chaos.supervisor import Supervisor, behind
from tests.chaos.traffic import Load, arrivals, half_new, source
from tests.chaos.verifier import assert_exactly_one_fate, ends, read_all

TOPICS = (DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)
RATE = 4.0
"""Declarations a second."""
FAULTS = {
    "latency": Fault(latency_s=0.3, jitter_s=0.3),
    "down": Fault(down=True),
    "reset": Fault(reset=True),
    "one way, to the server": Fault(held=frozenset({TO_SERVER})),
    "one way, to the client": Fault(held=frozenset({TO_CLIENT})),
    "both ways": Fault(held=frozenset({TO_SERVER, TO_CLIENT})),
    "bandwidth": Fault(bytes_s=2_000),
    "slices": Fault(slice_bytes=7),
    "truncation": Fault(truncate_at=50),
    "slow close": Fault(slow_close_s=3.0, truncate_at=5_000),
}
SERVICES = ("kafka", "registry", "redis", "storage")
MAY_DEGRADE = {"redis": {Reason.SIGNALS_UNAVAILABLE}, "storage": {Reason.PHOTO_UNAVAILABLE}}
"""What a declaration may be judged without; for other services nothing."""
MAY_END = {"kafka", "registry"}
"""Services without which a worker ends after a while, to be started again."""
LONGEST_S = {"kafka": 15.0, "registry": 20.0}
"""Of a fault; long enough for a worker to end without the service."""


@dataclass
class Window:
    """A fault, and the time of it."""

    service: str
    name: str
    begun: float
    healed: float = 0.0


@pytest.fixture
def proxies(stack, dice):
    """Service → the proxy in front of it."""
    kafka = stack.kafka
    ports = {
        "registry": urlsplit(stack.registry.url).port,
        "redis": urlsplit(stack.valkey.url).port,
        "storage": urlsplit(stack.seaweedfs.endpoint).port,
    }
    with contextlib.ExitStack() as running:
        started = {
            name: running.enter_context(Proxy(port, dice=dice)) for name, port in ports.items()
        }
        broker = Proxy(kafka.behind_proxies[0], port=kafka.proxy_ports[0], dice=dice)
        yield started | {"kafka": running.enter_context(broker)}


@pytest.fixture
def worker(stack, proxies, start_worker):
    """A supervised worker behind the proxies, with little patience."""
    address = {name: f"{LOOPBACK}:{proxy.port}" for name, proxy in proxies.items()}
    supervisor = Supervisor(
        start_worker,
        kafka_bootstrap_servers=address["kafka"],
        registry_url=stack.registry.url.replace(
            urlsplit(stack.registry.url).netloc, address["registry"]
        ),
        redis_url=f"redis://{address['redis']}/0",
        s3_endpoint=f"http://{address['storage']}",
        delivery_timeout_s="6",
        photo_deadline_s="2",
        cache_pause_s="1",
    )
    supervisor.wait_ready()
    return supervisor


def go_through(settings, proxies, worker, schedule, figures):
    """Inject faults one after the other, and wait after each until all that was sent has a fate."""
    windows, caught_up = [], []
    for service, name, seconds in schedule:
        window = Window(service, name, time.time())
        windows.append(window)
        exits = len(worker.exits)
        proxies[service].inject(FAULTS[name])
        if service == "registry":  # only a worker that starts needs it, once its model is loaded
            worker.restart()
            worker.wait(lambda: "model warm" in worker.worker.log.read_text(), within_s=120)
        worker.sleep(seconds)
        window.healed = time.time()
        first, everything = worker.recover(settings, proxies[service].heal, figures)
        caught_up.append(round(everything, 1))
        print(
            f"{service}, {name} for {seconds:.1f} s: first fate after {first:.1f} s, all after "
            f"{everything:.1f} s, exits {len(worker.exits) - exits}",
            flush=True,
        )
        assert service in MAY_END or len(worker.exits) == exits, worker.worker.tail()
        worker.wait_ready()
        worker.sleep(1.5)  # until Redis is asked again
    figures.faults = len(windows)
    figures.more |= {"caught_up_s": max(caught_up), "exits": len(worker.exits)}
    return windows


def check_degradations(settings, seen, windows, figures):
    """Nothing is missing but what the service of the fault gives; record how often it was."""
    times = arrivals(settings, ASSESSMENTS)
    in_faults, degraded = 0, 0
    for answer in seen.on(ASSESSMENTS):
        at = times[answer.key]
        latest = [window for window in windows if window.begun <= at]
        allowed = MAY_DEGRADE.get(latest[-1].service, set()) if latest else set()
        codes = {each.code for each in answer.record.degraded}
        assert codes <= allowed, (answer.key, codes, latest[-1:])
        if latest and at < latest[-1].healed:
            in_faults += 1
            degraded += bool(codes)
    figures.more |= {"fates_in_faults": in_faults, "degraded_in_faults": degraded}


@pytest.fixture
def consignments(stack, goods_folder, dice):
    """Clean ones, half of goods that were never seen."""
    return half_new(source(stack.settings(), goods_folder, dice).consignments(100_000), dice)


@pytest.fixture
def prove(stack, proxies, worker, consignments, figures):
    """Sends at a steady rate, goes through a schedule, and verifies."""

    def go(schedule):
        settings = stack.settings()
        mark = ends(settings, TOPICS)
        with Load(settings, consignments, rate=RATE) as load:
            worker.wait(lambda: load.sent > 2 * RATE, within_s=60)
            windows = go_through(settings, proxies, worker, schedule, figures)
        target = ends(settings, (DECLARATIONS,))
        worker.wait(lambda: not behind(settings, target), within_s=180)
        assert worker.worker.stop() == 0
        seen = read_all(settings, TOPICS, since=mark)
        assert_exactly_one_fate(seen, figures=figures)
        check_degradations(settings, seen, windows, figures)
        assert figures.records == load.sent

    return go


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_every_fault_of_a_network(prove, service, dice, faults):
    """All of them, in random order and for random times, while declarations flow."""
    names = list(FAULTS)
    dice.shuffle(names)
    prove(
        [
            (service, names[number % len(names)], dice.uniform(2, LONGEST_S.get(service, 6.0)))
            for number in range(faults(len(names)))
        ]
    )


def test_a_network_that_fails_for_a_moment(prove, dice):
    """One fault of each service but the registry, which only a start needs."""
    prove(
        [
            (service, dice.choice(["down", "reset", "truncation", "both ways"]), 1.5)
            for service in ("storage", "redis", "kafka")
        ]
    )
