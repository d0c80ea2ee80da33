"""The command line → a page with the help of every command."""

from collections.abc import Iterator

import typer
from typer.core import TyperGroup

from streams.cli import app


def markdown() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="redlane")
    assert isinstance(command, TyperGroup)  # noqa: S101 - for its type
    return "".join(
        [
            "# Commands\n\nThe help of every command, as `redlane COMMAND --help` prints it.\n\n",
            *(part for child in _children(command, context) for part in _described(child, 2)),
        ]
    )


def _children(group: TyperGroup, context: typer.Context) -> Iterator[typer.Context]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield typer.Context(command, info_name=name, parent=context)


def _described(context: typer.Context, level: int) -> Iterator[str]:
    """Yield the parts of a command's section, those of its subcommands last."""
    command = context.command
    yield f"{'#' * level} {context.command_path}\n\n"
    if isinstance(command, TyperGroup):
        yield f"{command.help or ''}\n\n"
        for child in _children(command, context):
            yield from _described(child, level + 1)
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```\n{usage}\n```\n\n{command.help or ''}\n\n"
    records = [each.get_help_record(context) for each in command.get_params(context)]
    rows = [(_cell(record[0]), _cell(record[1])) for record in records if record]
    if len(rows) > 1:  # not --help alone
        yield "| option | does |\n|---|---|\n"
        yield "".join(f"| `{name}` | {text} |\n" for name, text in rows)
    yield "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
