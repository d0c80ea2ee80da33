"""The verifier finds what breaks a promise, and nothing else."""

import pytest

from schemas.records import Alert, Assessment
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, EXPLANATIONS
from tests.chaos.conftest import Figures
from tests.chaos.verifier import Answer, Input, Seen, assert_exactly_one_fate, examine, unfinished


def declared(offset, key=b"K", fate=None):
    return Input(DECLARATIONS.name, 0, offset, key, fate or f"fate-{offset}")


def assessed(offset, fate, *, key=b"K", id_=None, value=b"v", lane="green", topic=ASSESSMENTS):
    record = Assessment(lane=lane)
    return Answer(topic.name, 0, offset, key, id_ or f"a-{fate}", fate, DECLARATIONS.name, value, record)  # fmt: skip


def letter(offset, fate, of=DECLARATIONS):
    return Answer(DEAD_LETTERS.name, 0, offset, b"K", f"d-{fate}", fate, of.name, b"")


def alert(offset, fate, id_="alert"):
    record = Alert(assessment_id=f"a-{fate}")
    return Answer(ALERTS.name, 0, offset, b"K", id_, fate, DECLARATIONS.name, b"w", record)


def explanation(offset, fate, id_="explanation"):
    return Answer(EXPLANATIONS.name, 0, offset, b"K", id_, fate, ALERTS.name, b"x")


ALERTED = Input(ALERTS.name, 0, 0, b"K", "fate-alert")
TWO = [declared(0), declared(1)]
RED = assessed(0, "fate-0", lane="red")


@pytest.mark.parametrize(
    "seen",
    [
        Seen(),
        Seen(TWO, answers=[assessed(0, "fate-0"), assessed(1, "fate-1")]),
        Seen(TWO, answers=[assessed(0, "fate-0"), letter(0, "fate-1")]),
        # Delivered again after a kill: the same bytes under the same ids.
        Seen(TWO, answers=[assessed(n, f"fate-{n % 2}") for n in range(4)]),
        # One event that was sent twice.
        Seen([*TWO, declared(2, fate="fate-0")], answers=[assessed(0, "fate-0"), assessed(1, "fate-1")]),
        Seen([declared(0)], answers=[RED, alert(0, "fate-0"), alert(1, "fate-0")]),
        Seen([declared(0)], [ALERTED], [RED, alert(0, "fate-0"), explanation(0, "fate-alert")]),
        Seen([declared(0)], [ALERTED], [RED, alert(0, "fate-0"), letter(0, "fate-alert", ALERTS)]),
        Seen(outcomes={"o": [b"x"]}),
    ],
)  # fmt: skip
def test_kept_promises(seen):
    assert examine(seen, explained=True).broken == {}


@pytest.mark.parametrize(
    ("promise", "seen"),
    [
        ("lost", Seen(TWO, answers=[assessed(0, "fate-0")])),
        ("conflicting", Seen([declared(0)], answers=[assessed(0, "fate-0"), assessed(1, "fate-0", value=b"other")])),
        ("two_fated", Seen([declared(0)], answers=[assessed(0, "fate-0"), letter(0, "fate-0")])),
        ("two_fated", Seen([declared(0)], answers=[assessed(0, "fate-0"), assessed(1, "fate-0", id_="new")])),
        ("answers_to_nothing", Seen([declared(0)], answers=[assessed(0, "fate-0"), assessed(1, "fate-9")])),
        ("disordered", Seen(TWO, answers=[assessed(0, "fate-1"), assessed(1, "fate-0")])),
        ("alerts", Seen([declared(0)], answers=[RED])),
        ("alerts", Seen([declared(0)], answers=[RED, alert(0, "fate-0"), alert(1, "fate-0", "another")])),
        ("alerts", Seen([declared(0)], answers=[assessed(0, "fate-0"), alert(0, "fate-0")])),
        ("explanations", Seen([declared(0)], [ALERTED], [RED, alert(0, "fate-0")])),
        ("explanations", Seen(answers=[explanation(0, "fate-alert")])),
        ("explanations", Seen(alerted=[ALERTED], answers=[explanation(0, "fate-alert"), letter(0, "fate-alert", ALERTS)])),
        ("outcomes", Seen(outcomes={"o": [b"x", b"x"]})),
    ],
)  # fmt: skip
def test_broken_promises(promise, seen):
    assert list(examine(seen, explained=True).broken) == [promise]


def test_what_is_wrong_is_named_and_counted():
    seen = Seen(TWO, answers=[assessed(0, "fate-0"), assessed(1, "fate-0", value=b"other")])
    figures = Figures("", 0)
    with pytest.raises(AssertionError, match=r"(?s)lost: 1, .*fate-1.*conflicting: 1, .*a-fate-0"):
        assert_exactly_one_fate(seen, figures=figures)
    counts = figures.records, figures.lost, figures.conflicting, figures.two_fated
    assert counts == (2, 1, 1, 0)
    assert figures.duplicates == 1


def test_what_retention_removed_and_what_redis_lost_is_no_loss():
    seen = Seen(TWO, answers=[assessed(0, "fate-0"), assessed(1, "fate-0", value=b"other")])
    assert_exactly_one_fate(seen, identical=False, expired={"fate-1"})


def test_what_is_committed_has_its_fate():
    seen = Seen(TWO, answers=[assessed(0, "fate-1")])
    assert unfinished(seen, {0: 0}) == []
    assert unfinished(seen, {0: 1}) == [TWO[0]]
    assert unfinished(seen, {0: 2}, expired={"fate-0"}) == []
