"""The command `redlane`. Every command reads its settings from the environment (REDLANE_…)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import typer

from streams.cli.audit.log import audit
from streams.cli.audit.replay import replay
from streams.cli.console import console
from streams.cli.convert import convert
from streams.cli.dead_letters import letters
from streams.cli.exits import Commands
from streams.cli.models.assess import assess
from streams.cli.models.bundle import bundle
from streams.cli.models.classify import classify
from streams.cli.models.learning import evaluation, training
from streams.cli.models.simulate import simulate
from streams.cli.operations.lag import lag
from streams.cli.operations.support_bundle import support_bundle
from streams.cli.profile import profiles
from streams.cli.stack import deploy, doctor, up
from streams.cli.synthetic import demo, send
from streams.cli.tariff import tariffs
from streams.cli.watch import watch
from streams.cli.workers import deliver, explain, intake, learn, screen, worker

# Each command imports what it needs itself: `redlane --help` should not wait for a model library.
app = typer.Typer(
    name="redlane",
    cls=Commands,
    help="Screen customs declarations as they arrive: text, photo and attributes in one risk.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

PANELS: Final[Mapping[str, Sequence[Callable[..., None]]]] = {
    "Workers and pages": (intake, screen, learn, explain, deliver, console),
    "Try and operate": (
        demo,
        up,
        deploy,
        doctor,
        lag,
        support_bundle,
        send,
        watch,
        replay,
        convert,
    ),
    "Models": (bundle, classify, assess, simulate),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(hidden=True)(worker)
app.add_typer(audit, name="audit", rich_help_panel="Try and operate")
app.add_typer(letters, name="dead-letters", rich_help_panel="Try and operate")
app.add_typer(profiles, name="profile", rich_help_panel="Try and operate")
app.add_typer(tariffs, name="tariff", rich_help_panel="Try and operate")
app.add_typer(training, name="train", rich_help_panel="Models")
app.add_typer(evaluation, name="evaluate", rich_help_panel="Models")


def main() -> None:
    """Run the command line."""
    app()
