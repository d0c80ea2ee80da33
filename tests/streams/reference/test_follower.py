"""Reference topics: what is put on them is read by every worker, and nothing bad gets in."""

import json
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from schemas import codec
from schemas.records import (
    Condition,
    Declaration,
    ExchangeRate,
    GoodsItem,
    RiskProfile,
    TariffMeasure,
)
from schemas.topics import EXCHANGE_RATES, RISK_PROFILES, TARIFF_MEASURES
from streams.cli import app
from streams.kafka.publisher import Publisher
from streams.kafka.registry import NotDeployed
from streams.local.process import LOOPBACK, free_port
from streams.pseudonym import pseudonym
from streams.reference.follower import Reference, ReferenceLost, read
from streams.reference.state import ReferenceState

KEY = "of the tests"
NOW = datetime.now(UTC).replace(microsecond=0)
PROFILE = RiskProfile(
    profile_id="TEST-1",
    conditions=(Condition(field="commodity_code", operator="starts_with", values=("6406",)),),
    lane="red",
    valid_until=NOW + timedelta(days=1),
    author="a",
    approver="b",
)
DECLARATION = Declaration(
    declaration_id="26BE1", acceptance_time=NOW, goods_items=(GoodsItem(commodity_code="64062010"),)
)


TOPIC_OF = {
    RiskProfile: RISK_PROFILES,
    TariffMeasure: TARIFF_MEASURES,
    ExchangeRate: EXCHANGE_RATES,
}
RATE = ExchangeRate(rate_id="USD-1", currency="usd", rate=1.25, valid_from=NOW - timedelta(days=9))


# The events alone.


@pytest.fixture
def state():
    """Knows schema ids 1 and, after it has asked again, 2; `asked` has the times."""

    def writers(topic):
        asked.append(topic.name)
        return {i: codec.schema(topic.schema) for i in ((1, 2) if len(asked) > 3 else (1,))}

    asked = []
    state = ReferenceState(writers)
    state.asked = asked
    return state


def take(state, record, offset=0, *, key=None, schema_id=1):
    topic = TOPIC_OF[type(record)]
    own = getattr(record, topic.key).encode()
    state.take(topic.name, key or own, codec.encode(record, schema_id), offset)


def test_the_later_event_wins_unless_its_version_is_older(state):
    """And a removed profile may begin again."""
    take(state, replace(PROFILE, version=2))
    take(state, replace(PROFILE, version=2, title="again"))
    with capture_logs() as logs:
        take(state, PROFILE, offset=7)
    (profile,) = state.snapshot().profiles
    assert (profile.version, profile.title) == (2, "again")
    assert (logs[0]["event"], logs[0]["offset"]) == ("older profile not taken", 7)
    state.take(RISK_PROFILES.name, b"TEST-1", None, 8)
    assert state.snapshot().profiles == ()
    take(state, PROFILE)
    assert state.snapshot().profiles == (PROFILE,)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"TEST-1", b"", "value_empty"),
        (b"TEST-1", b"not Avro", "value_not_avro"),
        (b"TEST-1", codec.encode(PROFILE, 1)[:-3], "value_not_avro"),
        (b"TEST-1", codec.encode(PROFILE, 9), "schema_unknown"),
        (b"TEST-1", codec.encode(replace(PROFILE, profile_id="OTHER"), 1), "its key is not the record's id"),
        (None, codec.encode(PROFILE, 1), "it has no key"),
        (None, None, "it has no key"),
    ],
)  # fmt: skip
def test_a_bad_event_is_skipped_and_the_last_good_one_stays(state, key, value, reason):
    """Logged with its place and the reason."""
    take(state, PROFILE)
    with capture_logs() as logs:
        state.take(RISK_PROFILES.name, key, value, 5)
    assert state.snapshot().profiles == (PROFILE,)
    assert (logs[0]["event"], logs[0]["offset"]) == ("reference event skipped", 5)
    assert logs[0]["reason"] == reason


