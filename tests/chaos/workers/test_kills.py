"""Workers killed, frozen, with a wrong clock: nothing is lost, nothing gets two fates."""

import signal
import time

import pytest

from tests.chaos.faults.patches import DEATHS, patch
from tests.chaos.fleet import SESSION_S
from tests.chaos.verifier import committed

WORKERS = 3
FEW = (6, 14)
"""Declarations that are sent before each kill."""
ALL_KILLED = 0.1
"""Share of the kills that hit all workers at once, to look at what is committed."""
PATIENCE_S = 8
"""For a worker to die at the moment that was chosen for it."""
STARTING = 0.2
"""Share of the kills that hit a worker while it starts."""


def kill(fleet, worker, figures, *, patience_s=0):
    """Kill a worker, unless it has died its own death, or does so within that time."""
    deadline = time.monotonic() + patience_s
    while worker.returncode is None and time.monotonic() < deadline:
        time.sleep(0.05)
    how = "from outside" if worker.returncode is None else worker.death
    figures.more[how] = figures.more.get(how, 0) + 1
    figures.faults += 1
    fleet.kill(worker)


def supervise(fleet, dice, figures):
    """Start workers in place of those that died; half of them die at a moment of their own."""
    for worker in list(fleet.workers):
        if worker.returncode is not None:
            kill(fleet, worker, figures)
    while len(fleet.workers) < WORKERS:
        # It may have no partition, and nothing to publish, before somebody else kills it.
        death = dice.choice(DEATHS).__name__ if dice.random() < 0.5 else ""
        patches = [patch(death, dice.randint(1, 6))] if death else []
        fleet.start(*patches).death = death


def test_a_worker_that_dies_between_produce_and_commit_loses_nothing(fleet, dice, figures):
    """What is committed has its fate, and the next worker does the rest."""
    fleet.send(40)
    for death in (
        "die_while_publishing",
        dice.choice(("die_after_publishing", "die_before_commit")),
    ):
        # The first time: later ones may never come, where most is done and committed already.
        worker = fleet.start(patch(death, 1))
        figures.faults += 1
        deadline = time.monotonic() + 90
        while worker.returncode is None:
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
        assert worker.returncode == -signal.SIGKILL, worker.tail()
        fleet.kill(worker)
    fleet.assert_nothing_committed_unfinished()
    fleet.start_ready()
    fleet.finish()
    fleet.stop()
    assert fleet.judge().duplicates


@pytest.mark.slow
def test_fifty_kills_lose_nothing(fleet, dice, figures, faults):
    """SIGKILL from outside, while starting, between produce and commit, amid a delivery."""
    kills = faults(50)
    fleet.send(20)
    supervise(fleet, dice, figures)
    while figures.faults < kills:
        fleet.send(dice.randint(*FEW))
        if dice.random() < STARTING:
            kill(fleet, fleet.start(), figures, patience_s=dice.uniform(0, 6))
        time.sleep(dice.uniform(0, 3))
        victims = dice.sample(fleet.workers, WORKERS if dice.random() < ALL_KILLED else 1)
        for victim in victims:
            kill(fleet, victim, figures, patience_s=PATIENCE_S if victim.death else 0)
        if not fleet.workers:
            fleet.assert_nothing_committed_unfinished()
        supervise(fleet, dice, figures)
        fleet.recover(meanwhile=lambda: supervise(fleet, dice, figures))
    for worker in list(fleet.workers):
        kill(fleet, worker, figures)
    fleet.assert_nothing_committed_unfinished()
    fleet.start_ready()
    fleet.finish()
    fleet.stop()
    fleet.judge()


@pytest.mark.slow
def test_explaining_workers_killed_explain_every_alert_once(fleet, dice, figures, faults):
    """Amid a delivery, after it, before the commit: one explanation for each alert."""
    fleet.start_ready(batch_size="16")
    fleet.send(80)
    fleet.finish()
    fleet.stop()
    for _ in range(faults(6)):
        worker = fleet.start(
            patch(dice.choice(DEATHS).__name__, dice.randint(1, 4)), name="explain"
        )
        figures.faults += 1
        deadline = time.monotonic() + 60
        while worker.returncode is None and fleet.lag(explaining=True):
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.2)
        fleet.kill(worker)
    fleet.start_ready(name="explain")
    fleet.finish(explaining=True)
    fleet.stop()
    seen = fleet.judge(explained=True)
    figures.more["alerts"] = len({event.fate for event in seen.alerted})
    assert figures.more["alerts"]


@pytest.mark.slow
def test_frozen_workers_change_nothing(fleet, dice, figures, faults):
    """SIGSTOP until the group goes on without them; then they publish late, and commit in vain."""
    slow = patch("slow_publishing", 0.3)
    workers = [fleet.start_ready(slow) for _ in range(2)]
    before = committed(fleet.settings, fleet.group)
    for _ in range(faults(8)):
        fleet.send(dice.randint(16, 30))
        time.sleep(dice.uniform(0.2, 2))
        zombies = dice.choice([workers, workers[:1], workers[1:]])
        for zombie in zombies:
            fleet.freeze(zombie)
            figures.faults += 1
        time.sleep(SESSION_S + dice.uniform(2, 5))
        for zombie in zombies:
            fleet.thaw(zombie)
        fleet.recover()
        after = committed(fleet.settings, fleet.group)
        assert all(after[place] >= before[place] for place in before), (before, after)
        before = after
    fleet.finish()
    fleet.stop()
    fleet.judge()


@pytest.mark.slow
def test_clocks_that_jump_change_nothing(fleet, dice, figures, faults):
    """By up to half a day, ahead and back, every few seconds; and a death or two between."""
    jumps = [patch("jump_clock", dice.randrange(1 << 30), 12, 2.5) for _ in range(2)]
    workers = [fleet.start_ready(jump) for jump in jumps]
    begin = time.monotonic()
    for turn in range(faults(3)):
        fleet.send(40)
        fleet.recover()
        fleet.kill(workers[turn % 2])
        workers[turn % 2] = fleet.start(jumps[turn % 2], patch("die_after_publishing", 5))
        fleet.start_ready(jumps[turn % 2])
        fleet.recover()
    for worker in list(fleet.workers):
        if worker.returncode is not None:
            fleet.kill(worker)
    fleet.finish()
    figures.faults = round((time.monotonic() - begin) / 2.5)
    fleet.judge()
