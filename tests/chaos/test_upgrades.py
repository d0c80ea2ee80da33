"""Two versions side by side, in both orders: bundles, schemas, formats in Redis, dead letters."""

import json
import shutil
import time
import urllib.request
from collections import defaultdict

import pytest
from confluent_kafka.schema_registry import Schema
from redis import Redis

from models.scoring.bundle import MANIFEST
from models.training.bundle_builder import write_manifest
from schemas.codec import schema_id as schema_id_of
from schemas.reasons import Reason
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS
from streams.kafka.registry import Registry
from streams.operations.dead_letters import Choice, read_letters, replay
from tests.chaos.changed import described, under_newer_schema
from tests.chaos.injection import injected
from tests.chaos.other_versions import (
    failing_at,
    newer_schema,
    with_newer_schemas,
    with_older_letters,
    with_other_formats,
)
from tests.chaos.patches import patch
from tests.chaos.verifier import examine

pytestmark = pytest.mark.slow
CAPACITY = '{"yellow": 0.2, "red": 0.1, "random": 0.05}'
BUG = "goods that the last version failed at"


@pytest.fixture
def other_bundle(bundle, tmp_path):
    """A bundle with thresholds of its own, and so with another id."""
    directory = shutil.copytree(bundle, tmp_path / "bundle", copy_function=shutil.copyfile)
    model = json.loads((directory / "model.json").read_text())
    model["policy"] = {name: 0.9 * threshold for name, threshold in model["policy"].items()}
    (directory / "model.json").write_text(json.dumps(model))
    (directory / MANIFEST).unlink()
    write_manifest(directory)
    return directory


def read_once(seen):
    """Return what a reader keeps who knows fate ids: fate id → answer, and fate id → alert.

    An assessment counts before a dead letter, and the first before later ones.
    """
    fates, alerts = {}, {}
    for answer in seen.on(ASSESSMENTS) + seen.on(DEAD_LETTERS):
        fates.setdefault(answer.fate, answer)
    for answer in seen.on(ALERTS):
        alerts.setdefault(answer.fate, answer)
    return fates, alerts


def assert_one_fate_to_readers(fleet, *, in_both):
    """Assert that whoever keeps fate ids sees one answer to each event, and no alert is missing.

    Args:
        fleet: that ran.
        in_both: number of events with an answer of each of two versions, at least.
    """
    seen = fleet.read()
    findings = examine(seen)
    assert findings.broken.keys() <= {"two_fated", "alerts"}, findings
    fates, alerts = read_once(seen)
    assert fates.keys() == {event.fate for event in seen.inputs}
    to_alert = {fate for fate, answer in fates.items() if answer.record and answer.record.lane != "green"}  # fmt: skip
    assert to_alert <= alerts.keys()
    figures = fleet.figures
    figures.records, figures.duplicates = len(seen.inputs), seen.duplicates
    figures.conflicting = len(findings.conflicting)
    figures.more["answered by both"] = len(findings.two_fated)
    assert len(findings.two_fated) >= in_both
    return seen


def test_a_redelivery_to_another_bundle_is_one_fate(fleet, bundle, other_bundle, dice):
    """A worker dies between publishing and commit, one of the other bundle goes on; and back."""
    order = [bundle, other_bundle]
    for _ in range(2):
        fleet.send(30)
        death = dice.choice(("die_after_publishing", "die_while_publishing"))
        dying = fleet.start(patch(death, dice.randint(2, 4)), bundle=str(order[0]))
        deadline = time.monotonic() + 120
        while dying.returncode is None:
            assert time.monotonic() < deadline, dying.tail()
            time.sleep(0.1)
        fleet.kill(dying)
        fleet.figures.faults += 1
        fleet.start(bundle=str(order[1]))
        fleet.recover()
        fleet.finish()
        fleet.start_ready(bundle=str(order[0]))  # both at once
        fleet.send(20)
        fleet.finish()
        fleet.stop()
        order.reverse()
    seen = assert_one_fate_to_readers(fleet, in_both=2)
    bundles, ids = defaultdict(set), defaultdict(set)
    for answer in seen.on(ASSESSMENTS):
        bundles[answer.fate].add(answer.record.bundle_id)
        ids[answer.fate].add(answer.id)
    assert {fate: len(each) for fate, each in ids.items()} == {
        fate: len(each) for fate, each in bundles.items()
    }, "an assessment of one bundle has one id, of another bundle another"
    assert len(set().union(*bundles.values())) == 2


