"""Verdicts as they come: each event's once, whoever sent it, from now or from a time."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from typer.testing import CliRunner

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Assessment, Degradation, HsCandidate, ItemAssessment, Signal
from schemas.topics import ASSESSMENTS, DEAD_LETTERS
from streams.cli import app, synthetic
from streams.kafka.dead_letter import dead_letter
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.events import FATE, Inbound
from streams.kafka.registry import Registry
from streams.operations.watch import DEAD_LETTER, Watch, until_silent

ASSESSED = Assessment(
    declaration_id="W1",
    lane="red",
    risk=0.9,
    items=(
        ItemAssessment(sequence_number=1, commodity_code="640411", risk=0.1),
        ItemAssessment(
            sequence_number=2,
            commodity_code="640419",
            risk=0.9,
            candidates=(HsCandidate(hs6="610910", probability=0.8),),
            signals=(Signal(code="code_unlikely"),),
        ),
    ),
    degraded=(Degradation(code="photo_absent"), Degradation(code="photo_absent")),
)


def publish(settings, *, fate, id_="W1"):
    """Publish the assessment, twice, and a dead letter of another event."""
    deliveries = Deliveries(producer(settings))
    value = codec.encode(
        replace(ASSESSED, declaration_id=id_),
        Registry(settings.registry_url).schema_id(ASSESSMENTS),
    )
    for _ in range(2):
        headers = [(FATE, fate.encode())]
        deliveries.put(ASSESSMENTS.name, key=id_.encode(), value=value, headers=headers)
    error = Undecodable(Reason.VALUE_NOT_AVRO, "no Avro")
    cause = Inbound(
        topic="declarations",
        partition=0,
        offset=1,
        key=f"{id_}\x1b".encode(),
        value=b"?",
        timestamp=0.0,
        headers=((FATE, fate.encode()),),
    )
    letter = dead_letter(cause, error, stage="screen", bundle_id="")
    deliveries.put(
        DEAD_LETTERS.name, key=letter.key, value=letter.value, headers=list(letter.headers)
    )
    deliveries.wait()


def found(watch, count):
    """Return the next verdicts by their declaration, with those that repeat left out."""
    verdicts = (one for one in watch.verdicts() if one and one.declaration_id.startswith("W"))
    return {one.declaration_id: one for one in islice(verdicts, count)}


def test_each_event_is_shown_once(stack):
    """Its riskiest goods item, and what was missing; a dead letter says why."""
    settings = stack.settings()
    with Watch(settings) as watch:
        publish(settings, fate="test-once")
        verdicts = found(watch, 2)
        assert next(watch.verdicts()) is None
    assessed, dead = verdicts["W1"], verdicts["W1\x1b"]
    assert (assessed.outcome, assessed.risk, assessed.fate) == ("red", 0.9, "test-once")
    assert (assessed.declared, assessed.likely) == ("640419", "610910")
    assert (assessed.reasons, assessed.degraded) == (("code_unlikely",), ("photo_absent",))
    assert (dead.outcome, dead.reasons, dead.detail) == (
        DEAD_LETTER,
        ("value_not_avro",),
        "no Avro",
    )


def test_from_a_time(stack):
    """What was published before is seen too; from now on, nothing of it."""
    settings = stack.settings()
    begin = datetime.now(UTC)
    publish(settings, fate="test-since")
    with Watch(settings, since=begin - timedelta(seconds=5)) as watch:
        assert found(watch, 2).keys() >= {"W1"}
    with Watch(settings, since=datetime.now(UTC) + timedelta(hours=1)) as watch:
        assert next(watch.verdicts()) is None
    with Watch(settings) as watch:
        assert list(until_silent(watch, frozenset({"W1"}), silence_s=0.5)) == []


def test_the_command(stack, monkeypatch):
    """A line for each; control characters of a key never reach the terminal."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    publish(stack.settings(), fate="test-command", id_="V1")
    arguments = ["watch", "--since", "1", "--id", "V1", "--id", "V1\x1b"]
    done = CliRunner().invoke(app, [*arguments, "--count", "2"])
    assert done.exit_code == 0, done.output
    assert "V1\x1b" not in done.output
    assert "dead_letter V1\N{REPLACEMENT CHARACTER}          value_not_avro: no Avro" in done.output
    assert "V1   90.0%  640419 → 610910  code_unlikely  missing photo_absent" in done.output
    done = CliRunner().invoke(app, [*arguments, "--count", "1", "--json"])
    assert json.loads(done.output)["declaration_id"] in {"V1", "V1\x1b"}


def test_send_says_which_have_no_verdict(stack, goods_folder, monkeypatch, tmp_path):
    """Nobody screens: it waits, says so, and exits with 1."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(synthetic, "VERDICT_S", 0.5)
    truth = str(tmp_path / "truth.jsonl")
    arguments = ["send", "--count", "2", "--rate", "0", "--watch", "--truth", truth]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert "have no verdict yet. Is `redlane screen` running?" in done.stderr