def test_a_schema_that_was_registered_later_is_asked_for_once(state):
    """An upgrade deploys first; workers of the old version read on."""
    take(state, PROFILE, schema_id=2)
    assert state.snapshot().profiles == (PROFILE,)
    for _ in range(3):
        take(state, replace(PROFILE, title="unknown"), schema_id=9)
    assert state.snapshot().profiles == (PROFILE,)
    at_start = [topic.name for topic in TOPIC_OF.values()]
    assert state.asked == at_start + [RISK_PROFILES.name] * 2


def test_snapshots_do_not_change(state):
    """A micro-batch is judged by one."""
    before = state.snapshot()
    take(state, PROFILE)
    take(state, TariffMeasure(measure_id="m", commodity_code="6406", duty_rate=3.0))
    after = state.snapshot()
    assert before.profiles == ()
    assert before.tariff.duty("640620", "CN", NOW) is None
    assert after.matcher.matching(DECLARATION, NOW) == [PROFILE]
    assert after.tariff.duty("640620", "CN", NOW) == 3.0


def quoted(snapshot):
    """The rate of the dollar now, and whether it is valid."""
    quote = snapshot.rates.quote("USD", NOW)
    return float(quote.rate), quote.valid


def test_exchange_rates_are_followed(state):
    """The last good record of each key; without any the shipped table."""
    shipped = quoted(state.snapshot())
    take(state, RATE)
    assert quoted(state.snapshot()) == (1.25, True)
    with capture_logs() as logs:
        take(state, RATE, key=b"OTHER", offset=3)
        state.take(EXCHANGE_RATES.name, b"USD-1", b"not Avro", 4)
    assert [(log["event"], log["offset"]) for log in logs] == [("reference event skipped", 3), ("reference event skipped", 4)]  # fmt: skip
    assert quoted(state.snapshot()) == (1.25, True)
    with capture_logs() as logs:
        take(state, replace(RATE, rate_id="USD-2", rate=-1.0))
    assert (logs[0]["event"], logs[0]["rate_id"]) == ("exchange rate ignored", "USD-2")
    take(state, replace(RATE, rate_id="USD-3", rate=2.0, valid_from=NOW - timedelta(days=1)))
    assert quoted(state.snapshot()) == (2.0, True)
    for id_ in (b"USD-1", b"USD-3"):
        state.take(EXCHANGE_RATES.name, id_, None, 9)
    assert quoted(state.snapshot()) == shipped
    assert shipped[1] is False


# On the real services.


@pytest.fixture
def publisher(stack):
    """Publishes; what the tests put is removed at the end."""
    publisher = Publisher(stack.settings(), source="redlane/test")
    yield publisher
    snapshot = read(stack.settings())
    publisher.remove(RISK_PROFILES, [profile.profile_id for profile in snapshot.profiles])
    publisher.remove(TARIFF_MEASURES, ["TEST-640411"])


@pytest.fixture
def reference(stack):
    """Runs as in a worker."""
    with Reference(stack.settings()) as running:
        yield running


@pytest.fixture
def redlane(stack, publisher, monkeypatch):
    """Runs a command as in a shell."""
    for name, value in (stack.environment() | {"REDLANE_PSEUDONYM_KEY": KEY}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        return CliRunner().invoke(app, ["profile", *map(str, arguments)])

    return run


@pytest.fixture
def file(tmp_path):
    """A profile as a person writes it."""
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(WRITTEN))
    return path


WRITTEN = {
    "profile_id": "TEST-1",
    "title": "Footwear declared as parts",
    "conditions": [{"field": "commodity_code", "operator": "starts_with", "values": ["6406"]}],
    "lane": "red",
    "valid_from": "2026-01-01T00:00:00+00:00",
    "valid_until": "2100-01-01T00:00:00+01:00",
}
BY = ("--author", "Ann Peeters", "--approver", "Bob Maes")