def test_a_newer_schema_comes_and_goes(fleet, stack):
    """Deployed while older workers run, written by newer senders and workers, and back again."""
    older, newer = fleet.start_ready(), with_newer_schemas
    fleet.send(15)
    registry = Registry(stack.settings().registry_url, token=stack.registry.token)
    ids = {}
    for topic in (DECLARATIONS, ASSESSMENTS, ALERTS):
        schema = Schema(newer_schema(topic.schema), "AVRO")
        ids[topic] = registry._client.register_schema(topic.subject, schema)

    def newer_senders():
        for consignment in fleet._consignments:
            malformed = consignment.truth.kind == "malformed"
            yield consignment if malformed else under_newer_schema(consignment, ids[DECLARATIONS])

    fleet.send(15, newer_senders())  # the older worker reads them
    fleet.finish()
    later = fleet.start_ready(injected(newer))
    fleet.send(15, newer_senders())  # both do
    fleet.send(15)
    fleet.finish()
    fleet.stop(older)
    fleet.send(15)  # the newer one alone
    fleet.finish()
    fleet.stop(later)
    fleet.start_ready()  # back to the older version, which finds the newer schema deployed
    fleet.send(15, newer_senders())
    fleet.finish()
    fleet.stop()
    seen = fleet.judge()
    written = {schema_id_of(answer.value) for answer in seen.on(ASSESSMENTS)}
    assert len(written) == 2
    assert ids[ASSESSMENTS] in written


def refused(worker):
    """Return what a worker's metrics say of contents of Redis that it refused."""
    with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("redlane_redis_contents_refused_total{")]


def test_formats_of_redis_keys_do_not_meet(fleet, stack):
    """Workers of both formats at once, then of either alone: neither reads what the other wrote."""
    other = injected(with_other_formats, 77)
    first = fleet.start_ready(capacity=CAPACITY)
    fleet.send(20)
    fleet.finish()
    second = fleet.start_ready(other, capacity=CAPACITY)
    fleet.send(40)
    fleet.finish()
    told = refused(first)
    fleet.stop(first)
    fleet.send(20)
    fleet.finish()
    told += refused(second)
    third = fleet.start_ready(capacity=CAPACITY)
    fleet.send(40)
    fleet.finish()
    told += refused(second) + refused(third)
    fleet.stop()
    fleet.judge()
    assert told == []
    with Redis.from_url(stack.valkey.url) as redis:
        formats = defaultdict(set)
        for key in redis.scan_iter("*"):
            kind, _, rest = key.partition(b":")
            formats[kind].add(rest.partition(b":")[0])
    assert {kind for kind, numbers in formats.items() if b"77" in numbers} == {
        b"embedding",
        b"signals",
        b"capacity",
    }
    assert all(len(formats[kind]) >= 2 for kind in (b"embedding", b"signals", b"capacity"))


def test_dead_letters_of_both_versions_are_sent_again_once(fleet):
    """After the upgrade that mends the bug, an event has an assessment, and its letter counts no more."""

    def failing():
        for number, consignment in enumerate(fleet._consignments):
            fails = number % 3 == 0 and consignment.truth.kind != "malformed"
            yield described(consignment, BUG) if fails else consignment

    fleet.start_ready(injected(failing_at, BUG), injected(with_older_letters))
    fleet.start_ready(injected(failing_at, BUG))
    fleet.send(60, failing())
    fleet.finish()
    fleet.stop()
    settings = fleet.settings
    places = {(a.partition, a.offset) for a in fleet.read((DEAD_LETTERS,)).answers}
    ours = [letter for letter in read_letters(settings) if letter.place in places]
    failed = {letter.id for letter in ours if letter.reason == Reason.SCREENING_FAILED}
    older = {letter.id for letter in ours if "x_dlq.attempt" not in dict(letter.headers)}
    assert older & failed
    assert failed - older
    choice = Choice(reason=Reason.SCREENING_FAILED, ids=frozenset(failed))
    first, again = replay(settings, choice), replay(settings, choice)
    assert (first.sent, again.sent, again.sent_before) == (len(failed), 0, len(failed))
    fleet.start_ready(injected(with_older_letters))
    fleet.finish()
    fleet.stop()
    seen = assert_one_fate_to_readers(fleet, in_both=len(failed))
    fates, _ = read_once(seen)
    refused_at_last = {answer.key for answer in fates.values() if answer.topic == DEAD_LETTERS.name}
    assert refused_at_last == fleet.malformed.keys()
    fleet.figures.faults = len(failed)
