"""`redlane lag`: how far the workers are behind."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.exits import exit_on
from streams.settings import Settings


def lag(
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Of each partition, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    most: Annotated[
        int | None, typer.Option("--max", min=0, help="Exit with 1 above so many events.")
    ] = None,
) -> None:
    """Show how many events wait for each worker, and for how long already.

    Of intake, screen, explain and learn; of deliver too where REDLANE_DELIVER_URL is set. An event
    that a worker has taken but not done counts, too. Exits with 1 if a group has more than --max,
    or if Kafka does not answer.

    **Examples**

    `redlane lag`

    `redlane lag --max 10000 --json`
    """
    from streams.kafka.origin import NoAnswer
    from streams.kafka.registry import NotDeployed
    from streams.operations.lag import measure

    with exit_on(NoAnswer, NotDeployed):
        groups = measure(Settings())
    if as_json:
        typer.echo(json.dumps([group.figures(partitions=partitions) for group in groups], indent=2))
    else:
        table = Table("group", "topic", "lag", "oldest waits", "members")
        for group in groups:
            age = _shown(group.oldest_age_s)
            table.add_row(group.group, group.topic, f"{group.lag:,}", age, str(group.members))
            for each in group.partitions if partitions else ():
                age = _shown(each.oldest_age_s)
                table.add_row("", f"  partition {each.partition}", f"{each.lag:,}", age, "")
        Console().print(table)
    if most is not None and any(group.lag > most for group in groups):
        raise typer.Exit(1)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f} s"
