"""Alerts reach case management, on a real broker, whatever its system answers.

It comes after tests that count what lies on the topics.
"""

import json
import time
import urllib.request
from collections import deque
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.examples import examples
from schemas.topics import ALERTS, DEAD_LETTERS, EXPLANATIONS
from streams.kafka.publisher import Publisher
from streams.local.process import free_port
from streams.synthetic.send import new_run
from tests.chaos.verifier import committed, ends, read_all
from tests.conftest import ready
from tests.streams.webhook.endpoint import SECRET, Endpoint

ALERT = next(record for _, record in examples("alert"))
EXPLANATION = next(record for _, record in examples("explanation"))
VERSIONS = (1, 2, 3)
ANSWERS = {
    "D0": [500, 500],
    "D1": ["hang"],
    "D2": [(429, {"Retry-After": "1"})],
    "D3": [(302, {"Location": "/elsewhere"})],
    "D4": [422],
    "D5": [410],
}
"""Declaration → how its first webhooks are answered; then they are taken."""


@pytest.fixture
def run():
    return f"W{new_run()}"


@pytest.fixture
def published(stack, run):
    """Alerts of a few declarations, in versions, and an explanation; the ends of the topics before."""
    mark = ends(stack.settings(), [DEAD_LETTERS])
    publisher = Publisher(stack.settings(), source="redlane/test")
    alerts = [
        replace(ALERT, declaration_id=f"{run}{name}", declaration_version=version)
        for version in VERSIONS
        for name in ANSWERS
    ]
    publisher.put(ALERTS, alerts)
    publisher.put(EXPLANATIONS, [replace(EXPLANATION, declaration_id=f"{run}D0")])
    return mark


def beginnings(settings, topic):
    """Partition → the offset of its first event; others may have deleted some before."""
    consumer = Consumer(settings.confluent() | {"group.id": "beginnings"})
    try:
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic.name, partition), 10)[0]
            for partition in range(topic.partitions)
        }
    finally:
        consumer.close()


def test_every_alert_is_delivered_whatever_the_receiver_answers(
    stack, start_worker, run, published
):
    """One that takes nothing stops the worker, and nothing is passed over; then each once, in order."""
    group, port = f"deliver-{run}", free_port()
    settings = {
        "deliver_url": f"http://127.0.0.1:{port}/redlane",
        "deliver_secret": SECRET,
        "deliver_topics": "alerts,explanations",
        "deliver_consumer_group": group,
        "deliver_timeout_s": "1",
    }
    worker = start_worker("deliver", **settings, deliver_retry_s="1")
    deadline = time.monotonic() + 60
    while worker.returncode is None:
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.1)
    assert worker.returncode == 1
    log = worker.log.read_text()
    assert "took nothing for 1 s: ClientConnectorError" in log
    assert "Traceback" not in log
    before = beginnings(stack.settings(), ALERTS)
    assert all(
        offset <= before[partition]
        for partition, offset in committed(stack.settings(), group, ALERTS).items()
    )

    plan = {f"{run}{name}": deque(answers) for name, answers in ANSWERS.items()}
    expected = len(VERSIONS) * len(
        ANSWERS
    )  # of the alerts one is refused, and there is one explanation

    def answer(posted):
        left = plan.get(json.loads(posted.body)["subject"])
        return left.popleft() if left else 204

    with Endpoint(port=port) as endpoint:
        endpoint.answer = answer
        worker = start_worker("deliver", **settings, deliver_retry_s="30")

        def ours():
            events = [json.loads(posted.body) for posted in list(endpoint.taken)]
            return [event for event in events if event["subject"] in plan]

        worker.wait_until(lambda: ready(worker) and len(ours()) >= expected, within_s=90)
        with urllib.request.urlopen(f"{worker.health}/metrics", timeout=5) as page:
            metrics = page.read().decode()
        assert worker.stop() == 0

    versions = {}
    for event in ours():
        if event["type"] == "redlane.alert":
            versions.setdefault(event["subject"], []).append(event["data"]["declaration_version"])
    refused = versions.pop(f"{run}D4")
    assert refused == [2, 3]
    assert all(each == list(VERSIONS) for each in versions.values()), versions
    assert len(ours()) == expected
    bodies = {}
    for posted in endpoint.posted:
        assert posted.path == "/redlane"
        assert bodies.setdefault(posted.id, posted.body) == posted.body
    for topic in (ALERTS, EXPLANATIONS):
        offsets = committed(stack.settings(), group, topic)
        assert {partition: end for (_, partition), end in ends(stack.settings(), [topic]).items()} == offsets  # fmt: skip
    letters = read_all(stack.settings(), [DEAD_LETTERS], published).reasons
    assert letters[f"{run}D4".encode()] == "delivery_refused"
    assert 'redlane_webhooks_total{result="refused",topic="alerts"} 1.0' in metrics
    assert SECRET not in log + worker.log.read_text()