def soon(condition, reference):
    """Wait until it holds; a worker that runs should know within seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        reference.check()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def selected(reference):
    matching = reference.snapshot.matcher.matching(DECLARATION, datetime.now(UTC))
    return [(p.profile_id, p.version) for p in matching]


def test_a_profile_is_put_changed_and_expired(stack, redlane, reference, file):
    """A running worker knows within seconds; one that starts later knows the same."""
    assert redlane("put", file, *BY).stdout == "TEST-1 version 1 is published.\n"
    soon(lambda: selected(reference) == [("TEST-1", 1)], reference)
    assert redlane("put", file, *BY).stdout == "TEST-1 version 2 is published.\n"
    soon(lambda: selected(reference) == [("TEST-1", 2)], reference)
    (profile,) = (one for one in reference.snapshot.profiles if one.profile_id == "TEST-1")
    assert profile.author == pseudonym(KEY.encode(), "Ann Peeters")
    assert profile.approver == pseudonym(KEY.encode(), "Bob Maes")
    arrived_before = datetime.now(UTC)

    assert redlane("expire", "TEST-1", *BY).stdout == "TEST-1 version 3 is published: expired.\n"
    soon(lambda: selected(reference) == [], reference)
    assert reference.snapshot.matcher.matching(DECLARATION, arrived_before)
    with Reference(stack.settings()) as later:
        assert later.snapshot.profiles == reference.snapshot.profiles
        assert selected(later) == []
    assert "had expired already" in redlane("expire", "TEST-1", *BY).output


def test_the_list_tells_each_profiles_state(stack, redlane, publisher, file):
    """In force, not yet, expired, or ignored and why."""
    watch = Condition(field="importer.identification", operator="equals", values=("BE0123456789",))
    publisher.put(
        RISK_PROFILES,
        [
            replace(PROFILE, profile_id="TEST-2", approver="a"),
            replace(PROFILE, profile_id="TEST-3", valid_until=NOW - timedelta(days=1)),
            replace(PROFILE, profile_id="TEST-4", conditions=(watch,)),
            replace(PROFILE, profile_id="TEST-5", valid_from=NOW + timedelta(hours=1)),
        ],
    )
    redlane("put", file, *BY)
    listed = json.loads(redlane("list", "--all", "--json").stdout)
    assert {profile["profile_id"]: profile["state"] for profile in listed} == {
        "TEST-1": "in force",
        "TEST-2": "ignored",
        "TEST-3": "expired",
        "TEST-4": "in force",
        "TEST-5": "not yet",
    }
    assert listed[1]["problem"] == "needs a second person"
    assert listed[0]["conditions"] == WRITTEN["conditions"]
    assert "TEST-3" not in redlane("list", "--json").output
    producer = Producer(stack.settings().confluent())
    producer.produce(RISK_PROFILES.name, key=b"TEST-9", value=b"?")
    assert producer.flush(30) == 0
    again = redlane("list", "--all", "--json")
    assert json.loads(again.stdout) == listed
    assert "reference event skipped" in again.stderr
    table = redlane("list")
    assert table.exit_code == 0
    assert "BE0123456789" not in table.output.replace("\n", "")


def test_a_profile_of_one_person_selects_nothing(publisher, reference):
    """Whoever may write to the topic: the workers look, too, and log it without its values."""
    watch = Condition(field="importer.identification", operator="equals", values=("BE0123",))
    with capture_logs() as logs:
        publisher.put(RISK_PROFILES, [replace(PROFILE, approver="a", conditions=(watch,))])
        soon(lambda: logs, reference)
    assert selected(reference) == []
    (logged,) = logs
    assert (logged["event"], logged["reason"]) == ("profile ignored", "needs a second person")
    assert "BE0123" not in str(logs)


@pytest.mark.parametrize(
    ("change", "by", "message"),
    [
        ({}, ("--author", "Ann Peeters", "--approver", " ann  PEETERS"), "are the same person"),
        ({}, ("--author", "Ann Peeters", "--approver", " "), "A name is empty"),
        ({"lane": "green"}, BY, "its lane is neither yellow nor red"),
        ({"conditions": []}, BY, "has no conditions"),
        ({"conditions": [{"field": "colour", "operator": "equals", "values": ["red"]}]}, BY, "condition 1: there is no such field"),
        ({"conditions": "all"}, BY, "conditions: Input should be"),
        ({"colour": "red"}, BY, "colour: Extra inputs are not permitted"),
        ({"valid_until": "2100-01-01T00:00:00"}, BY, "valid_until: Input should have timezone info"),
    ],
)  # fmt: skip
def test_a_profile_that_would_be_ignored_is_not_put(redlane, file, change, by, message):
    """The message says what to mend; nothing is published."""
    file.write_text(json.dumps(WRITTEN | change))
    result = redlane("put", file, *by)
    assert result.exit_code == 1
    assert message in result.stderr
    assert json.loads(redlane("list", "--all", "--json").stdout) == []


def test_what_is_not_there_is_told(redlane, file, tmp_path, monkeypatch):
    """A file, a profile, the key of the pseudonyms."""
    assert "No such file" in redlane("put", tmp_path / "none.json", *BY).stderr
    file.write_text("{")
    assert "Invalid JSON" in redlane("put", file, *BY).stderr
    assert "There is no profile NONE" in redlane("expire", "NONE", *BY).stderr
    monkeypatch.setenv("REDLANE_PSEUDONYM_KEY", "")
    assert "REDLANE_PSEUDONYM_KEY" in redlane("put", file, *BY).stderr


def test_the_committed_example_can_be_put(redlane):
    """Its version, author and approver stand in the file and are not looked at."""
    path = "schemas/examples/risk-profile/footwear-parts.json"
    assert redlane("put", path, *BY).stdout == "BE-2026-014 version 1 is published.\n"


def test_malformed_events_do_not_stop_the_reader(stack, publisher, reference):
    """What follows them is taken."""
    producer = Producer(stack.settings().confluent())
    for value in (b"", b"not Avro", struct.pack(">bI", 0, 4_000_000) + b"x"):
        producer.produce(RISK_PROFILES.name, key=b"TEST-1", value=value)
        producer.produce(TARIFF_MEASURES.name, key=b"TEST-640411", value=value)
    assert producer.flush(30) == 0
    publisher.put(RISK_PROFILES, [PROFILE])
    measure = TariffMeasure(measure_id="TEST-640411", commodity_code="640411", duty_rate=16.9)
    publisher.put(TARIFF_MEASURES, [measure])
    soon(lambda: selected(reference) == [("TEST-1", 1)], reference)
    soon(lambda: reference.snapshot.tariff.duty("640411", "CN", NOW) == 16.9, reference)
    assert publisher.remove(TARIFF_MEASURES, ["TEST-640411"]) == 1
    soon(lambda: reference.snapshot.tariff.duty("640411", "CN", NOW) is None, reference)
    publisher.put(EXCHANGE_RATES, [RATE])
    soon(lambda: quoted(reference.snapshot) == (1.25, True), reference)
    publisher.remove(EXCHANGE_RATES, [RATE.rate_id])
    soon(lambda: not quoted(reference.snapshot)[1], reference)


def test_a_reader_that_died_is_seen(publisher, reference, monkeypatch):
    """The worker would otherwise go on with what it knew."""

    def broken(*_):
        raise ZeroDivisionError("a bug")

    reference.check()
    monkeypatch.setattr(reference._state, "take", broken)
    publisher.put(RISK_PROFILES, [PROFILE])
    with pytest.raises(ReferenceLost, match="a bug"):
        soon(lambda: False, reference)
    reference.stop()


def test_a_reader_that_was_stopped_is_not_followed(stack):
    """Nor one that never started; stopping does not wait."""
    reference = Reference(stack.settings())
    with pytest.raises(ReferenceLost, match="not running"):
        reference.check()
    reference.start()
    began = time.monotonic()
    reference.stop()
    assert time.monotonic() - began < 3
    with pytest.raises(ReferenceLost, match="not running"):
        reference.check()


def test_a_broker_that_does_not_answer_is_told_in_time(stack):
    """A worker does not get ready without its reference data."""
    nowhere = {"kafka_bootstrap_servers": f"{LOOPBACK}:{free_port()}"}
    reference = Reference(stack.settings().model_copy(update=nowhere), within_s=1)
    began = time.monotonic()
    with pytest.raises(ReferenceLost, match="does not answer"):
        reference.start()
    assert time.monotonic() - began < 10


def test_a_topic_that_is_missing_is_told(stack):
    """With what to do."""
    absent = replace(RISK_PROFILES, name="absent-profiles")
    reference = Reference(stack.settings(), topics=(absent,))
    with pytest.raises(NotDeployed, match="redlane deploy"):
        reference.start()
