"""The decision log on real services: once for each event whatever is killed, and nothing hidden."""

import json
import os
import signal
import time
from dataclasses import replace
from functools import partial

import pytest
from typer.testing import CliRunner

from schemas import codec
from schemas.records import Assessment, DecisionLogEntry, InspectionOutcome, RiskProfile, Selection
from schemas.topics import ASSESSMENTS, DECISION_LOG, INSPECTION_OUTCOMES, RISK_PROFILES, TOPICS
from streams.audit.anchors import Anchor, by_chain, stored
from streams.audit.chain import Check, Placed, hash_of
from streams.audit.log import ChainWriter, KafkaLog
from streams.audit.sources import SOURCES, chain_of, log_partition, logged
from streams.audit.verify import KafkaEvents, verify
from streams.cli import app
from streams.kafka.delivery import Deliveries, NotDelivered, producer
from streams.kafka.registry import Decoder, Registry
from streams.local.stack import local_stack
from streams.operations.deploy import deploy
from streams.synthetic.send import new_run
from tests.conftest import ready

BUCKET = "audit-anchors"
KILLED = 99
SENT = 300
"""Events between two faults."""
BEFORE_COMMIT = (
    "import os, streams.audit.log as l, itertools; n = itertools.count(); "
    "b = l.ChainWriter._produce; "
    "l.ChainWriter._produce = lambda s, e: (b(s, e), next(n) < {0} or (s._producer.flush(5), os._exit({1})))"
)
AFTER_COMMIT = (
    "import os, streams.audit.log as l, itertools; n = itertools.count(); "
    "a = l.ChainWriter.append; "
    "l.ChainWriter.append = lambda s, e: (a(s, e), next(n) < {0} or os._exit({1}))"
)
"""Lines that end a process between sending entries and committing them, or just after."""


@pytest.fixture(scope="module")
def stack():
    """Services of our own: others take every assessment for the answer to a declaration."""
    with local_stack() as running:
        deploy(running.settings())
        yield running


@pytest.fixture(scope="module")
def settings(stack):
    """With a bucket for anchors."""
    return stack.settings().model_copy(update={"audit_anchors_bucket": BUCKET})


@pytest.fixture(scope="module")
def decode(settings):
    return Decoder(Registry(settings.registry_url).writers, (*SOURCES, DECISION_LOG))


@pytest.fixture(scope="module")
def publish(settings):
    """Publishes decisions, most of them assessments."""
    registry = Registry(settings.registry_url)
    ids = {topic: registry.schema_id(topic) for topic in SOURCES}
    number = iter(range(1 << 30))

    def event():
        count = next(number)
        key = f"AUDIT-{count}"
        if count % 50 == 0:
            return RISK_PROFILES, key, RiskProfile(profile_id=key, lane="red")
        if count % 10 == 0:
            return (
                INSPECTION_OUTCOMES,
                key,
                InspectionOutcome(declaration_id=key, result="irregular"),
            )
        return ASSESSMENTS, key, Assessment(declaration_id=key, lane="green", selection=Selection(basis="risk"))  # fmt: skip

    def publish(count):
        deliveries = Deliveries(producer(settings))
        for _ in range(count):
            topic, key, record = event()
            deliveries.put(
                topic.name,
                key=key,
                value=codec.encode(record, ids[topic]),
                headers=[("ce_id", key.encode())],
            )
        deliveries.wait()
        return count

    return publish


def reports(settings, decode, log=None, anchored=None, only=None):
    events = KafkaEvents(settings)
    if only is not None:
        events.sources = lambda: [only]
    return verify(
        log or KafkaLog(settings, decode), events, partial(logged, decode=decode), anchored or {}
    )


