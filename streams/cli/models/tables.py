"""Figures of an evaluation → tables, as a person reads them at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

ABREAST: Final = 4
"""Files in one table: as many as a terminal of 80 columns shows."""
COUNTS: Final = ("n", "set_size")
"""Figures that are no shares."""
ELSEWHERE: Final = ("outside", "misdeclared")
"""Figures that are not shown as one row."""


def print_goods(figures: Mapping[str, Any]) -> None:
    """Show an evaluation of the HS model on goods."""
    by_modality = {
        name: figures[name] for name in ("text", "image", "both") if figures[name] is not None
    }
    table = _table("HS6 codes over the whole nomenclature", by_modality)
    console = Console()
    console.print(table)
    _print_outside(console, "goods", figures["outside"])
    paired = figures["paired"]
    if paired["n"]:
        shares = ", ".join(f"{name} {paired[name]:.1%}" for name in ("text", "image", "both"))
        console.print(f"Top-1 on the {paired['n']:,} goods with text and photo: {shares}")
    if figures["agreement_auc"] is not None:
        console.print(
            f"Agreement of text and photo, area under the curve: {figures['agreement_auc']:.3f}"
        )
    for kind, row in figures.get("fusion", {}).items():
        shares = ", ".join(f"{name} {share:.1%}" for name, share in row.items())
        console.print(f"Fusion {kind}, top-1 on valid: {shares}")


def print_texts(figures: Mapping[str, Any]) -> None:
    """Show an evaluation of the HS model on files of texts, a column for each file."""
    console, names = Console(), list(figures)
    for start in range(0, len(names), ABREAST):
        some = {name: figures[name] for name in names[start : start + ABREAST]}
        table = _table("HS6 codes by text, over the whole nomenclature", some)
        table.add_section()
        _add_rows(table, [row["misdeclared"] for row in some.values()])
        console.print(table)
    for name, row in figures.items():
        _print_outside(console, f"texts of {name}", row["outside"])


def print_explain(figures: Mapping[str, Any]) -> None:
    """Show an evaluation of the explanations."""
    table = Table(
        "", "deletion", "at random", "insertion", "at random", title="Mean risk along the curves"
    )
    for name in ("text", "image", "attributes"):
        table.add_row(name, *(f"{area:.3f}" for area in figures[name].values()))
    console = Console()
    console.print(table)
    console.print(f"Planted words found: {figures['planted_word']:.1%}")
    console.print(f"Planted objects found: {figures['planted_object']:.1%}")
    for name, likeness in figures["sanity"].items():
        console.print(f"Rank correlation after {name.replace('_', ' ')}: {likeness:.2f}")
    console.print(f"Same input, same explanation: {'yes' if figures['stable'] else 'no'}")


def print_evidence(figures: Mapping[str, Any]) -> None:
    """Show an evaluation of what each sort of evidence adds."""
    from streams.synthetic.evidence_benchmark import COMBINATIONS

    kinds = figures["all"]["by_kind"]
    table = Table("evidence", "recall at 10 %", "ECE", *kinds, title="Synthetic pairing")
    for name in COMBINATIONS:
        row = figures[name]
        recall = f"{row['recall_at_10']:.1%} ± {row['spread']:.1%}"
        by_kind = (f"{row['by_kind'][kind]:.0%}" for kind in kinds)
        table.add_row(name, recall, f"{row['ece']:.3f}", *by_kind)
    Console().print(table)


def _table(title: str, columns: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table with the figures of each column below its name."""
    table = Table("", *columns, title=title)
    _add_rows(table, list(columns.values()))
    return table


def _add_rows(table: Table, columns: Sequence[Mapping[str, Any]]) -> None:
    for name in columns[0]:
        if name not in ELSEWHERE:
            table.add_row(name, *(_figure(name, column[name]) for column in columns))


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in COUNTS:
        return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
    return f"{value:.1%}"


def _print_outside(console: Console, what: str, count: int) -> None:
    if count:
        console.print(
            f"Left out: {count:,} {what}, whose code is outside the bundle's nomenclature",
            highlight=False,
        )
