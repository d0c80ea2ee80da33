"""Three brokers, of which one after the other is killed or frozen: what was acknowledged survives."""

import os
import signal

import pytest
from confluent_kafka.admin import AdminClient

from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.local.stack import local_stack
from streams.operations.deploy import deploy
from tests.chaos.supervisor import Supervisor, behind
from tests.chaos.traffic import Load
from tests.chaos.verifier import asked, assert_exactly_one_fate, ends, read_all

TOPICS = (DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)
BROKERS = 3
RATE = 2.0
"""Declarations a second."""


@pytest.fixture(scope="module")
def stack():
    """Three brokers; every topic on all of them, two of which must have each event."""
    with local_stack(brokers=BROKERS) as running:
        deploy(running.settings())
        yield running


def partitions(settings):
    """Every partition of the topics, and of the groups' offsets."""
    admin = AdminClient(settings.confluent() | {"log_level": 0})
    topics = asked(lambda: admin.list_topics(timeout=10)).topics
    names = [*(topic.name for topic in TOPICS), "__consumer_offsets"]
    return [place for name in names for place in topics[name].partitions.values()]


def in_sync(settings):
    """Whether every broker has all."""
    return all(len(place.isrs) == BROKERS for place in partitions(settings))


def killed(broker):
    """It loses what it had not written; returns what starts it again."""
    broker.kill()
    return broker.start


def frozen(broker):
    """It believes that it leads until it goes on, which what is returned lets it do."""
    os.kill(broker.pid, signal.SIGSTOP)
    return lambda: os.kill(broker.pid, signal.SIGCONT)


@pytest.fixture
def supervisor(start_worker):
    """A worker that screens, ready."""
    supervisor = Supervisor(start_worker)
    supervisor.wait_ready()
    return supervisor


@pytest.fixture
def schedule(dice, faults):
    """Each loss: how, which of the leaders (0–1), and for how long after the others took over."""
    ways = [killed, frozen]
    dice.shuffle(ways)
    return [(ways[turn % 2], dice.random(), dice.uniform(0, 10)) for turn in range(faults(6))]


@pytest.mark.slow
def test_leaders_are_lost_one_after_the_other(stack, supervisor, consignments, schedule, figures):
    """Each leads some partitions of every topic; the others take over, and nothing is lost."""
    settings = stack.settings()
    mark = ends(settings, TOPICS)
    taken_over = []
    with Load(settings, consignments, rate=RATE) as load:
        for way, which, seconds in schedule:
            supervisor.wait(lambda: in_sync(settings), within_s=120)
            leaders = sorted({place.leader for place in partitions(settings)})
            lost = leaders[int(which * len(leaders))]
            heal = way(stack.kafka.brokers[lost])
            supervisor.sleep(1)
            # Before it is back: the others suffice.
            _, after_s = supervisor.recover(settings, lambda: None, figures)
            taken_over.append(round(after_s, 1))
            supervisor.sleep(seconds)
            heal()
            figures.faults += 1
            print(
                f"broker {lost} of the leaders {leaders} {way.__name__}: the others took over "
                f"after {after_s:.1f} s, exits {supervisor.exits}",
                flush=True,
            )
    target = ends(settings, (DECLARATIONS,))
    supervisor.wait(lambda: not behind(settings, target), within_s=120)
    assert supervisor.worker.stop() == 0
    figures.more |= {"caught_up_s": max(taken_over), "exits": len(supervisor.exits)}
    assert_exactly_one_fate(read_all(settings, TOPICS, since=mark), figures=figures)
    assert figures.records == load.sent
