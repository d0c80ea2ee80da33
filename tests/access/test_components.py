"""Every component does its work with its own user, in Kafka, Redis and object storage, over TLS."""

import re
import time
import urllib.parse
import urllib.request

import pytest
from confluent_kafka import Consumer

from models.datasets.goods import read
from schemas import codec
from schemas.records import Alert, Assessment, Explanation, InspectionOutcome
from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, EXPLANATIONS, INSPECTION_OUTCOMES
from streams.kafka.delivery import Deliveries, producer
from streams.kafka.publisher import Publisher
from streams.kafka.registry import Registry
from streams.operations.access import user_of
from streams.synthetic.inspector import outcomes
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run, send
from tests.conftest import ready
from tests.streams.webhook.endpoint import SECRET, Endpoint

JUNK = b"x"
KINDS = {ALERTS: Alert, ASSESSMENTS: Assessment, EXPLANATIONS: Explanation, INSPECTION_OUTCOMES: InspectionOutcome}  # fmt: skip


def received(secured, component, *topics):
    """Yields topic and record as an outside reader sees them, in a group of its user's name."""
    settings = secured.settings(component)
    registry = Registry(settings.registry_url)
    writers = {topic.name: registry.writers(topic) for topic in topics}
    kinds = {topic.name: KINDS[topic] for topic in topics}
    consumer = Consumer(settings.confluent() | {"group.id": user_of(component), "auto.offset.reset": "earliest"})  # fmt: skip
    consumer.subscribe(list(kinds))
    deadline = time.monotonic() + 60
    try:
        while True:
            assert time.monotonic() < deadline, f"nothing more of {list(kinds)} for {component}"
            for message in consumer.consume(10, timeout=1):
                assert message.error() is None, message.error().str()
                name = message.topic()
                if message.key() == JUNK:
                    continue  # of the tests of rights
                yield name, codec.decode(message.value(), kinds[name], writers[name])
    finally:
        consumer.close()


def page(url, **form):
    data = urllib.parse.urlencode(form).encode() if form else None
    origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
    request = urllib.request.Request(url, data, {"Origin": origin})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def cases(secured):
    """A case management system with a certificate of the tests' authority."""
    with Endpoint(certificate=secured.authority.issue("cases")) as endpoint:
        yield endpoint


def test_every_component_does_its_work(secured, start, command, cases, *, goods_folder, tmp_path):
    """From declaration to outcome, with a dead letter sent again; nothing is denied on the way."""
    workers = {name: start(name) for name in ("screen", "explain", "learn")}
    workers["console"] = start("console", "console", "--demo-user", "ann", "--database", f"sqlite:///{tmp_path / 'console.db'}")  # fmt: skip
    workers["deliver"] = start("deliver", deliver_url=cases.url, deliver_secret=SECRET, deliver_ca_file=secured.authority.ca_file, deliver_topics="alerts,explanations")  # fmt: skip
    for worker in workers.values():
        worker.wait_until(lambda started=worker: ready(started), within_s=90)

    settings = secured.settings("customs IT")
    source = Irregularities(read(goods_folder), bucket="goods-photos", run=new_run(), seed=4, shares={"wrong_photo": 1.0})  # fmt: skip
    truths = {}
    send(settings, source.consignments(6), rate=0, truth=None, sent=lambda one: truths.update({one.truth.declaration_id: one.truth}))  # fmt: skip
    garbage = Deliveries(producer(settings))
    garbage.put(DECLARATIONS.name, key=b"garbage", value=b"\0nonsense")
    garbage.wait()

    assessed = received(secured, "customs IT", ASSESSMENTS)
    assessments = [next(assessed)[1] for _ in truths]
    assert {one.declaration_id for one in assessments} == set(truths)
    codes = {lost.code for one in assessments for lost in one.degraded}
    assert not {code for code in codes if code.endswith("unavailable")}
    events = {}
    for topic, record in received(secured, "case management", ALERTS, EXPLANATIONS):
        events[topic] = record
        if len(events) == 2:
            break
    explanation = events[EXPLANATIONS.name]
    assert [heat_map for item in explanation.items for heat_map in item.heat_maps if heat_map]
    for id_ in (events[ALERTS.name].declaration_id, explanation.declaration_id):
        wait_for(lambda key=id_: key in {posted.key for posted in list(cases.taken)})
    (outcome,) = outcomes([events[ALERTS.name]], truths)
    Publisher(secured.settings("case management"), source="test").put(INSPECTION_OUTCOMES, [outcome])  # fmt: skip

    url = f"{workers['console'].health}/"
    case = wait_for(lambda: re.search(r"/alerts/([\w-]+)", page(url)))[1]
    shown = page(f"{url}alerts/{case}")
    token = re.search(r'name="token" value="([^"]+)"', shown)[1]
    page(f"{url}alerts/{case}/assign", token=token)
    page(f"{url}alerts/{case}/decision", token=token, result="conforming", note="")
    wait_for(lambda: "decision published" in workers["console"].log.read_text())
    learned = r'redlane_outcomes_total\{fate="(conforming|irregular)"\} [1-9]'
    wait_for(lambda: re.search(learned, page(f"{workers['learn'].health}/metrics")))

    listed = command("dead-letters", "dead-letters", "list")
    assert "garbage" in listed.stdout, listed.stderr
    again = command("dead-letters", "dead-letters", "replay", "--topic", DECLARATIONS.name)
    assert re.match(r"[1-9]\d* were sent again", again.stdout), again.stderr
    profile = "schemas/examples/risk-profile/footwear-parts.json"
    words = ("profile", "put", profile, "--author", "A", "--approver", "B")
    assert "is published" in command("intelligence service", *words).stdout
    examined = command("doctor", "doctor")
    assert examined.returncode == 0, examined.stdout
    redeployed = command("deploy", "deploy", registry_token=secured.registry_token)
    assert redeployed.returncode == 0, redeployed.stderr

    assert {name: worker.stop() for name, worker in workers.items()} == dict.fromkeys(workers, 0)
    for worker in workers.values():
        log = worker.log.read_text()
        assert not re.search("authoriz|denied|refuse|NOPERM|Traceback", log, re.IGNORECASE), log
        assert not [secret for secret in (SECRET, *secured.passwords.values()) if secret in log]


def wait_for(answer, within_s=60):
    """The first true answer."""
    deadline = time.monotonic() + within_s
    while not (answered := answer()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answered
