"""The whole way on real services, in a real browser: alert, explanation, decision, outcome."""

import asyncio
import json
import os
import signal
import sys
import time
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas import codec
from schemas.records import InspectionOutcome
from schemas.topics import INSPECTION_OUTCOMES, TOPICS
from streams.console.feed.outbox import Outbox
from streams.console.state.actions import CaseActions
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.tables import Database
from streams.console.state.users import User
from streams.kafka.registry import Registry
from streams.local.process import LOOPBACK, Process, free_port
from streams.synthetic.send import new_run
from tests.streams.console import samples
from tests.streams.console.browser import browser, chromium

EXPLANATIONS = TOPICS["explanations"]
ANN = User(id="ann", name="Ann", role="inspector")


@pytest.fixture
def start_console(stack, services, tmp_path):
    """Starts `redlane console` on one database and port; stopped at the end."""
    started, port = [], free_port()
    command = [
        sys.executable, "-m", "streams.cli", "console", "--demo-user", "Ann", "--port", str(port),
        "--database", f"sqlite:///{tmp_path / 'console.db'}",
    ]  # fmt: skip
    environment = stack.environment() | {"REDLANE_CONSOLE_CONSUMER_GROUP": f"console-{port}"}

    def start():
        directory = stack.directory / f"console-{port}"
        process = Process("console", command, directory=directory, environment=environment).start()
        started.append(process)
        process.url = f"http://{LOOPBACK}:{port}"
        process.wait_until(lambda: _answers(f"{process.url}/readyz"), within_s=40)
        return process

    yield start
    for process in started:
        process.stop()
        print(process.tail())


@pytest.fixture
async def tab():
    """A tab of a headless Chromium."""
    if chromium() is None:
        assert "CI" not in os.environ, "CI must have chromium: apt-get install chromium"
        pytest.skip("there is no chromium: apt-get install chromium")
    async with browser(chromium()) as new_tab:
        tab = await new_tab()
        await tab.size(1280, 860)
        yield tab
        assert tab.errors == []


def outcomes(settings, declaration_id):
    """The events on inspection-outcomes of one declaration: headers and record."""
    writers = Registry(settings.registry_url).writers(INSPECTION_OUTCOMES)
    consumer = Consumer(settings.confluent() | {"group.id": "count", "enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"})  # fmt: skip
    consumer.assign([TopicPartition(INSPECTION_OUTCOMES.name, n, 0) for n in range(INSPECTION_OUTCOMES.partitions)])  # fmt: skip
    published, ended = [], 0
    while ended < INSPECTION_OUTCOMES.partitions:
        message = consumer.poll(10)
        assert message is not None
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF
            ended += 1
        elif message.key() == declaration_id.encode():
            record = codec.decode(message.value(), InspectionOutcome, writers)
            published.append((dict(message.headers()), record))
    consumer.close()
    return published


async def test_from_alert_to_outcome_in_a_browser(start_console, publish, tab, services):
    """Nothing is reloaded, and a decision sent by a double click is one event."""
    run = new_run()
    first, second = (samples.alert(place, name=run) for place in (1, 0))
    console = start_console()
    await tab.open(f"{console.url}/")
    await tab.do("window.loadedOnce = true")
    await tab.until("document.getElementById('link').textContent == 'Live'")
    publish("alerts", first)
    row = f"#case-{case_id_of(first.declaration_id, 1)}"
    await tab.until(f"document.querySelector('{row}')")
    publish("alerts", second)
    publish("assessments", samples.assessment(second))
    row = f"#case-{case_id_of(second.declaration_id, 1)}"
    await tab.until(f"document.querySelector('{row}') == document.querySelector('tr.case')")
    await tab.until("document.querySelector('[data-count=all]').textContent == '2'")
    assert await tab.do("window.loadedOnce")

    await tab.press("j")
    await tab.press("Enter")
    await tab.until("document.querySelector('.waiting') && document.querySelector('.bars')")
    await tab.until("document.querySelector('img.photo').naturalWidth > 500")
    await tab.do("window.loadedOnce = true")
    await tab.press("a")
    await tab.until("document.querySelector('.holder').textContent.includes('You')")
    await tab.press("i")
    await tab.do("document.querySelector('[name=code]').value = '640411'")
    publish("explanations", samples.explanation(second))
    await tab.until("document.querySelector('mark.w4')?.textContent == 'SHOES'")
    assert await tab.do("document.querySelector('[name=code]').value") == "640411"
    assert await tab.do("document.querySelector('.heat').hidden")
    await tab.do("document.activeElement.blur()")
    await tab.press("h")
    await tab.until("!document.querySelector('.heat').hidden")
    await tab.until("document.querySelector('.heat').naturalWidth > 100")
    await tab.press("h")
    assert await tab.do("document.querySelector('.heat').hidden")

    await tab.click(".send", count=2)
    await tab.until("document.querySelector('.delivery')?.textContent.includes('✓')")
    assert await tab.do("window.loadedOnce")
    ((headers, outcome),) = outcomes(services, second.declaration_id)
    assert (outcome.result, outcome.findings[0].established_code) == ("irregular", "640411")
    assert (headers["ce_type"], outcome.declaration_version) == (b"redlane.inspection-outcome", 1)
    assert "Ann" not in repr(outcome)
    await tab.press("u")
    await tab.until("document.querySelectorAll('tr.case').length == 1")


