"""`redlane convert`: customs messages as XML or JSON → declarations, for a person and for tests."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on
from streams.cli.terminal import printable

if TYPE_CHECKING:
    from streams.operations.convert import Conversion


def convert(
    paths: Annotated[
        list[Path], typer.Argument(help="XML and JSON files, or folders of them.", exists=True)
    ],
    schema: Annotated[
        list[Path] | None,
        typer.Option(
            help="XML schema (XSD) that declarations must follow; may be repeated.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a line per file: file, outcome, reason, declaration."),
    ] = False,
) -> None:
    """Convert customs messages to declarations, without any service.

    Reads declarations of the WCO Data Model 3 in XML, their amendments (function code 13) and
    cancellations (type INV), and declarations in JSON, alone or as CloudEvents. The outcome of a
    file is declaration, amendment, cancellation or dead_letter, with the reason code and the place
    in the document. An amendment in XML is applied to its original, by LRN or MRN, wherever that
    stands among the files; without it there is no declaration. Where each field comes from:
    docs/customs-messages.md.

    **Examples**

    `redlane convert declaration.xml`

    `redlane convert declaration.json original.xml amendment.xml`

    `redlane convert ./messages --json > declarations.jsonl`

    `redlane convert ./messages --schema WCO_DEC.xsd`
    """
    from streams.intake.xml_document import XmlSchema
    from streams.operations.convert import convert as convert_all
    from streams.operations.convert import messages

    files = [file for path in paths for file in messages(path)]
    if not files:
        typer.echo(f"{', '.join(map(str, paths))}: there is no XML or JSON file.", err=True)
        raise typer.Exit(1)
    with exit_on(ValueError):
        xml_schema = XmlSchema(tuple(schema)) if schema else None
    conversions = convert_all(files, xml_schema)
    if as_json:
        for conversion in conversions:
            typer.echo(json.dumps(conversion.to_json(), ensure_ascii=False))
    else:
        _print(conversions)


def _print(conversions: "list[Conversion]") -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("file", "outcome", "declaration", "version", "items", "reason")
    for column in table.columns:
        column.overflow = "fold"  # a reason is there to be read to its end
    for one in conversions:
        declared = one.declaration
        cells = (
            one.file,
            one.outcome,
            declared.declaration_id if declared else "",
            str(declared.version) if declared else "",
            str(len(declared.goods_items)) if declared else "",
            one.reason,
        )
        # What was declared comes from outside: shown as text, never read as markup or commands.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    console.print(table)
    counts = Counter(one.outcome for one in conversions)
    console.print(", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items())))
