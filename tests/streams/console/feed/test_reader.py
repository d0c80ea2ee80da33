"""What the console reads of the topics: shown, waited for, or a dead letter, and it goes on."""

import contextlib
import io
import math
import time
from dataclasses import replace

import fastavro
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from schemas import codec
from schemas.records import InspectionOutcome
from schemas.topics import ALERTS
from streams.console.feed.reader import Reader
from streams.console.state.ingest import case_id_of, position
from streams.console.state.queries import Store
from streams.console.state.tables import Database
from streams.kafka.delivery import Delivery, NotDelivered
from streams.kafka.registry import Registry
from streams.local.process import free_port
from streams.operations.dead_letters import read_letters
from streams.synthetic.send import new_run
from tests.streams.console import samples


def test_what_cannot_be_shown_becomes_a_dead_letter(services, publish, tmp_path):
    """As received, and what follows it is read."""
    run = new_run()
    alert = samples.alert(0, name=run)
    invalid = InspectionOutcome(
        outcome_id=run,
        declaration_id=alert.declaration_id,
        declaration_version=1,
        decided_at=samples.AT,
        result="",
    )
    producer = Producer(services.confluent())
    producer.produce("explanations", key=run.encode(), value=b"junk", headers={"ce_id": run})
    producer.flush(20)
    publish("inspection-outcomes", invalid)
    publish("alerts", alert)
    with _reading(services, tmp_path) as (store, reader):
        _until(lambda: store.detail(case_id_of(alert.declaration_id, 1)))
        _until(lambda: len(letters(services, run)) == 2)
        assert store.detail(case_id_of(alert.declaration_id, 1)).case.state == "open"
        assert reader.error is None
    assert [
        (letter.topic, letter.reason, letter.value == b"junk") for letter in letters(services, run)
    ] == [
        ("explanations", "value_not_avro", True),
        ("inspection-outcomes", "outcome_invalid", False),
    ]


def test_a_number_that_is_not_finite_ends_no_console(services, publish, tmp_path):
    """Such an alert may lie on the topic from before: a dead letter, and what follows is shown."""
    run = new_run()
    broken = samples.alert(1, name=run, risk=math.nan, expected_revenue_at_risk=math.inf)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, codec.schema("alert"), broken.to_avro())
    schema_id = Registry(services.registry_url).schema_id(ALERTS)
    producer = Producer(services.confluent())
    value = codec.PREFIX.pack(0, schema_id) + out.getvalue()
    producer.produce(ALERTS.name, key=broken.declaration_id.encode(), value=value)
    assert producer.flush(20) == 0
    sound = samples.alert(0, name=run)
    publish("alerts", sound)
    with _reading(services, tmp_path) as (store, reader):
        _until(lambda: store.detail(case_id_of(sound.declaration_id, 1)))
        _until(lambda: letters(services, run))
        assert reader.error is None
    assert [letter.message for letter in letters(services, run)] == ["a number is not finite"]


def test_a_dead_letter_waits_for_a_broker(services, tmp_path, monkeypatch):
    """As long as it takes, but not for a missing right; if stopped meanwhile, nothing counts as read."""
    database = Database(f"sqlite:///{tmp_path / 'console.db'}")
    reader = Reader(services, database)
    answers = [_refused(KafkaError._MSG_TIMED_OUT), NotDelivered("no answer"), None]

    def put(_self, **_event):
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(Delivery, "put", put)
    reader._process([samples.Junk()])
    assert (answers, position(database, "alerts", 2), reader.cut_off) == ([], 8, True)
    answers = [_refused(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    with pytest.raises(KafkaException):
        reader._process([samples.Junk(offset=8)])
    reader._stopping.set()
    reader._process([samples.Junk(offset=8)])
    assert position(database, "alerts", 2) == 8
    reader.stop()
    database.close()


def _refused(code):
    return KafkaException(KafkaError(code))


def letters(settings, run):
    """The dead letters of keys that begin so, by topic."""
    letters = [
        letter for letter in read_letters(settings) if (letter.key or b"").startswith(run.encode())
    ]
    return sorted(letters, key=lambda letter: letter.topic)


def test_an_alert_as_large_as_a_declaration_makes_it_is_shown(services, tmp_path):
    """It repeats the declaration's texts and adds reasons: more than a declaration may have."""
    alert = samples.alert(0, name=new_run())
    (item,) = alert.items
    large = [
        replace(item, sequence_number=n + 1, description=f"{n} " + "shoes " * 200)
        for n in range(999)
    ]
    alert = replace(alert, items=tuple(large))
    value = codec.encode(alert, Registry(services.registry_url).schema_id(ALERTS))
    assert len(value) > codec.MAX_VALUE_BYTES
    producer = Producer(services.confluent() | {"message.max.bytes": ALERTS.max_message_mb << 20})
    producer.produce(ALERTS.name, key=alert.declaration_id.encode(), value=value)
    assert producer.flush(20) == 0
    with _reading(services, tmp_path) as (store, _):
        _until(lambda: store.detail(case_id_of(alert.declaration_id, 1)))


def test_no_broker_is_noticed_and_waited_for(services, tmp_path):
    """The pages stay: what was read can be looked at, and decisions wait."""
    nowhere = services.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
    with _reading(nowhere, tmp_path) as (_, reader):
        _until(lambda: reader.cut_off)
        assert reader.alive


@contextlib.contextmanager
def _reading(settings, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'console.db'}")
    group = {"console_consumer_group": f"console-{new_run()}"}
    reader = Reader(settings.model_copy(update=group), database)
    reader.start()
    yield Store(database), reader
    reader.stop()
    database.close()


def _until(done, within_s=40):
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)
