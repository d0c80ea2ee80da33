"""Pictures of an evaluation or a simulation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from models.evaluation.ranking import RankingResult
    from models.evaluation.simulation import Week

CODES: Final = 30
"""Codes in the confusion plot: those with most errors."""
COLOURS: Final = {"text": "#b45309", "image": "#0f766e", "both": "#1d4ed8"}
STRATEGY_COLOURS: Final = {
    "risk": "#1d4ed8",
    "hybrid": "#0f766e",
    "random": "#6b7280",
    "oracle": "#b45309",
}


def draw(results: Mapping[str, "RankingResult"], codes: Sequence[str], folder: Path) -> None:
    """Write reliability.png, and confusion.png of text and photo, or of the photo alone."""
    folder.mkdir(parents=True, exist_ok=True)
    _reliability(results, folder / "reliability.png")
    evidence, name = ("Text and photo", "both") if "both" in results else ("Photo", "image")
    _confusion(results[name], codes, evidence, folder / "confusion.png")


def _reliability(results: Mapping[str, "RankingResult"], path: Path) -> None:
    figure = Figure(figsize=(6, 6))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="as sure as right")
    for name, result in results.items():
        share, confidence, hit = (np.array(column) for column in zip(*result.bins(), strict=True))
        label = f"{name}, calibration error {result.calibration_error():.3f}"
        axes.plot(confidence, hit, color=COLOURS[name], label=label)
        axes.scatter(confidence, hit, 10 + 600 * share, color=COLOURS[name], alpha=0.6)
    axes.set(xlabel="confidence in the best code", ylabel="share that was right")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title="Reliability (dots: share of the goods)")
    axes.legend(loc="upper left")
    _save(figure, path)


def _confusion(result: "RankingResult", codes: Sequence[str], evidence: str, path: Path) -> None:
    wrong = result.right != result.best
    places, errors = np.unique(
        np.concatenate([result.right[wrong], result.best[wrong]]), return_counts=True
    )
    shown = np.sort(places[np.argsort(-errors, kind="stable")][:CODES])
    table = np.zeros((len(shown), len(shown)))
    for row, right in enumerate(shown):
        of_code = result.best[result.right == right]
        if len(of_code):
            table[row] = [(of_code == best).mean() for best in shown]
    figure = Figure(figsize=(11, 10))
    axes = figure.subplots()
    picture = axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
    names = [codes[place] for place in shown]
    axes.set_xticks(range(len(shown)), names, rotation=90)
    axes.set_yticks(range(len(shown)), names)
    for row, column in zip(*np.nonzero(table >= 0.05), strict=True):  # noqa: PLR2004 - legible
        dark = table[row, column] > 0.6  # noqa: PLR2004 - white on dark
        text = f"{100 * table[row, column]:.0f}"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=6, color="w" if dark else "k"
        )
    axes.set(xlabel="most probable code", ylabel="right code")
    axes.set_title(f"{evidence}: the {len(shown)} codes of most errors, % of each row")
    figure.colorbar(picture, ax=axes, shrink=0.7, label="share of the right code's goods")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_simulation(weeks: Mapping[str, Sequence["Week"]], path: Path) -> None:
    """Plot precision, recall and revenue of each strategy, week by week."""
    figure = Figure(figsize=(10, 9))
    panels = figure.subplots(3, 1, sharex=True)
    for name, of_strategy in weeks.items():
        starts = [week.start for week in of_strategy]
        colour = STRATEGY_COLOURS[name]
        panels[0].plot(starts, [week.precision for week in of_strategy], color=colour, label=name)
        panels[1].plot(starts, [week.recall for week in of_strategy], color=colour)
        share = np.cumsum([week.revenue_found for week in of_strategy]) / np.maximum(
            np.cumsum([week.revenue for week in of_strategy]), 1e-9
        )
        panels[2].plot(starts, share, color=colour)
    for panel, text in zip(
        panels,
        ("irregular among the inspected", "found of the irregular", "revenue found, up to then"),
        strict=True,
    ):
        panel.set(ylabel=text, ylim=(0, 1.02))
        panel.grid(alpha=0.3)
    panels[0].legend(loc="upper right", ncols=len(weeks))
    panels[0].set_title("Inspections within the capacity")
    figure.autofmt_xdate()
    _save(figure, path)