async def test_a_lost_connection_loses_nothing(start_console, publish, tab):
    """The console ends and starts again; the page goes on from what it saw, each row once."""
    run = new_run()
    console = start_console()
    publish("alerts", samples.alert(0, name=run))
    await tab.open(f"{console.url}/?sort=time")
    await tab.do("window.loadedOnce = true")
    await tab.until(
        f"document.querySelectorAll('[href]').length && document.body.textContent.includes('{run}')"
    )
    await asyncio.to_thread(console.stop)
    await tab.until("document.querySelector('#link.lost')")
    publish("alerts", *(samples.alert(place, name=run) for place in range(8)))
    start_console()
    ids = "[...document.querySelectorAll('tr.case .id')].map((i) => i.textContent)"
    mine = f"{ids}.filter((id) => id.startsWith('{run}'))"
    await tab.until(f"{mine}.length == 8", within_s=30)
    assert await tab.do(mine) == [f"{run}{place:02}" for place in reversed(range(8))]
    assert await tab.do("window.loadedOnce")


async def test_a_broker_that_is_away_is_shown_and_waited_for(
    start_console, publish, tab, services, stack
):
    """The page stays, and says so; a decision made meanwhile is sent once, and alerts go on."""
    alert, later = (samples.alert(place, name=new_run()) for place in range(2))
    console = start_console()
    publish("alerts", alert)
    case = case_id_of(alert.declaration_id, 1)
    await tab.open(f"{console.url}/")
    await tab.until(f"document.getElementById('case-{case}')")
    (broker,) = stack.kafka.brokers
    broker.kill()
    try:
        await tab.until("!document.getElementById('cut-off').hidden", within_s=60)
        await tab.open(f"{console.url}/alerts/{case}")
        await tab.until("document.querySelector('html.js')")
        await tab.press("c")
        await tab.click(".send")
        await tab.until("document.querySelector('[data-unsent=\"1\"]')")
    finally:
        await asyncio.to_thread(lambda: (broker.start(), stack.kafka.wait()))
    await tab.until("document.querySelector('[data-unsent=\"0\"]')", within_s=90)
    await tab.until("document.getElementById('cut-off').hidden")
    assert len(outcomes(services, alert.declaration_id)) == 1
    await asyncio.to_thread(publish, "alerts", later)
    await tab.open(f"{console.url}/")
    row = f"#case-{case_id_of(later.declaration_id, 1)}"
    await tab.until(f"document.querySelector('{row}')", within_s=60)


async def test_the_console_ends_on_a_signal_though_pages_are_open(start_console, tab):
    """With 0, as every command."""
    console = start_console()
    await tab.open(f"{console.url}/")
    await tab.until("document.getElementById('link').textContent == 'Live'")
    assert await asyncio.to_thread(console.stop) == 0


def test_a_decision_survives_a_crash_and_is_sent_once(services, tmp_path):
    """Between commit and sending, and between sending and remembering it."""
    now = [datetime.now(UTC)]
    database = Database(f"sqlite:///{tmp_path / 'console.db'}")
    actions = CaseActions(database, str, lambda: now[0])
    alerts = [samples.alert(place, name=new_run()) for place in range(2)]
    ingest(database, alerts, {})
    for alert in alerts:
        actions.decide(case_id_of(alert.declaration_id, 1), ANN, "conforming", (), "")
    crashed = Outbox(services, actions)
    crashed._publish(actions.claim(60_000).outcome)  # and is killed; nobody remembers
    assert actions.claim(60_000) is not None  # is killed before it is sent
    now[0] += timedelta(minutes=2)
    restarted = Outbox(services, actions)
    assert [restarted.send_one() for _ in range(3)] == [True, True, False]
    for alert in alerts:
        assert len(outcomes(services, alert.declaration_id)) == 1
    assert actions.unsent() == 0
    database.close()


def test_what_others_decided_leaves_the_queue(start_console, publish):
    """An outcome on the topic closes the case, whoever wrote it."""
    alert = samples.alert(3, name=new_run())
    outcome = InspectionOutcome(
        outcome_id=f"other/{alert.declaration_id}",
        declaration_id=alert.declaration_id,
        declaration_version=1,
        decided_at=samples.AT,
        result="conforming",
    )
    publish("inspection-outcomes", outcome)
    publish("alerts", alert, replace(alert, declaration_version=2))
    console = start_console()
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    path = f"{console.url}/alerts/{case_id_of(alert.declaration_id, 1)}"
    while not (_answers(path) and "Decided on" in _text(path)):
        assert datetime.now(UTC) < deadline
    assert "Assigned to" not in _text(path)
    assert json.dumps(_text(f"{console.url}/?view=decided")).count(f"case-{path[-32:]}") == 1


def test_a_console_stops_without_kafka(stack, start_console):
    """A frozen broker takes what is sent and never answers: SIGTERM ends in bounded time."""
    console = start_console()
    (broker,) = stack.kafka.brokers
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        os.kill(console.pid, signal.SIGTERM)
        _until(lambda: console.returncode is not None, within_s=30)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
        stack.kafka.wait()


def _until(done, within_s=40):
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _text(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def _answers(url):
    try:
        return bool(_text(url))
    except OSError:
        return False
