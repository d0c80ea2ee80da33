"""`redlane assess`: one declaration as JSON → its assessment, for tests and debugging."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on, requires
from streams.progress import Bar

if TYPE_CHECKING:
    from schemas.records import Assessment, Declaration, ItemAssessment

CANDIDATES = 3
"""Codes of a goods item that the table names."""


def assess(
    file: Annotated[Path, typer.Argument(help="Declaration in JSON, as in schemas/examples.")],
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the photos, by their key or its last part.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Model bundle; REDLANE_BUNDLE, or the default one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the assessment as JSON.")] = False,
) -> None:
    """Assess one declaration, without any service.

    The verdict is that of `redlane screen` where it knows no other declaration, no past inspection,
    no risk profile and no tariff. Decimals and times stand as text; a field that is left out has
    its default. A photo that is not in the folder is missing evidence. Exits with 1 for a
    declaration that a worker would refuse, and says why.

    **Examples**

    `redlane assess declaration.json --photos ./photos`

    `redlane assess declaration.json --bundle ./bundle --json`
    """
    from models.scoring.bundle import BadBundle
    from models.scoring.scorer import Scorer
    from schemas import json_form
    from schemas.codec import Undecodable
    from schemas.records import Declaration
    from streams import logs
    from streams.evidence.photo_folder import PhotoFolder
    from streams.operations import assess as operation
    from streams.settings import Settings

    logs.configure("ERROR")
    settings = Settings()
    with exit_on(json_form.Malformed, Undecodable):
        declaration = json_form.read(file.read_bytes(), Declaration)
        event = operation.event_of(declaration)
    with exit_on(BadBundle):
        scorer = Scorer.load(bundle or settings.bundle or _default(), threads=settings.threads)
    with exit_on(operation.Failed):
        assessment = operation.assess(
            event,
            scorer,
            PhotoFolder(photos, max_bytes=settings.photo_max_bytes),
            photos_per_item=settings.photos_per_item,
        )
    if as_json:
        typer.echo(json.dumps(assessment.to_avro(), indent=2, ensure_ascii=False))
    else:
        _print(declaration, assessment)


def _default() -> Path:
    with requires("build"):
        from models.training.bundle_builder import default_bundle

    with Bar() as bar:
        return default_bundle(bar)


def _print(declaration: "Declaration", assessment: "Assessment") -> None:
    """Show an assessment as a person reads it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("item", "goods", "declared", "risk", "likely codes", "reasons")
    for goods, item in zip(declaration.goods_items, assessment.items, strict=True):
        cells = (
            str(item.sequence_number),
            goods.description[:40],
            item.commodity_code or "none",
            f"{item.risk:.1%}",
            "\n".join(f"{c.hs6} {c.probability:.0%}" for c in item.candidates[:CANDIDATES]),
            _reasons(item),
        )
        # What was declared comes from outside: shown as text, never read as markup.
        table.add_row(*map(Text, cells))
    console = Console()
    console.print(table)
    console.print(Text(f"Lane {assessment.lane}, risk {assessment.risk:.1%}"))
    for gap in assessment.degraded:
        place = f"item {gap.sequence_number}" if gap.sequence_number else "declaration"
        console.print(Text(f"Missing, {place}: {gap.code} {gap.detail}".rstrip()))


def _reasons(item: "ItemAssessment") -> str:
    return "\n".join(
        f"{signal.code} {signal.weight:+.2f}" + (f": {signal.detail}" if signal.detail else "")
        for signal in item.signals
    )
