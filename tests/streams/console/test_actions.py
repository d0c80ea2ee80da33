"""Who may do what, and a decision that leaves once; on SQLite and PostgreSQL."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from schemas.records import Finding
from streams.console.state.actions import CaseActions, Conflict, Refused, amount
from streams.console.state.ingest import case_id_of, ingest
from streams.console.state.queries import Filter
from streams.console.state.users import User
from tests.streams.console import samples

ANN = User(id="ann", name="Ann", role="inspector")
BRAM = User(id="bram", name="Bram", role="inspector")
EVA = User(id="eva", name="Eva", role="supervisor")
WRONG = (Finding(sequence_number=1, kind="misclassification", established_code="640411", revenue_recovered=Decimal("13.89")),)  # fmt: skip


@pytest.fixture
def case(store):
    """An open case's id."""
    alert = samples.alert()
    ingest(store.database, [alert], {})
    return case_id_of(alert.declaration_id, 1)


def test_the_same_decision_again_is_the_first_one(actions, case, store):
    """A double click, a retry: one outcome, and the first one's id."""
    first = actions.decide(case, ANN, "irregular", WRONG, " note ")
    assert actions.decide(case, ANN, "irregular", WRONG, "note") == first
    with pytest.raises(Conflict):
        actions.decide(case, ANN, "conforming", (), "")
    with pytest.raises(Conflict):
        actions.decide(case, BRAM, "irregular", WRONG, "note")
    assert actions.unsent() == 1
    pending = actions.claim(1000)
    assert (pending.outcome.outcome_id, pending.outcome.findings) == (first, WRONG)
    assert pending.outcome.inspector == "pseudonym of ann"
    assert pending.tried is None
    assert store.detail(case).outcomes == (pending.outcome,)


def test_many_at_once_decide_once(actions, case):
    """Two browsers, one database: the first wins, the others get its id or a conflict."""
    ids, barrier = [], threading.Barrier(8)

    def decide(user):
        barrier.wait()
        try:
            ids.append(actions.decide(case, user, "irregular", WRONG, ""))
        except Conflict:
            ids.append(None)

    threads = [threading.Thread(target=decide, args=(user,)) for user in (ANN, BRAM) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len({id_ for id_ in ids if id_}) == 1
    assert ids.count(None) == 4
    assert actions.unsent() == 1


def test_a_claim_is_one_senders_until_it_ends(database, case):
    """Then the next sender learns when it was first tried, so that it searches the topic."""
    now = [samples.AT]
    actions = CaseActions(database, str, lambda: now[0])
    actions.decide(case, ANN, "conforming", (), "")
    first = actions.claim(1000)
    assert actions.claim(1000) is None
    now[0] += timedelta(seconds=2)
    again = actions.claim(1000)
    assert again.outcome == first.outcome
    assert again.tried == round(samples.AT.timestamp() * 1000)
    actions.sent(again.outcome.outcome_id)
    now[0] += timedelta(seconds=2)
    assert actions.claim(1000) is None
    assert actions.unsent(case) == 0


def test_somebody_elses_case_is_left_alone(actions, case, store):
    """But by a supervisor."""
    actions.assign(case, ANN)
    for act in (
        lambda: actions.assign(case, BRAM),
        lambda: actions.release(case, BRAM),
        lambda: actions.snooze(case, BRAM, samples.AT),
        lambda: actions.decide(case, BRAM, "conforming", (), ""),
    ):
        with pytest.raises(Conflict):
            act()
    with pytest.raises(Refused):
        actions.reopen(case, ANN)
    actions.release(case, EVA)
    assert store.detail(case).case.assignee is None
    actions.note(case, BRAM, "seen")
    assert [entry.act for entry in store.detail(case).journal] == ["assigned", "released", "note"]


def test_a_reopened_case_gets_a_decision_of_its_own(actions, case):
    """Another id, so that it is another decision."""
    first = actions.decide(case, ANN, "conforming", (), "")
    actions.reopen(case, EVA)
    second = actions.decide(case, EVA, "irregular", WRONG, "")
    assert first != second
    assert actions.unsent() == 2


def test_what_was_amended_since_is_not_reopened(actions, case, store):
    """A declaration has one open case, that of the later version."""
    actions.decide(case, ANN, "conforming", (), "")
    ingest(store.database, [samples.alert(version=2)], {})
    with pytest.raises(Conflict):
        actions.reopen(case, EVA)
    assert [other.declaration_version for other in store.queue(Filter()).cases] == [2]


def test_a_decision_that_is_on_the_topic_was_sent(actions, case, store):
    """Whatever the database says: a restored one may say that it waits."""
    actions.decide(case, ANN, "conforming", (), "")
    (outcome,) = store.detail(case).outcomes
    before = store.database.change()
    ingest(store.database, [outcome], {})
    assert (actions.unsent(), actions.claim(1000)) == (0, None)
    assert [changed.id for changed in store.changes(before)] == [case]


def test_a_snoozed_case_comes_back(database, store, case):
    """By itself, as a change that the live queue sees."""
    now = [samples.AT]
    actions = CaseActions(database, str, lambda: now[0])
    actions.snooze(case, ANN, samples.AT + timedelta(hours=1))
    assert (store.queue(Filter()).cases, store.counts(Filter())["snoozed"]) == ((), 1)
    assert actions.wake() == 0
    now[0] += timedelta(hours=1)
    before = database.change()
    assert actions.wake() == 1
    assert [changed.id for changed in store.changes(before)] == [case]
    assert [changed.id for changed in store.queue(Filter()).cases] == [case]


@pytest.mark.parametrize(
    ("result", "findings", "key"),
    [
        ("perhaps", (), "result_missing"),
        ("conforming", WRONG, "findings_unexpected"),
        ("irregular", (), "finding_missing"),
        ("irregular", (replace(WRONG[0], kind="boring"),), "finding_missing"),
        ("irregular", (replace(WRONG[0], sequence_number=2),), "finding_missing"),
        ("irregular", (replace(WRONG[0], established_code="12345"),), "code_wrong"),
        ("irregular", (replace(WRONG[0], established_code=""),), "code_missing"),
        ("irregular", (replace(WRONG[0], established_code="64062090"),), "code_missing"),
        ("irregular", WRONG * 51, "finding_missing"),
    ],
)
def test_what_breaks_a_rule_is_refused(result, findings, key, actions, case):
    """And nothing is kept of it."""
    with pytest.raises(Refused) as refused:
        actions.decide(case, ANN, result, findings, "")
    assert refused.value.key == key
    assert actions.unsent() == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("13.89", "13.89"), ("13,89", "13.89"), ("€ 1.234,5", "1234.50"), ("1,234.56 €", "1234.56"),
        ("1 234,56", "1234.56"), ("1.234", Refused), ("-5", Refused), ("1e9", Refused), ("NaN", Refused), ("1" * 20, Refused),
    ],
)  # fmt: skip
def test_amounts_as_they_are_typed(text, expected):
    """Where a sign has two meanings, none is guessed."""
    if expected is Refused:
        with pytest.raises(Refused):
            amount(text)
    else:
        assert amount(text) == (expected and Decimal(expected))
