"""Networks that fail under real workers: the CPU takes over, one event fails alone, or the worker stops."""

import time
import urllib.request

import numpy as np
import pytest
from redis import Redis

from models.datasets.goods import read
from schemas.topics import DEAD_LETTERS
from streams.evidence.embedding import FLOAT, REST
from streams.evidence.embedding_cache import CHECKSUM_BYTES
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run
from tests.chaos.faults.broken_networks import POISON, break_networks
from tests.chaos.faults.changed import described
from tests.chaos.faults.injection import injected
from tests.chaos.fleet import Fleet
from tests.chaos.traffic import never_seen

EVERY = 8
"""Of so many declarations, one has the text that is poison."""
IN_A_ROW = 8
"""Dead letters that a worker bears."""
UNDER_WAY = 32
"""Events that it has taken meanwhile: two micro-batches."""


@pytest.fixture
def fleet(stack, goods_folder, start_worker, dice, figures):
    """Workers of a group of their own, and regular declarations with some poison."""
    run, poisoned = new_run(), set()
    source = Irregularities(
        read(goods_folder),
        bucket=stack.settings().s3_buckets[0],
        run=run,
        seed=dice.randrange(1 << 31),
        shares={"clean": 1.0},
    )

    def consignments():
        for number, consignment in enumerate(source.consignments(10_000)):
            if number % EVERY == EVERY - 1:
                poisoned.add(consignment.declaration.declaration_id.encode())
                yield described(consignment, POISON)
            else:
                yield never_seen(consignment, dice)  # nothing cached: each needs every network

    workers = Fleet(
        stack, start_worker, consignments(), group=f"inference-{run}", dice=dice, figures=figures
    )
    workers.poisoned = poisoned
    yield workers
    workers.clean_up()


def faults_counted(worker):
    """What a worker's metrics say of failed runs: remedy → count."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = "redlane_inference_faults_total{remedy="
    return {
        line.split('"')[1]: int(float(line.split()[-1])) for line in lines if line.startswith(name)
    }


def cached(settings):
    """Embeddings in Redis: encoder → vectors."""
    with Redis.from_url(settings.redis_url.get_secret_value(), protocol=3) as redis:
        keys = list(redis.scan_iter("embedding:*"))
        values = redis.mget(keys) if keys else []
    embedded = {}
    for key, value in zip(keys, values, strict=True):
        numbers = value[CHECKSUM_BYTES:]
        if len(numbers) % FLOAT.itemsize:  # what is kept of a photo besides its vector
            numbers = numbers[: -REST.size]
        encoder = key.split(b":", 2)[2].rpartition(b":")[0]
        embedded.setdefault(encoder, []).append(np.frombuffer(numbers, FLOAT))
    return embedded


def test_a_lost_gpu_and_a_text_that_gives_nan(fleet, figures):
    """The CPU goes on under keys of its own; the text is a dead letter, and never in Redis."""
    known = set(cached(fleet.settings))
    worker = fleet.start_ready(injected(break_networks, gpu_lost_after=24))
    fleet.send(40)
    fleet.finish(within_s=60)
    told = faults_counted(worker)
    fleet.stop()
    fleet.malformed |= dict.fromkeys(fleet.poisoned, "screening_failed")
    fleet.judge()
    figures.faults = sum(told.values())
    figures.more |= told
    assert 3 <= told["cpu_for_good"] <= 5, "each network that is needed leaves the GPU once"
    assert told["none"] >= len(fleet.poisoned)
    embedded = cached(fleet.settings)
    assert all(np.isfinite(vector).all() for vectors in embedded.values() for vector in vectors)
    assert embedded.keys() - known, "what the GPU embedded before it was lost has keys of its own"


@pytest.mark.slow
@pytest.mark.parametrize("gives", ["an error", "nan"])
def test_networks_that_are_broken_stop_the_worker(fleet, figures, faults, gives):
    """Time and again, after a few dead letters each; one without the fault does the rest."""
    turns = faults(3)
    fleet.send(60 * turns)
    for _ in range(turns):
        worker = fleet.start(
            injected(break_networks, broken_after=fleet.dice.randint(30, 50), gives=gives),
            dead_letters_in_a_row=str(IN_A_ROW),
        )
        deadline = time.monotonic() + 180
        while worker.returncode is None:
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
        assert worker.returncode == 1
        fleet.kill(worker, may_have_failed=True)
        fleet.assert_nothing_committed_unfinished()
        figures.faults += 1
    dead = len(fleet.read((DEAD_LETTERS,)).answers)
    assert turns * (IN_A_ROW + 1) <= dead <= turns * (IN_A_ROW + UNDER_WAY)
    fleet.start_ready()
    fleet.recover()
    fleet.finish()
    fleet.stop()
    fleet.judge(malformed=None)
    figures.more |= {"dead_letters": dead}