def settled(settings, decode, within_s=60):
    """Wait until every event is logged; returns the reports."""
    deadline = time.monotonic() + within_s
    while True:
        found = reports(settings, decode)
        if any(report.problem for report in found) or not any(report.waiting for report in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.fixture
def start_log(start_worker):
    """Starts `redlane audit run`, in a group of its own: so it need not wait for a member that died."""

    def start(**settings):
        group = f"audit-{new_run()}"
        return start_worker(
            "audit run", audit_consumer_group=group, audit_anchors_bucket=BUCKET, **settings
        )

    return start


def ended(worker, within_s=60):
    """Wait until a process ends by itself; returns its status."""
    deadline = time.monotonic() + within_s
    while worker.returncode is None:
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.1)
    return worker.returncode


@pytest.mark.parametrize(
    "count", [pytest.param(2, id="2"), pytest.param(24, id="24", marks=pytest.mark.slow)]
)
def test_every_decision_is_logged_once_under_kills(
    settings, decode, publish, start_log, *, count, dice, faults, figures
):
    """Killed between sending and committing, frozen, killed at random, or after committing."""
    for turn in range(faults(count)):
        figures.records += publish(SENT)
        begun = time.monotonic()
        if turn % 4 in {0, 3}:
            line = (BEFORE_COMMIT if turn % 4 == 0 else AFTER_COMMIT).format(dice.randrange(6), KILLED)  # fmt: skip
            assert ended(start_log(bug=line)) == KILLED
        else:
            victim = start_log()
            victim.wait_until(lambda worker=victim: ready(worker), within_s=60)
            figures.records += publish(SENT)
            time.sleep(dice.uniform(0, 0.3))
            if turn % 4 == 1:  # another takes over, then it goes on
                os.kill(victim.pid, signal.SIGSTOP)
                figures.records += publish(SENT)
                worker = start_log()
                worker.wait_until(lambda worker=worker: ready(worker), within_s=60)
                os.kill(victim.pid, signal.SIGCONT)
                figures.records += publish(SENT)
                assert ended(victim) == 1
                assert "could not be logged" in victim.log.read_text()
                assert worker.stop() == 0, worker.tail()
            victim.kill()
        figures.recovery_s.append(round(time.monotonic() - begun, 1))
        figures.faults += 1
    worker = start_log()
    figures.records += publish(SENT)
    found = settled(settings, decode)
    assert worker.stop() == 0, worker.tail()
    assert [report.problem for report in found if report.problem] == []
    figures.duplicates = sum(report.repeated for report in found)
    assert figures.duplicates == 0
    assert sum(report.compared for report in found) >= figures.records
    anchors = stored(settings, [report.chain for report in found])
    assert {each.chain for each in anchors} == {each.chain for each in found if each.length}
    confirmed = reports(settings, decode, anchored=by_chain(anchors))
    assert [report.anchors for report in confirmed if report.length] == [1] * len(anchors)


@pytest.mark.slow
def test_two_processes_share_the_chains(settings, decode, publish, start_worker, figures):
    """Each chain has one writer; when a process leaves, the other takes its chains over."""
    group = f"audit-{new_run()}"
    workers = [start_worker("audit run", audit_consumer_group=group) for _ in range(2)]
    for worker in workers:
        worker.wait_until(lambda worker=worker: ready(worker), within_s=60)
    for worker in workers:
        figures.records += publish(SENT)
        found = settled(settings, decode)
        assert [report.problem for report in found if report.problem] == []
        assert sum(report.repeated for report in found) == 0
        figures.records += publish(SENT)
        assert worker.stop() == 0, worker.tail()
        figures.faults += 1


@pytest.fixture
def some_log(settings, decode, publish, start_log):
    """The reports of a log in which a chain has more than 20 entries."""
    found = reports(settings, decode)
    if not any(report.compared > 20 for report in found):
        worker = start_log()
        publish(SENT)
        found = settled(settings, decode)
        worker.stop()
    return found


class Tampered:
    """A copy of one partition of the log."""

    def __init__(self, entries):
        self._entries = entries

    def entries(self, _partition):
        return (Placed(offset, entry) for offset, entry in enumerate(self._entries))


def altered(entries, at):
    entries[at] = replace(entries[at], decision="red by profile")
    return "altered"


