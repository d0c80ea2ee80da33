"""`redlane dead-letters`: list the events that could not be processed, and send them again."""

from typing import Annotated

import typer

from streams.cli.exits import exit_on
from streams.settings import Settings

letters = typer.Typer(
    help="List the events that could not be processed, and send them again.", no_args_is_help=True
)


@letters.command("list")
def list_letters(
    reason: Annotated[str | None, typer.Option(help="Only those of this reason code.")] = None,
) -> None:
    """List the dead letters: origin, reason and what was wrong.

    **Example**

    `redlane dead-letters list --reason schema_unknown`
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streams.kafka.delivery import NotDelivered
    from streams.operations.dead_letters import read_letters

    table = Table("id", "from", "key", "reason", "what was wrong")
    with exit_on(NotDelivered):
        for letter in read_letters(Settings()):
            if reason in {None, letter.reason}:
                cells = (letter.id, letter.origin, letter.key_text, letter.reason, letter.message)
                table.add_row(*map(Text, cells))
    Console().print(table)


@letters.command("replay")
def replay_letters(
    reason: Annotated[str, typer.Option(help="Those of this reason code.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Send dead letters to the topic they came from, once each, as they were received.

    **Examples**

    `redlane dead-letters replay --reason screening_failed --dry-run`

    `redlane dead-letters replay --reason schema_unknown`
    """
    from streams.kafka.delivery import NotDelivered
    from streams.operations.dead_letters import replay

    with exit_on(NotDelivered):
        count = replay(Settings(), reason, dry_run=dry_run)
    typer.echo(f"{count} {'would be' if dry_run else 'were'} sent again.")
