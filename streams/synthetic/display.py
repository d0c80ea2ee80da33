"""Alerts and counts → what the demo shows in the terminal."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from schemas.records import Alert
from streams.synthetic.irregularities import DEFAULT_SHARES
from streams.synthetic.scoreboard import LANES, Scoreboard

COLOURS: Final = {"green": "green", "yellow": "yellow", "red": "red", "dead_letter": "magenta"}


class Display:
    """Progress bars, the number of declarations in each lane, and the newest alerts."""

    def __init__(self, count: int) -> None:
        """Start at zero of `count` declarations."""
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._sent = self._bar.add_task("sent", total=count)
        self._settled = self._bar.add_task("fate known", total=count)

    def render(self, scoreboard: Scoreboard, alerts: Sequence[Alert]) -> Group:
        """Draw the state as it is now."""
        self._bar.update(self._sent, completed=len(scoreboard.truths))
        self._bar.update(self._settled, completed=scoreboard.settled)
        return Group(self._bar, lane_counts(scoreboard), alerts_table(alerts))


def lane_counts(scoreboard: Scoreboard) -> Text:
    """Draw how many declarations each lane has, and how many are dead letters."""
    counts = {lane: list(scoreboard.lanes.values()).count(lane) for lane in LANES}
    counts["dead_letter"] = len(scoreboard.letters)
    parts = [Text(f" {name} {count} ", style=COLOURS[name]) for name, count in counts.items()]
    return Text("  ").join(parts)


def alert_row(alert: Alert) -> tuple[str, str, str, str, str, str]:
    """Return an alert as the cells of a row; the goods are those of its riskiest item."""
    item = alert.items[0]
    reasons = "; ".join(reason.code for reason in item.reasons[:2])
    if alert.selection is not None and alert.selection.basis != "risk":
        reasons = f"selected: {alert.selection.profile_id or alert.selection.basis}"
    if alert.degraded:
        reasons = "; ".join(part for part in (reasons, alert.degraded[0].code) if part)
    return (
        alert.declaration_id,
        alert.lane,
        f"{alert.risk:.0%}",
        item.description[:38],
        f"{item.commodity_code[:6] or '–'} → {item.suggested_hs6}",
        reasons or "risk",
    )


def alerts_table(alerts: Sequence[Alert]) -> Table:
    """Draw the newest alerts."""
    table = Table("declaration", "lane", "risk", "goods", "declared → likely", "why", expand=True)
    table.title = "Alerts, newest last"
    for alert in alerts:
        cells = alert_row(alert)
        # Goods text comes from outside: shown as text, never read as markup.
        table.add_row(*(Text(cell) for cell in cells), style=COLOURS[alert.lane])
    return table


def summary_table(scoreboard: Scoreboard) -> Table:
    """Draw what became of each kind of declaration."""
    table = Table("injected truth", "sent", *LANES, "dead letter", "lost", "yellow or red")
    table.title = "Against the injected truth"
    for unseen in (False, True):
        shares, counts = scoreboard.flagged(unseen=unseen), scoreboard.by_kind(unseen=unseen)
        if unseen and counts:
            table.add_section()
            table.add_row("goods that the model never saw:", style="bold")
        for kind in (*DEFAULT_SHARES, *sorted(counts.keys() - DEFAULT_SHARES.keys())):
            if kind in counts:
                row = counts[kind]
                cells = [row[name] for name in (*LANES, "dead_letter", "lost")]
                share = f"{shares[kind]:.0%}" if kind in shares else "–"
                table.add_row(kind, str(sum(cells)), *map(str, cells), share)
    return table