def rewritten(entries, at):
    """Altered, and all that follows linked anew: the event still tells."""
    entries[at] = replace(entries[at], value_sha256="0" * 64)
    for number in range(at, len(entries)):
        before = entries[number - 1].hash if number else "0" * 64
        linked = replace(entries[number], previous_hash=before)
        entries[number] = replace(linked, hash=hash_of(linked))
    return "altered"


def dropped(entries, at):
    del entries[at]
    return "missing"


def swapped(entries, at):
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    return "reordered"


def cut_off(entries, at):
    del entries[at:]
    return "truncated"


def test_every_manipulation_is_found_and_named(settings, decode, some_log, dice, figures):
    """In a copy of the real log, at a random entry."""
    report = next(each for each in some_log if each.compared > 20)
    name, _, number = report.chain.partition("/")
    source, partition = (TOPICS[name], int(number)), log_partition(name, int(number))
    entries = [placed.entry for placed in KafkaLog(settings, decode).entries(partition)]
    anchored = {report.chain: {report.length: report.hash}}
    # What was altered must lie where the events are still kept.
    kept = report.length - report.compared
    for manipulate in (altered, rewritten, dropped, swapped, cut_off):
        tampered = list(entries)
        at = dice.randrange(kept, len(entries) - 2)
        kind = manipulate(tampered, at)
        (told,) = reports(settings, decode, Tampered(tampered), anchored, only=source)
        assert (told.problem.kind, told.problem.sequence) == (kind, at + 1)
        figures.faults += 1


def test_the_commands_tell_what_is_wrong(stack, some_log, monkeypatch, tmp_path):
    """`audit anchor` prints what `audit verify --anchors` compares; it ends with 1 where something is wrong."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    printed = run(app, ["audit", "anchor"])
    assert printed.exit_code == 0, printed.output
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(printed.stdout)
    verified = run(app, ["audit", "verify", "--anchors", str(anchors), "--json"])
    assert verified.exit_code == 0, verified.output
    lengths = {each["chain"]: each["length"] for each in json.loads(verified.stdout)}
    (first, *_) = map(json.loads, printed.stdout.splitlines())
    assert lengths[first["chain"]] == first["length"]
    longer = Anchor(first["chain"], first["length"] + 1, "0" * 64, "2026-11-26T00:00:00+00:00")
    anchors.write_text(longer.line())
    verified = run(app, ["audit", "verify", "--anchors", str(anchors)])
    assert verified.exit_code == 1
    assert f"truncated: entry {longer.length} of {longer.chain}." in verified.stdout
    anchors.write_text("none")
    assert run(app, ["audit", "verify", "--anchors", str(anchors)]).exit_code == 1


def test_a_writer_that_was_frozen_appends_nothing_more(settings, decode):
    """Whoever takes a chain over fences off the one before, whatever that one had sent."""
    schema_id = Registry(settings.registry_url).schema_id(DECISION_LOG)
    log = KafkaLog(settings, decode)
    unused = RISK_PROFILES.name, 3  # no such partition: nobody else logs it
    frozen = ChainWriter(settings, log, *unused, schema_id)
    begin = frozen.head

    def event(number):
        offset = begin.source_offset + 1 + number
        return DecisionLogEntry(chain=chain_of(*unused), source_offset=offset, subject=f"P{number}")

    frozen.append([event(0), event(1)])
    frozen._producer.begin_transaction()
    frozen._produce(frozen.head.next(event(2)))
    frozen._producer.flush(10)
    successor = ChainWriter(settings, log, *unused, schema_id)
    assert successor.head == frozen.head
    with pytest.raises(NotDelivered, match="could not be logged"):
        frozen.append([event(2)])
    successor.append([event(2)])
    # Whoever takes it over waits until the transaction before is complete, and then can be read.
    assert ChainWriter(settings, log, *unused, schema_id).head == successor.head
    check = Check(chain_of(*unused))
    entries = list(check.entries(log.entries(log_partition(*unused))))
    assert (check.problem, check.repeated, check.head.length) == (None, 0, begin.length + 3)
    assert [entry.subject for entry in entries[-3:]] == ["P0", "P1", "P2"]
