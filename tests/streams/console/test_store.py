"""What comes in any order, twice or late leaves the same state; on SQLite and PostgreSQL."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import stamina
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from stamina.instrumentation import set_on_retry_hooks
from structlog.testing import capture_logs

from schemas.records import InspectionOutcome
from streams.console.state.ingest import case_id_of, ingest, position
from streams.console.state.queries import Filter
from streams.console.state.tables import Database, Unusable, with_retries
from streams.logs import log_wait
from tests.streams.console import samples


def outcome(of, **changes):
    fields = {
        "outcome_id": f"outcome of {of.declaration_id}",
        "declaration_id": of.declaration_id,
        "declaration_version": of.declaration_version,
        "decided_at": samples.AT,
        "result": "conforming",
    }
    return InspectionOutcome(**fields | changes)


def id_of(alert):
    return case_id_of(alert.declaration_id, alert.declaration_version)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_any_order_and_twice_is_one_case(store, order):
    """Alert, assessment, explanation and outcome lie on different topics."""
    alert = samples.alert()
    events = (alert, samples.assessment(alert), samples.explanation(alert), outcome(alert))
    for place in order:
        ingest(store.database, [events[place]], {})
        ingest(store.database, [events[place]], {})
    detail = store.detail(id_of(alert))
    assert (detail.alert, detail.assessment, detail.explanation, detail.outcomes) == (
        *events[:3],
        (events[3],),
    )
    assert detail.case.state == "decided"
    assert store.counts(Filter())["decided"] == 1
    assert store.queue(Filter()).cases == ()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_versions_in_any_order_are_one_state(store, order):
    """The last one that was alerted is open; each has the number of the latest."""
    first = samples.alert()
    green = replace(samples.assessment(first), declaration_version=4, lane="green")
    events = (first, samples.alert(version=3), green, outcome(first))
    for place in order:
        ingest(store.database, [events[place]], {})
    cases = [store.detail(id_of(alert)).case for alert in events[:2]]
    assert [(case.state, case.amended) for case in cases] == [("decided", 4), ("open", 4)]


def test_an_amendment_leaves_one_open_case(store):
    """Whichever version comes first; the older one says that there is a later one."""
    first, second = samples.alert(), samples.alert(version=2)
    for events in (
        (first, second),
        (replace(second, declaration_id="B"), replace(first, declaration_id="B")),
    ):
        ingest(store.database, events[:1], {})
        ingest(store.database, events[1:], {})
    open_ones = store.queue(Filter()).cases
    assert [case.declaration_version for case in open_ones] == [2, 2]
    old = store.detail(id_of(first)).case
    assert (old.state, old.amended) == ("superseded", 2)


def test_an_amendment_into_the_green_lane_is_stored(store):
    """An open alert stays open: an amendment is no proof of innocence."""
    alert = samples.alert()
    green = replace(samples.assessment(alert), declaration_version=2, lane="green")
    ingest(store.database, [alert, green], {})
    case = store.detail(id_of(alert)).case
    assert (case.state, case.amended) == ("open", 2)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_amendment_into_green_is_stored_in_any_order(store, order):
    """The topics are read side by side: the amendment may be read before what it amends."""
    first = samples.alert()
    green = replace(samples.assessment(first), declaration_version=2, lane="green")
    greener = replace(green, declaration_version=3)
    events = (first, green, greener)
    for place in order:
        ingest(store.database, [events[place]], {})
    case = store.detail(id_of(first)).case
    assert (case.state, case.amended) == ("open", 3)


def test_what_is_declared_may_be_long_and_hold_a_nul(store):
    """Nothing that a declaration may hold stops the console: databases differ in what they take."""
    long = "x" * 6000
    item = replace(
        samples.alert().items[0], country_of_origin=long, description="a\0b", images=(long, "\0")
    )
    alert = replace(
        samples.alert(), declaration_id=long, declaration_office="\0" * 20, items=(item,)
    )
    ingest(store.database, [alert, outcome(alert, outcome_id=long + "\0")], {})
    detail = store.detail(id_of(alert))
    assert detail.alert == alert
    assert detail.case.goods == "a\ufffdb"
    assert detail.case.state == "decided"
    assert store.queue(Filter(view="decided", office="\0" * 20)).total == 1


def test_tables_of_another_version_are_refused(url):
    """Rather than failing at the first alert."""
    Database(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE photos ADD COLUMN uri TEXT"))
    engine.dispose()
    with pytest.raises(Unusable, match="photos is of another version"):
        Database(url)


def test_a_database_that_does_not_answer_is_asked_four_times():
    """And the log names neither what was written nor what was asked."""
    answers = [OperationalError("INSERT", {"goods": "SHOES"}, Exception("gone"))] * 3 + ["done"]

    def ask(**_given):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    set_on_retry_hooks([log_wait])
    with stamina.set_testing(True, attempts=9, cap=True), capture_logs() as logs:
        assert with_retries(ask, goods="SHOES") == "done"
        answers += [OperationalError("SELECT", {}, Exception("gone"))] * 5
        with pytest.raises(OperationalError):
            with_retries(ask, goods="SHOES")
    assert len(answers) == 1
    assert len(logs) == 6
    assert {entry["error"] for entry in logs} == {"OperationalError"}
    assert "gone" not in repr(logs)
    assert "SHOES" not in repr(logs)
    assert "INSERT" not in repr(logs)


def test_replicas_may_start_together(url):
    """On an empty database: one creates the tables, the others find them."""
    with ThreadPoolExecutor(8) as threads:
        for database in threads.map(lambda _: Database(url), range(8)):
            assert database.change() == 0
            database.close()


def test_the_queue_is_filtered_and_sorted(store):
    """By lane, office and reason; what SQL keeps is what the live stream keeps."""
    alerts = [samples.alert(place) for place in range(8)]
    ingest(store.database, alerts, {})
    everything = store.queue(Filter()).cases
    assert [case.risk for case in everything] == sorted((a.risk for a in alerts), reverse=True)
    for queue_filter in (
        Filter(lane="red"),
        Filter(office="BEANR000", sort="time"),
        Filter(reason="photo_reused", sort="revenue"),
        Filter(reason="photo"),
        Filter(view="mine", user="ann"),
        Filter(view="decided"),
        Filter(view="unheard of"),
    ):
        cases = store.queue(queue_filter).cases
        assert set(cases) == {case for case in everything if queue_filter.keeps(case)}
        assert [queue_filter.key(case) for case in cases] == sorted(
            map(queue_filter.key, cases), reverse=True
        )
    assert len(store.queue(Filter(reason="photo_reused")).cases) == 2


def test_changes_are_returned_once_and_in_order(store):
    """A reader who goes on from the last change it saw misses nothing, whatever the batches."""
    alerts = [samples.alert(place) for place in range(6)]
    ingest(store.database, alerts[:2], {})
    ingest(store.database, alerts[2:5], {})
    ingest(store.database, [samples.explanation(alerts[0])], {})
    seen, after = [], 0
    while changed := store.changes(after, limit=2):
        assert all(case.changed > after for case in changed)
        seen += [case.declaration_id for case in changed]
        after = changed[-1].changed
    assert seen == [alerts[place].declaration_id for place in (1, 2, 3, 4, 0)]
    assert after == store.database.change()


def test_positions_are_kept_with_what_was_read(store):
    """All or nothing, and never back."""
    ingest(store.database, [samples.alert()], {("alerts", 0): 5})
    ingest(store.database, [], {("alerts", 0): 3})
    assert position(store.database, "alerts", 0) == 5
    assert position(store.database, "alerts", 1) is None
    with pytest.raises(AttributeError):
        ingest(store.database, [samples.alert(1), "no event"], {("alerts", 0): 9})
    assert position(store.database, "alerts", 0) == 5
    assert store.detail(id_of(samples.alert(1))) is None


def test_other_declarations_with_the_same_photo_are_listed(store):
    """History goes by what alerts have: the declaration and the photos."""
    alert, other = samples.alert(), samples.alert(name="OTHER")
    ingest(store.database, [alert, other, samples.alert(1)], {})
    assert [case.declaration_id for case in store.detail(id_of(alert)).same_photo] == ["OTHER00"]
