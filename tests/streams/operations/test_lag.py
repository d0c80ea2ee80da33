"""How far groups are behind: by the offsets they committed, and since when."""

import json
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from schemas.topics import ALERTS, EXPLANATIONS, INSPECTION_OUTCOMES
from streams.cli import app
from streams.local.process import free_port
from streams.operations import lag
from streams.operations.lag import GroupLag, PartitionLag, groups, measure
from streams.settings import Settings
from streams.synthetic.send import new_run

BEHIND = GroupLag(
    "redlane-screen",
    "declarations",
    2,
    (
        PartitionLag(0, 5, 1205, 1200, 61.04),
        PartitionLag(1, 7, 9, 0, None),
        PartitionLag(2, 3, 4, 1, 2.0),
    ),
)


def invoke(*arguments, **environment):
    return CliRunner().invoke(app, ["lag", *arguments], env=environment)


def test_a_group_is_as_late_as_its_oldest_event(monkeypatch):
    """Where only markers of a transaction are left, nothing waits."""
    monkeypatch.setattr(lag, "measure", lambda _: [BEHIND])
    assert (BEHIND.lag, BEHIND.oldest_age_s) == (1201, 61.04)
    shown = invoke()
    assert shown.exit_code == 0
    assert "1,201" in shown.stdout
    assert "partition" not in shown.stdout
    assert "partition 2" in invoke("--partitions").stdout
    (figures,) = json.loads(invoke("--json").stdout)
    assert figures == {
        "group": "redlane-screen", "topic": "declarations", "lag": 1201, "oldest_age_s": 61.0, "members": 2,
    }  # fmt: skip
    (figures,) = json.loads(invoke("--json", "--partitions").stdout)
    assert [each["lag"] for each in figures["partitions"]] == [1200, 0, 1]


@pytest.mark.parametrize(("most", "status"), [("1200", 1), ("1201", 0)])
def test_more_than_allowed_is_an_exit_status(monkeypatch, most, status):
    """For a probe or a script; what is shown is the same."""
    monkeypatch.setattr(lag, "measure", lambda _: [BEHIND])
    done = invoke("--max", most)
    assert done.exit_code == status
    assert "1,201" in done.stdout


def test_what_is_not_used_is_not_behind():
    """Without a receiver nobody delivers; with one, each of its topics counts."""
    assert not [group for group, _ in groups(Settings()) if group == "redlane-deliver"]
    settings = Settings(deliver_url="https://cases.example/", deliver_topics="alerts,explanations")
    assert groups(settings)[-2:] == (("redlane-deliver", ALERTS), ("redlane-deliver", EXPLANATIONS))


def test_without_kafka_it_says_so(monkeypatch):
    """One line, and what to do."""
    monkeypatch.setattr(lag, "ANSWER_S", 1.0)
    done = invoke(REDLANE_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert "Kafka does not answer" in done.stderr


def test_what_waits_is_measured_and_who_is_there(stack):
    """A group that has done part of a topic; one that nobody was ever in counts from the start."""
    settings = stack.settings().model_copy(
        update={name: new_run() for name in (
            "consumer_group", "explain_consumer_group", "learn_consumer_group",
        )}
    )  # fmt: skip
    name = INSPECTION_OUTCOMES.name
    producer = Producer(settings.confluent())
    for _ in range(3):
        producer.produce(name, key=b"x", value=b"x", partition=1)
    assert producer.flush(20) == 0
    consumer = Consumer(
        settings.confluent()
        | {"group.id": settings.learn_consumer_group, "enable.auto.commit": False}
    )
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(name, number), timeout=10)[1]
        for number in range(INSPECTION_OUTCOMES.partitions)
    }
    done = [TopicPartition(name, n, end - 2 * (n == 1)) for n, end in ends.items()]
    consumer.commit(offsets=done, asynchronous=False)
    (learn,) = [each for each in measure(settings) if each.topic == name]
    assert (learn.group, learn.lag, learn.members) == (settings.learn_consumer_group, 2, 0)
    assert 0 <= learn.oldest_age_s < 60
    consumer.subscribe([name])
    deadline = time.monotonic() + 30
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(0.1)
    (learn,) = [each for each in measure(settings) if each.topic == name]
    consumer.close()
    assert learn.members == 1
    everything = sum(ends.values())
    (never,) = [
        each
        for each in measure(settings.model_copy(update={"learn_consumer_group": new_run()}))
        if each.topic == name
    ]
    assert 3 <= never.lag <= everything
    assert never.members == 0
