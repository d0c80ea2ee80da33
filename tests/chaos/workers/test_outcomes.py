"""The console dies, or its broker hangs, while it publishes decisions: each is published once."""

import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from schemas.topics import INSPECTION_OUTCOMES
from streams.console.feed.outbox import Outbox
from streams.console.state.actions import CaseActions
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.tables import Database
from streams.console.state.users import User
from streams.kafka.delivery import Delivery
from streams.local.process import Process
from streams.settings import Settings
from streams.synthetic.send import new_run
from tests.chaos.patches import ROOT, die
from tests.chaos.verifier import ends, examine, read_all
from tests.streams.console.samples import alert

ANN = User(id="ann", name="Ann", role="inspector")
CLAIM_S = 180
"""Longer than a dead console's claim on a decision: the next one's clock is so far ahead."""
NEVER = 1_000


def publish(url, behind_s, death, times):
    """Publish decisions until none is left, or death; runs in a process of its own."""
    put, calls = Delivery.put, iter(range(1, times + 1))

    def dying(delivery, **event):
        last = next(calls, times) == times
        if last and death == "before":
            die()
        if last and death == "amid":
            delivery._producer.produce(delivery._topic, **event)
            delivery._producer.poll(0)
            die()
        put(delivery, **event)
        if last and death == "after":
            die()

    Delivery.put = dying
    database = Database(url)
    actions = CaseActions(database, str, lambda: datetime.now(UTC) - timedelta(seconds=behind_s))
    outbox = Outbox(Settings(), actions)
    # What a dead one claimed is not its to send: it waits for the next.
    while outbox.send_one():
        pass
    database.close()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'console.db'}"


@pytest.fixture
def start_console(stack, tmp_path, url):
    """Starts what publishes decisions, in a process of its own."""
    processes = []

    def start(*arguments):
        run = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.chaos.workers.test_outcomes import publish; publish({url!r}, *{arguments!r})"
        environment = stack.environment() | {"REDLANE_DELIVERY_TIMEOUT_S": "2"}
        process = Process("outbox", [sys.executable, "-c", run], directory=tmp_path, environment=environment)  # fmt: skip
        processes.append(process)
        return process.start()

    yield start
    for process in processes:
        process.stop()


def wait(process, within_s=120):
    """Wait until it ends."""
    deadline = time.monotonic() + within_s
    while process.returncode is None:
        assert time.monotonic() < deadline, process.tail()
        time.sleep(0.1)
    assert process.returncode in {0, -signal.SIGKILL}, process.tail()


@pytest.fixture
def decided(url, faults):
    """Ids of decisions in a database, none of them published."""
    database, run = Database(url), new_run()
    actions = CaseActions(database, str)
    alerts = [alert(number, name=run) for number in range(3 * faults(20))]
    ingest(database, alerts, {})
    yield {
        actions.decide(case_id_of(each.declaration_id, 1), ANN, "conforming", (), "")
        for each in alerts
    }
    database.close()


@pytest.mark.slow
def test_each_decision_is_published_once(stack, start_console, decided, dice, figures):
    """Deaths before, amid and after the delivery; a broker that hangs for longer than its timeout."""
    settings, (broker,) = stack.settings(), stack.kafka.brokers
    mark = ends(settings, [INSPECTION_OUTCOMES])
    for turn in range(len(decided) // 3, 0, -1):
        death = dice.choice(("before", "amid", "after", "hang"))
        times = NEVER if death == "hang" else dice.randint(1, 4)
        process = start_console(turn * CLAIM_S, death, times)
        if death == "hang":
            time.sleep(dice.uniform(1, 4))
            os.kill(broker.pid, signal.SIGSTOP)
            time.sleep(4)
            os.kill(broker.pid, signal.SIGCONT)
        wait(process)
        figures.faults += 1
    wait(start_console(0, "none", NEVER))
    seen = read_all(settings, [INSPECTION_OUTCOMES], mark)
    figures.records = len(decided)
    figures.lost = len(decided - seen.outcomes.keys())
    figures.duplicates = sum(len(values) - 1 for values in seen.outcomes.values())
    assert seen.outcomes.keys() == decided
    assert not examine(seen).broken
