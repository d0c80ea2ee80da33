"""Workers killed again and again, at any moment: nothing is lost, nothing gets two fates."""

import time

import pytest

from tests.chaos.patches import DEATHS, patch

WORKERS = 3
FEW = (6, 14)
"""Declarations that are sent before each kill."""
ALL_KILLED = 0.1
"""Share of the kills after which the others are killed too, to look at what is committed."""
STARTING = 0.2
"""Share of the kills that hit a worker while it starts."""


def kill_one(fleet, dice):
    """Kill a worker, or wait for its own death; returns whether it was alive until now."""
    worker = dice.choice(fleet.workers)
    if worker.planned:
        # It may have no partition, and nothing to publish.
        deadline = time.monotonic() + 20
        while worker.returncode is None and time.monotonic() < deadline:
            time.sleep(0.1)
    fleet.kill(worker)


def start(fleet, dice):
    """Start a worker; half of them die at a moment of their own."""
    planned = dice.random() < 0.5
    patches = [patch(dice.choice(DEATHS).__name__, dice.randint(1, 6))] if planned else []
    fleet.start(*patches).planned = planned


@pytest.mark.slow
def test_fifty_kills_lose_nothing(fleet, dice, figures, faults):
    """SIGKILL from outside, while starting, between produce and commit, amid a delivery."""
    kills = faults(50)
    fleet.send(20)
    for _ in range(WORKERS):
        start(fleet, dice)
    while figures.faults < kills:
        fleet.send(dice.randint(*FEW))
        if dice.random() < STARTING:
            fleet.kill(fleet.start())  # it has only begun
            figures.faults += 1
        time.sleep(dice.uniform(0, 3))
        kill_one(fleet, dice)
        figures.faults += 1
        if dice.random() < ALL_KILLED:
            for worker in list(fleet.workers):
                fleet.kill(worker)
                figures.faults += 1
            fleet.assert_nothing_committed_unfinished()
        while len(fleet.workers) < WORKERS:
            start(fleet, dice)
        fleet.recover()
    for worker in list(fleet.workers):
        fleet.kill(worker)
    fleet.assert_nothing_committed_unfinished()
    fleet.start_ready()
    fleet.finish()
    fleet.stop()
    fleet.judge()
