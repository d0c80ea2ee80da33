"""`redlane support-bundle`: what somebody who helps needs to know."""

from pathlib import Path
from typing import Annotated

import typer

from streams.settings import Settings


def support_bundle(
    out: Annotated[Path, typer.Argument(help="A zip file; must not exist.", show_default=False)],
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="/metrics of a worker, such as http://127.0.0.1:6066/metrics; repeatedly.",
        ),
    ] = None,
    logs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The log of a worker or of the console; repeatedly."),
    ] = None,
    lines: Annotated[int, typer.Option(min=0, help="Of each log, the last so many.")] = 1000,
) -> None:
    """Collect what somebody who helps you needs, without personal data, and say what it is.

    Versions, settings (secrets only as set or not), the doctor's findings, lag, topics, numbers of
    dead letters by reason; metrics of workers and their last log lines where you name them. No
    event, no key, no identification of a declaration, no text of an error. Look into the file
    before you send it. A part that fails is left out, and the contents say so.

    **Example**

    `redlane support-bundle support.zip --metrics http://127.0.0.1:6066/metrics --logs screen.log`
    """
    from streams.operations.support_bundle import collect, write

    if out.exists():
        typer.echo(f"{out} exists: name another file.", err=True)
        raise typer.Exit(2)
    parts = collect(Settings(), metrics=metrics or (), logs=logs or (), lines=lines)
    write(out, parts)
    for part in parts:
        typer.echo(f"{part.name:<24}{len(part.content):>9,} bytes  {part.what}")
    typer.echo(f"{out} has no personal data by design; look into it before you send it.")
