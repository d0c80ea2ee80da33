"""`redlane dead-letters`: list the events that could not be processed, and send them again."""

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on
from streams.cli.terminal import printable
from streams.progress import Bar
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.operations.dead_letters import DeadEvent

letters = typer.Typer(
    help="List the events that could not be processed, and send them again.", no_args_is_help=True
)
Reason = Annotated[str | None, typer.Option(help="Only those of this reason code.")]
Topic = Annotated[str | None, typer.Option(help="Only those that came from this topic.")]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Only the dead letter with this id; may be given repeatedly."),
]


@letters.command("list")
def list_letters(reason: Reason = None, topic: Topic = None, ids: Ids = None) -> None:
    """List the events that could not be processed: origin, reason and what was wrong.

    Two lines for each event. One that failed more than once is listed once, by its newest dead
    letter, with how often it was tried and whether it was sent again.

    **Example**

    `redlane dead-letters list --reason schema_unknown`
    """
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.operations.dead_letters import Choice, dead_events, read_letters, read_replays

    settings = Settings()
    choice = Choice(reason=reason, topic=topic, ids=frozenset(ids or ()))
    with exit_on(NotDelivered, NotDeployed):
        chosen = [dead for dead in dead_events(read_letters(settings)) if dead in choice]
    try:
        replays = read_replays(settings) if chosen else {}
    except (NotDelivered, NotDeployed, RegistryFailed) as error:
        replays = None
        typer.echo(f"Which were sent again is not known. {error}", err=True)
    for dead in chosen:
        letter = dead.letter
        tried = f"tried {letter.attempts or '?'} times, sent again: {_sent(dead, replays)}"
        typer.echo(printable(f"{letter.id}  {letter.origin}  {letter.reason}  {tried}"))
        typer.echo(printable(f"    key {letter.key_text}: {letter.message}"))


def _sent(dead: "DeadEvent", replays: dict[str, int] | None) -> str:
    if replays is None:
        return "?"
    if replays.get(dead.event, 0) > dead.letter.replays:
        return "yes"
    return "came back" if dead.letter.replays else "no"


@letters.command("replay")
def replay_letters(
    reason: Reason = None,
    topic: Topic = None,
    ids: Ids = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were sent again and came back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Send dead letters to the topic they came from, once each, as they were received.

    What was sent again is marked on the topic dead-letter-replays and left out the next time; so
    the command may be repeated, also after it was cut short. Give --reason, --topic or --id. It
    needs the right to write to the topics that events came from and to dead-letter-replays. Run it
    once at a time.

    **Examples**

    `redlane dead-letters replay --reason screening_failed --dry-run`

    `redlane dead-letters replay --reason schema_unknown --limit 100`

    `redlane dead-letters replay --reason schema_unknown --again`
    """
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.operations.dead_letters import Choice, replay

    if not (reason or topic or ids):
        typer.echo("Give --reason, --topic or --id: what is to be sent again.", err=True)
        raise typer.Exit(2)
    settings = Settings()
    choice = Choice(reason=reason, topic=topic, ids=frozenset(ids or ()))
    with exit_on(NotDelivered, NotDeployed, RegistryFailed), Bar() as bar:
        done = replay(settings, choice, again=again, limit=limit, dry_run=dry_run, say=bar)
    typer.echo(f"{done.sent} {'would be' if dry_run else 'were'} sent again.")
    for number, why in (
        (done.sent_before, "were sent again before"),
        (done.came_back, "came back after they had been sent again: see --again"),
        (done.beyond_limit, "are left: see --limit"),
        (done.incomplete, "cannot be sent again: too large to be kept, or of no topic of ours"),
    ):
        if number:
            typer.echo(f"Left out: {number} {why}.")
