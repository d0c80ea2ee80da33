"""`redlane simulate`: labelled declarations replayed under an inspection strategy."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.exits import exit_on
from streams.progress import Bar

if TYPE_CHECKING:
    from models.evaluation.simulation import Week


def simulate(
    declarations: Annotated[
        Path, typer.Option(help="Folder with train.csv, and valid.csv after it where there is one.")
    ],
    weeks: Annotated[int, typer.Option(min=1, help="Weeks to simulate, after the warm-up.")] = 26,
    strategy: Annotated[
        str, typer.Option(help="risk, hybrid (some where data are few) or random.")
    ] = "risk",
    rate: Annotated[
        float, typer.Option(min=0.001, max=1, help="Inspections, as a share of declarations.")
    ] = 0.05,
    random: Annotated[
        float,
        typer.Option(min=0, max=1, help="The random ones among them, as a share of declarations."),
    ] = 0.01,
    warm_up: Annotated[
        int,
        typer.Option(min=4, help="Weeks before the first, all inspected: the first training data."),
    ] = 13,
    delay: Annotated[int, typer.Option(min=0, help="Days until an outcome is known.")] = 7,
    retrain: Annotated[int, typer.Option(min=1, help="Train again after this many weeks.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    plot: Annotated[Path, typer.Option(help="Write the picture here.")] = Path("simulation.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay labelled declarations with limited inspections and outcomes that arrive late.

    The model is trained again as outcomes arrive, and only on inspected declarations. Precision,
    recall and revenue are drawn week by week, beside random inspections and an oracle that has
    every outcome.

    **Examples**

    `redlane simulate --declarations ./declarations --weeks 26 --strategy risk`

    `redlane simulate --declarations ./declarations --weeks 12 --strategy hybrid --rate 0.1 --json`
    """
    import json

    from models.datasets.declarations import BadDeclarations, read
    from models.evaluation import plots
    from models.evaluation.simulation import STRATEGIES, Setup
    from models.evaluation.simulation import simulate as replay

    if strategy not in STRATEGIES or random > rate:
        typer.echo(
            f"No strategy {strategy}; there are {', '.join(STRATEGIES)}."
            if strategy not in STRATEGIES
            else "--random is a part of --rate and cannot be larger.",
            err=True,
        )
        raise typer.Exit(2)
    setup = Setup(
        weeks=weeks,
        warm_up=warm_up,
        rate=rate,
        random=random,
        delay=timedelta(days=delay),
        retrain=retrain,
        seed=seed,
    )
    with exit_on(BadDeclarations):
        rows = read(declarations, "train")
        if (declarations / "valid.csv").exists():
            rows += read(declarations, "valid")
        with Bar() as bar:
            runs: dict[str, list[Week]] = {
                name: replay(rows, name, setup, bar)
                for name in dict.fromkeys((strategy, "random", "oracle"))
            }
    plots.draw_simulation(runs, plot)
    figures = {name: _figures(run) | _estimates(run) for name, run in runs.items()}
    figures["oracle"] = _figures(runs["oracle"])  # it selects by outcome: no basis for an estimate
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", *figures["oracle"], title=f"{weeks} weeks, at most {rate:.0%} inspected")
    for name, row in figures.items():
        table.add_row(name, *(f"{row[column]:.1%}" for column in figures["oracle"]))
    Console().print(table)
    for name, row in figures.items():
        if "estimated" in row:
            typer.echo(
                f"{name}: {row['irregular']:.1%} of all were irregular, {row['estimated']:.1%} "
                f"estimated; inside the 95 % interval in {row['weeks_in_interval']:.0%} of weeks"
            )
    typer.echo(f"Week by week: {plot}")


def _figures(weeks: Sequence["Week"]) -> dict[str, Any]:
    """Return the figures over all weeks, as fractions."""
    inspected, hits = sum(w.inspected for w in weeks), sum(w.found for w in weeks)
    declared, irregular = sum(w.declarations for w in weeks), sum(w.irregular for w in weeks)
    return {
        "inspected": inspected / declared,
        "precision": hits / max(inspected, 1),
        "recall": hits / max(irregular, 1),
        "revenue": sum(w.revenue_found for w in weeks) / max(sum(w.revenue for w in weeks), 1e-9),
    }


def _estimates(weeks: Sequence["Week"]) -> dict[str, Any]:
    """Return the share of irregular declarations, true and estimated from inspections alone."""
    declared = sum(w.declarations for w in weeks)
    inside = [w.estimate.low <= w.irregular / w.declarations <= w.estimate.high for w in weeks]
    return {
        "irregular": sum(w.irregular for w in weeks) / declared,
        "estimated": sum(w.estimate.share * w.declarations for w in weeks) / declared,
        "weeks_in_interval": sum(inside) / len(weeks),
    }
