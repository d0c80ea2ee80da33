"""The longer proof: workers killed again and again, and services that go away (`make chaos`)."""

import random
import time

import pytest

from models.datasets.goods import read
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.chaos.verifier import assert_exactly_one_fate, committed, read_all
from tests.conftest import ready

GROUP = "redlane-screen"
SENT = 600


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True], ids=["store kept", "store lost"])
def test_five_kills_lose_nothing(stack, goods_folder, start_worker, lost):
    """Two workers; one is killed at random five times, and Valkey may go and come: one fate for all."""
    settings = stack.settings()
    dice = random.Random(3)
    before = sum(committed(settings, GROUP).values())
    source = Irregularities(read(goods_folder), bucket="goods-photos", run=new_run(), seed=11)
    workers = [start_worker(batch_size="4") for _ in range(2)]
    for worker in workers:
        worker.wait_until(lambda worker=worker: ready(worker), within_s=120)
    send(settings, source.consignments(SENT), rate=0, truth=None)
    for turn in range(5):
        time.sleep(dice.uniform(1, 4))
        if lost and turn == 2:
            stack.valkey.stop()
        workers[turn % 2].kill()
        workers[turn % 2] = start_worker(batch_size="4")
    if lost:
        stack.valkey.start().wait()
    deadline = time.monotonic() + 400
    while sum(committed(settings, GROUP).values()) < before + SENT:
        assert time.monotonic() < deadline
        time.sleep(1)
    seen = read_all(settings)
    assert_exactly_one_fate(seen, identical=not lost)
    print(f"\n{SENT} events, {seen.duplicates} delivered twice")
