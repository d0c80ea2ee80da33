"""Partitions are added while workers run."""

import time

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from schemas.topics import DECLARATIONS
from streams.local.stack import local_stack
from streams.operations.deploy import deploy
from tests.chaos.patches import patch
from tests.chaos.verifier import committed

FROM, TO = DECLARATIONS.partitions, DECLARATIONS.partitions + 2


@pytest.fixture
def stack():
    """Services of its own: a topic never gets fewer partitions again."""
    with local_stack() as running:
        deploy(running.settings())
        yield running


def add_partitions(settings):
    admin = AdminClient(settings.confluent())
    for created in admin.create_partitions([NewPartitions(DECLARATIONS.name, TO)]).values():
        created.result(30)


@pytest.mark.slow
def test_partitions_added_under_workers_are_read(fleet, figures):
    """6 → 8: without a restart, from their first event on.

    A key's events are screened in their order within a partition. Added partitions take over some
    keys; of such a key an event in the new partition may be screened before those still waiting in
    the old one.
    """
    fleet.start_ready(patch("metadata_age", 5))
    fleet.start_ready(patch("metadata_age", 5))
    fleet.send(60)
    add_partitions(fleet.settings)
    figures.faults = 1
    fleet.renew_sender()
    fleet.send(20, amended=1.0)
    begin = time.monotonic()
    while not all(committed(fleet.settings, fleet.group).get(new) for new in range(FROM, TO)):
        assert time.monotonic() < begin + 120, fleet.tails()
        fleet.send(10)
        time.sleep(1)
    figures.recovery_s.append(round(time.monotonic() - begin, 1))
    fleet.finish()
    fleet.stop()
    seen = fleet.judge()
    partitions = {event.partition for event in seen.inputs}
    assert partitions == set(range(TO))
    keys = {event.key for event in seen.inputs if event.partition >= FROM}
    moved = keys & {event.key for event in seen.inputs if event.partition < FROM}
    figures.more["keys that moved"] = len(moved)
