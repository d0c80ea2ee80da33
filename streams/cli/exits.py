"""Errors that a command expects → one line on standard error and an exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from streams.settings import NotConfigured


@contextmanager
def exit_on(*errors: type[Exception], status: int = 1) -> Iterator[None]:
    """Print one of these errors without a traceback, and exit.

    Raises:
        typer.Exit: with the status.
    """
    try:
        yield
    except errors as error:
        typer.echo(error, err=True)
        raise typer.Exit(status) from error


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Name the extra to install where an import in the block fails.

    Raises:
        typer.Exit: with 2, if a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(
            f"This command needs the extra `{extra}`, and {error.name} is not installed: "
            f"pip install 'redlane[{extra}]'.",
            err=True,
        )
        raise typer.Exit(2) from error


class Commands(TyperGroup):
    """Every command: what is missing or wrong outside of it is one line.

    A setting: exit status 2. A file, a folder or an address of the system: 1.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with exit_on(NotConfigured, status=2), _exit_on_system_errors():
            return super().invoke(ctx)


@contextmanager
def _exit_on_system_errors() -> Iterator[None]:
    """Print an error of the operating system that names its file, and exit.

    So is a setting that Kafka's client refuses, such as a certificate that is none.

    Raises:
        typer.Exit: with 1, or 2 for a setting.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # who reads our output has gone: typer ends quietly
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        typer.echo(f"{error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except Exception as error:
        # Importing the client here would make every command wait for it.
        kafka = sys.modules.get("confluent_kafka")
        if kafka is None or not isinstance(error, kafka.KafkaException):
            raise
        if error.args[0].code() != kafka.KafkaError._INVALID_ARG:  # noqa: SLF001 - its name
            raise
        typer.echo(f"Correct a setting REDLANE_KAFKA_…: {error.args[0].str()}", err=True)
        raise typer.Exit(2) from error
