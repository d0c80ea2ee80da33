"""The scoreboard: what became of every declaration, each delivery counted once."""

from streams.synthetic.irregularities import Truth
from streams.synthetic.scoreboard import Scoreboard


def scoreboard_of(*kinds):
    scoreboard = Scoreboard()
    for number, kind in enumerate(kinds):
        scoreboard.sent(Truth(f"D{number}", kind, 0, ""))
    return scoreboard


def test_the_summary_counts_each_fate_once():
    """Redelivered verdicts change nothing; a declaration without a fate is lost."""
    scoreboard = scoreboard_of("clean", "clean", "wrong_code", "malformed", "clean")
    scoreboard.assessed("D0", "green", b"0")
    scoreboard.assessed("D0", "green", b"0")
    scoreboard.assessed("D1", "yellow", b"1")
    scoreboard.assessed("D2", "red", b"2")
    scoreboard.dead("D3")
    scoreboard.dead("D3")
    assert scoreboard.summary() == {
        "sent": 5,
        "assessments": 3,
        "dead_letters": 1,
        "lost": 1,
        "conflicting": 0,
        "flagged": {"clean": 0.5, "wrong_code": 1.0},
        "flagged_unseen": {},
        "alerts": 0,
        "unexplained": 0,
        "explained_after_s": {},
    }


def test_goods_that_the_model_never_saw_are_counted_apart():
    """Whatever is told of the others does not flatter them."""
    scoreboard = scoreboard_of("clean")
    scoreboard.sent(Truth("D1", "clean", 0, "", unseen=True))
    scoreboard.assessed("D0", "green", b"0")
    scoreboard.assessed("D1", "red", b"1")
    summary = scoreboard.summary()
    assert (summary["flagged"], summary["flagged_unseen"]) == ({"clean": 0.0}, {"clean": 1.0})
    assert (summary["sent"], summary["lost"]) == (2, 0)


def test_the_summary_says_how_long_explanations_took():
    """From the first delivery of an alert to the first of its explanation."""
    scoreboard = scoreboard_of()
    for number in range(4):
        scoreboard.alerted(f"D{number}", 10.0)
    for number in range(3):
        scoreboard.explained(f"D{number}", 11.0 + number)
    scoreboard.alerted("D0", 10.9)
    scoreboard.explained("D0", 99.0)
    summary = scoreboard.summary()
    assert (summary["alerts"], summary["unexplained"]) == (4, 1)
    assert summary["explained_after_s"] == {"median": 2.0, "p95": 3.0, "most": 3.0}


def test_two_fates_that_differ_are_a_conflict():
    """Another verdict, or a verdict and a dead letter."""
    scoreboard = scoreboard_of("clean", "clean", "clean")
    scoreboard.assessed("D0", "green", b"0")
    scoreboard.assessed("D0", "red", b"1")
    scoreboard.assessed("D1", "green", b"0")
    scoreboard.dead("D1")
    scoreboard.assessed("D2", "green", b"0")
    assert scoreboard.conflicts() == ["D0", "D1"]
