"""`redlane tariff`: tables of tariffs → tariff measures."""

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on
from streams.settings import Settings

if TYPE_CHECKING:
    from models.datasets.tariff_table import Unread
    from schemas.records import TariffMeasure

tariffs = typer.Typer(
    help="Publish the duties by which revenue at risk is computed.", no_args_is_help=True
)


@tariffs.command("import")
def import_tariff(
    file: Annotated[Path, typer.Argument(help="CSV table.", exists=True, dir_okay=False)],
    source: Annotated[str, typer.Option(help="Regulation or data set; the file's name.")] = "",
    valid_from: Annotated[
        datetime | None, typer.Option(help="Of lines that do not say it.", formats=["%Y-%m-%d"])
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only read the table; no service is needed.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts and every unread cell as JSON.")
    ] = False,
) -> None:
    """Publish the measures of a table; workers apply them within seconds.

    Columns: commodity_code and duty; country_of_origin (several by blanks), measure_type
    (third_country, preference, anti_dumping, countervailing, additional, vat), programme,
    additional_code, supplementary_unit, valid_from, valid_until, source, measure_id. A duty is
    written as in TARIC: `10.2 % + 93.1 EUR/DTN MIN 5 % MAX 20 %`. The US Harmonized Tariff Schedule
    (hts_number, unit, general, special, column2) is read as it is published.

    Cells that cannot be computed are named with their line and left out: duties that refer to
    other measures, or rest on what a declaration does not say. A measure that was published before
    under the same id is replaced; others stay.

    **Examples**

    `redlane tariff import taric.csv --source "TARIC 2026-11" --valid-from 2026-11-01`

    `redlane tariff import hts.csv --dry-run --json`
    """
    from models.datasets.tariff_table import BadTable, read

    start = {} if valid_from is None else {"valid_from": valid_from.replace(tzinfo=UTC)}
    with exit_on(BadTable):
        measures, unread = read(file, source=source, **start)
    if not dry_run:
        _publish(measures)
    if as_json:
        found = {
            "file": file.name,
            "measures": len(measures),
            "published": 0 if dry_run else len(measures),
            "unread": [asdict(one) for one in unread],
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print(len(measures), unread, dry_run=dry_run)


def _publish(measures: "list[TariffMeasure]") -> None:
    from schemas.topics import TARIFF_MEASURES
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.publisher import Publisher
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.progress import Bar

    with exit_on(NotDelivered, NotDeployed, RegistryFailed), Bar() as bar:
        bar(f"publishing {len(measures)} measures")
        Publisher(Settings(), source="redlane/tariff").put(TARIFF_MEASURES, measures)


def _print(measures: int, unread: "list[Unread]", *, dry_run: bool) -> None:
    """Show the counts, and every cell that gave no measure."""
    for one in unread:
        place = f"line {one.line}, {one.column}" if one.column else f"line {one.line}"
        typer.echo(f"{place}: {one.commodity_code} {one.text!r}: {one.reason}")
    for reason, count in Counter(one.reason for one in unread).most_common():
        typer.echo(f"{count} left out: {reason}", err=True)
    typer.echo(f"{measures} measures {'read' if dry_run else 'published'}.", err=True)
