"""Workers come and go, the group begins anew, retention is faster: each event keeps its one fate."""

import time
import urllib.request

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import DECLARATIONS
from tests.chaos.patches import patch
from tests.chaos.verifier import committed, ends


@pytest.mark.slow
def test_workers_that_join_and_leave_lose_nothing(fleet, dice, figures, faults):
    """1 → 4 → 1 workers, while declarations come; those that leave do so in order."""
    slow = patch("slow_publishing", 0.2)
    fleet.start_ready(slow)
    for _ in range(faults(2)):
        for _ in range(3):
            fleet.send(dice.randint(10, 25))
            fleet.start(slow)
            figures.faults += 1
            time.sleep(dice.uniform(0, 6))
        fleet.recover()
        for _ in range(3):
            fleet.send(dice.randint(10, 25))
            time.sleep(dice.uniform(0, 3))
            fleet.stop(dice.choice(fleet.workers[1:]))
            figures.faults += 1
        fleet.recover()
    fleet.finish()
    fleet.stop()
    fleet.judge()


@pytest.mark.slow
def test_a_group_that_begins_anew_gives_the_same_bytes(fleet, dice, figures):
    """Its offsets are reset to the beginning: the same ids, the same bytes, all of them again."""
    fleet.start_ready()
    fleet.send(60)
    fleet.finish()
    fleet.stop()
    first = fleet.judge()
    beginning = {partition: offset for (topic, partition), offset in fleet.mark.items() if topic == DECLARATIONS.name}  # fmt: skip
    fleet.move_group(fleet.group, DECLARATIONS, beginning)
    figures.faults = 1
    assert fleet.lag() == 60
    fleet.start_ready(batch_size=str(dice.randint(1, 16)))
    fleet.finish()
    fleet.stop()
    again = fleet.judge()
    assert again.verdicts == first.verdicts
    assert again.fates == first.fates
    assert again.duplicates == len(first.answers)


def expired(worker):
    """Return how many events the worker tells of as removed unread."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = "redlane_expired_events_total{"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.slow
def test_what_retention_removed_is_told_and_nothing_else_is_lost(fleet, dice, figures):
    """A worker dies, retention passes what it committed: so many events are told, no more lost."""
    worker = fleet.start_ready(patch("slow_publishing", 0.5))
    fleet.send(120)
    left = dice.randint(60, 90)
    while fleet.lag() > left:
        time.sleep(0.1)
    fleet.kill(worker)
    fleet.assert_nothing_committed_unfinished()
    before, offsets = fleet.read(), committed(fleet.settings, fleet.group)
    places = []
    for (name, partition), end in ends(fleet.settings, [DECLARATIONS]).items():
        if dice.random() < 0.7:
            to = dice.randint(offsets[partition], end)
            places.append(TopicPartition(name, partition, to))
    admin = AdminClient(fleet.settings.confluent())
    for removed in admin.delete_records(places).values():
        removed.result(30)
    passed = {place.partition: place.offset for place in places}
    gone = [
        event
        for event in before.inputs
        if offsets[event.partition] <= event.offset < passed.get(event.partition, 0)
    ]
    figures.faults, figures.more["expired"] = len(places), len(gone)
    worker = fleet.start_ready()
    fleet.send(20)
    fleet.finish()
    assert expired(worker) == len(gone)
    fleet.stop()
    inputs = {event[:3]: event for event in (*before.inputs, *fleet.read().inputs)}
    # What was published before the death, and is gone before it was committed, has its fate.
    fleet.judge(inputs=list(inputs.values()), expired={event.fate for event in gone})
