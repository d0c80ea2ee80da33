"""Disks that are full: a service is waited for within bounds, and nothing is lost.

A full disk is made by the limit on the size of files that a process writes: each write fails, as
with a full disk, and none needs the right to mount one.
"""

import resource

import pytest
from redis import Redis

from schemas.reasons import Reason
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, EXPLANATIONS
from streams.synthetic.send import Sender
from tests.chaos.supervisor import Supervisor, behind
from tests.chaos.traffic import Lag, Load, arrivals, half_new, source
from tests.chaos.verifier import assert_exactly_one_fate, ends, read_all

TOPICS = (DECLARATIONS, ASSESSMENTS, ALERTS, EXPLANATIONS, DEAD_LETTERS)
RATE = 4.0
"""Declarations a second."""
ALARMING = {"clean": 0.3, "wrong_code": 0.4, "undervaluation": 0.3}
"""Many of which lead to alerts, and to heat maps."""


def fill(process):
    """Let it write to no file any more; returns what frees the disk."""
    pid = process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def supervisor(start_worker):
    """A worker that screens, ready, with little patience."""
    supervisor = Supervisor(start_worker, delivery_timeout_s="6", cache_pause_s="1")
    supervisor.wait_ready()
    return supervisor


@pytest.fixture
def clean(stack, goods_folder, dice):
    """Clean ones, half of goods that were never seen."""
    return half_new(source(stack.settings(), goods_folder, dice).consignments(100_000), dice)


def settle(settings, supervisor, mark, figures):
    """Wait until all has a fate, stop the worker in order, and verify; returns what was seen."""
    target = ends(settings, (DECLARATIONS,))
    supervisor.wait(lambda: not behind(settings, target), within_s=180)
    assert supervisor.worker.stop() == 0
    figures.faults = 1
    figures.more["exits"] = len(supervisor.exits)
    seen = read_all(settings, TOPICS, since=mark)
    assert_exactly_one_fate(seen, figures=figures)
    return seen


@pytest.mark.slow
def test_the_brokers_disk_is_full(stack, supervisor, clean, figures):
    """It ends, so the worker does, and whoever sends waits; with space again both go on."""
    settings = stack.settings()
    mark = ends(settings, TOPICS)
    (broker,) = stack.kafka.brokers
    with Load(settings, clean, rate=RATE) as load:
        supervisor.wait(lambda: load.sent > 5 * RATE, within_s=60)
        fill(broker)
        supervisor.wait(lambda: broker.returncode is not None, within_s=60)
        supervisor.wait(lambda: len(supervisor.exits) > 0, within_s=90)
        broker.start()
        stack.kafka.wait()
        supervisor.recover(settings, lambda: None, figures)
        supervisor.sleep(5)
    settle(settings, supervisor, mark, figures)
    assert figures.records == load.sent


@pytest.mark.slow
def test_the_workers_disk_is_full(stack, supervisor, clean, figures):
    """It cannot write its log, and screens all the same."""
    settings = stack.settings()
    mark = ends(settings, TOPICS)
    written = supervisor.worker.log.stat().st_size
    with Load(settings, clean, rate=RATE) as load:
        free = fill(supervisor.worker)
        supervisor.sleep(15)
        assert supervisor.worker.log.stat().st_size == written
        supervisor.recover(settings, free, figures)
        supervisor.sleep(5)
    seen = settle(settings, supervisor, mark, figures)
    assert figures.records == load.sent
    assert supervisor.exits == []
    assert seen.on(DEAD_LETTERS) == []


@pytest.mark.slow
def test_redis_is_full(stack, supervisor, clean, figures):
    """It takes nothing more: verdicts are degraded until it does, and nothing ends."""
    settings = stack.settings()
    mark = ends(settings, TOPICS)
    with Redis.from_url(stack.valkey.url) as redis:
        before = redis.config_get("maxmemory*")
        with Load(settings, clean, rate=RATE) as load:
            supervisor.wait(lambda: load.sent > 5 * RATE, within_s=60)
            redis.config_set("maxmemory-policy", "noeviction")
            redis.config_set("maxmemory", 1)
            supervisor.sleep(10)
            supervisor.recover(
                settings,
                lambda: [
                    redis.config_set(name, before[name])
                    for name in ("maxmemory", "maxmemory-policy")
                ],
                figures,
            )
            supervisor.sleep(5)
    seen = settle(settings, supervisor, mark, figures)
    times = arrivals(settings, ASSESSMENTS)
    answers = sorted(seen.on(ASSESSMENTS), key=lambda answer: times[answer.key])
    codes = [{each.code for each in answer.record.degraded} for answer in answers]
    figures.more["degraded"] = sum(map(bool, codes))
    assert set().union(*codes) == {Reason.SIGNALS_UNAVAILABLE}
    assert codes[-1] == set()
    assert figures.records == load.sent
    assert supervisor.exits == []


@pytest.mark.slow
def test_the_disk_of_object_storage_is_full(stack, goods_folder, start_worker, dice, figures):
    """No heat map can be stored: whoever explains waits and ends, and explains all in the end."""
    settings = stack.settings()
    screen, explain = Supervisor(start_worker), Supervisor(start_worker, name="explain")
    made = source(settings, goods_folder, dice, shares=ALARMING).consignments(100_000)
    sender, lag = Sender(settings), Lag(settings, settings.explain_consumer_group, ALERTS)
    for supervisor in (screen, explain):
        supervisor.wait_ready()
    explain.wait(lambda: lag() == 0, within_s=120)  # alerts of other tests
    mark = ends(settings, TOPICS)
    for _ in range(40):
        sender.send(next(made))
    sender.flush()
    stored = set(sender._uploaded)
    explain.wait(lambda: not behind(settings, ends(settings, (DECLARATIONS,))), within_s=60)
    explain.wait(lambda: lag() == 0, within_s=120)
    free = fill(stack.seaweedfs.process)
    number = 0
    while number < 40:
        consignment = next(made)
        if stored.issuperset(consignment.photos):
            sender.send(consignment)
            number += 1
    sender.flush()
    explain.wait(lambda: len(explain.exits) > 0, within_s=180)
    if stack.seaweedfs.process.returncode is None:
        free()
    else:
        stack.seaweedfs.start()
        stack.seaweedfs.wait()
    figures.recovery_s.append(round(explain.wait(lambda: lag() == 0, within_s=180), 1))
    lag.close()
    assert explain.worker.stop() == 0
    figures.more["exits_explain"] = len(explain.exits)
    seen = settle(settings, screen, mark, figures)
    assert screen.exits == []
    assert_exactly_one_fate(seen, explained=True)
