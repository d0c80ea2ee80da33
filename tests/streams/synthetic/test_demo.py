"""The demo's parts: when it ends, what it shows, and what its inspector decides."""

from collections import Counter

from rich.console import Console

from models.datasets.goods import read
from schemas.records import Alert, AlertItem, Degradation, Selection, Signal
from streams.synthetic.demo import Options, _consignments
from streams.synthetic.display import Display, alert_row, alerts_table, lane_counts, summary_table
from streams.synthetic.exit_rule import QUIET_S, ExitRule, is_faultless
from streams.synthetic.inspector import INSPECTS_ONE_OF, is_inspected, outcomes
from streams.synthetic.irregularities import Truth
from streams.synthetic.scoreboard import Scoreboard


class Clock:
    """Seconds that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def board(*kinds):
    """A scoreboard on which declarations D0, D1, … were sent."""
    scoreboard = Scoreboard()
    for number, kind in enumerate(kinds):
        scoreboard.sent(Truth(f"D{number}", kind, 1, ""))
    return scoreboard


def alert(id_="D0", **fields):
    item = AlertItem(
        sequence_number=1,
        description="[bold]SHOES[/bold] of textile",
        commodity_code="6404110000",
        suggested_hs6="640319",
        reasons=tuple(Signal(code=code) for code in ("code_unlikely", "unit_price_low", "third")),
    )
    return Alert(declaration_id=id_, lane="red", risk=0.876, items=(item,), **fields)


def drawn(renderable):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_it_ends_when_every_fate_and_explanation_is_there():
    """Not before the last is sent, not before the alert is explained."""
    scoreboard = board("clean", "malformed")
    rule = ExitRule(scoreboard, Clock())
    scoreboard.assessed("D0", "red", b"0")
    assert not rule.is_over(received=True, all_sent=True)
    scoreboard.dead("D1")
    scoreboard.alerted("D0", 1.0)
    assert not rule.is_over(received=True, all_sent=True)
    scoreboard.explained("D0", 2.0)
    assert not rule.is_over(received=True, all_sent=False)
    assert rule.is_over(received=True, all_sent=True)


def test_it_ends_after_a_quiet_time_even_if_fates_are_missing():
    """The quiet time counts from the last event, and only once all is sent."""
    clock = Clock()
    rule = ExitRule(board("clean"), clock)
    clock.now = 2 * QUIET_S
    assert not rule.is_over(received=False, all_sent=False)
    clock.now += QUIET_S
    assert not rule.is_over(received=False, all_sent=True)
    assert not rule.is_over(received=True, all_sent=True)
    clock.now += QUIET_S
    assert not rule.is_over(received=False, all_sent=True)
    clock.now += 1
    assert rule.is_over(received=False, all_sent=True)


def test_it_is_faultless_only_with_one_fate_each_and_every_explanation():
    """Nothing sent, a lost one, two fates or an alert without explanation: each is a fault."""
    assert not is_faultless(board())
    scoreboard = board("clean")
    assert not is_faultless(scoreboard)
    scoreboard.assessed("D0", "yellow", b"0")
    assert is_faultless(scoreboard)
    scoreboard.alerted("D0", 1.0)
    assert not is_faultless(scoreboard)
    scoreboard.explained("D0", 2.0)
    assert is_faultless(scoreboard)
    scoreboard.dead("D0")
    assert not is_faultless(scoreboard)


def test_a_row_shows_the_first_reasons_of_the_riskiest_item():
    """At most two reasons, the six digits declared and suggested."""
    assert alert_row(alert()) == (
        "D0",
        "red",
        "88%",
        "[bold]SHOES[/bold] of textile",
        "640411 → 640319",
        "code_unlikely; unit_price_low",
    )


def test_a_row_shows_why_else_it_was_selected_and_what_was_missing():
    """A profile's name in place of the reasons; the first degradation after them."""
    by_profile = alert(selection=Selection(basis="profile", profile_id="statues"))
    at_random = alert(
        selection=Selection(basis="random"), degraded=(Degradation(code="photo_absent"),)
    )
    assert alert_row(by_profile)[-1] == "selected: statues"
    assert alert_row(at_random)[-1] == "selected: random; photo_absent"


def test_goods_text_is_shown_and_never_read_as_markup():
    """It comes from outside."""
    assert "[bold]SHOES[/bold]" in drawn(alerts_table([alert()]))


def test_lanes_and_progress_are_counted():
    """Two sent, one settled, and each lane's number."""
    scoreboard = board("clean", "malformed")
    scoreboard.assessed("D0", "green", b"0")
    assert lane_counts(scoreboard).plain.split() == [
        "green", "1", "yellow", "0", "red", "0", "dead_letter", "0",
    ]  # fmt: skip
    text = drawn(Display(4).render(scoreboard, [alert()]))
    assert "2/4" in text
    assert "1/4" in text
    assert "D0" in text


def test_the_summary_shows_every_kind_that_was_sent():
    """In the order of the kinds; unknown ones last; no share where nothing was judged."""
    scoreboard = board("malformed", "clean", "clean", "zebra")
    scoreboard.assessed("D1", "green", b"0")
    scoreboard.assessed("D2", "yellow", b"0")
    scoreboard.dead("D0")
    rows = [
        line.split("│")[1:-1]
        for line in drawn(summary_table(scoreboard)).splitlines()
        if "│" in line
    ]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["clean", "2", "1", "1", "0", "0", "0", "50%"],
        ["malformed", "1", "0", "0", "0", "1", "0", "–"],
        ["zebra", "1", "0", "0", "0", "0", "1", "–"],
    ]


def test_the_summary_shows_goods_never_seen_below_the_others():
    scoreboard = board("clean")
    scoreboard.sent(Truth("U0", "clean", 0, "", unseen=True))
    text = drawn(summary_table(scoreboard))
    assert text.index("clean") < text.index("goods that the") < text.rindex("clean")


def test_one_in_five_declarations_is_of_goods_never_seen(goods_folder):
    """Evenly among the others, so that none waits for the end; the kinds are those of text."""
    options = Options(once=True, json_file=None, count=100, rate=20, seed=1)
    sent = [c.truth for c in _consignments(options, read(goods_folder), "photos")]
    assert [truth.unseen for truth in sent] == [n % 5 == 4 for n in range(100)]
    assert len({truth.declaration_id for truth in sent}) == 100
    assert Counter(truth.kind for truth in sent if truth.unseen) == {
        "clean": 12, "wrong_code": 5, "vague_text": 3
    }  # fmt: skip


def test_the_inspector_decides_on_some_alerts_and_always_the_same():
    """About one in three."""
    alerts = [alert(f"D{number}") for number in range(300)]
    inspected = [is_inspected(each) for each in alerts]
    assert inspected == [is_inspected(each) for each in alerts]
    assert 300 / INSPECTS_ONE_OF * 0.7 < sum(inspected) < 300 / INSPECTS_ONE_OF * 1.3


def test_the_inspector_writes_the_truth():
    """Irregular with its finding, conforming without; unknown declarations are left out."""
    truths = {
        "D0": Truth("D0", "wrong_code", 2, ""),
        "D1": Truth("D1", "missing_photo", 1, ""),
    }
    first, second = outcomes([alert("D0"), alert("D1"), alert("D9")], truths)
    assert (first.result, second.result) == ("irregular", "conforming")
    assert [(f.sequence_number, f.kind) for f in first.findings] == [(2, "misclassification")]
    assert second.findings == ()
    (again,) = outcomes([alert("D0")], truths)
    assert again.outcome_id == first.outcome_id
