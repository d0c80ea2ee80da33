"""`redlane profile`: risk profiles of the intelligence service, under four eyes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from pydantic import AwareDatetime, BaseModel, ValidationError

from streams.settings import Settings

if TYPE_CHECKING:
    from schemas.records import RiskProfile
    from streams.reference.state import Snapshot

SHOWN: Final = 3
"""Most values of a condition that the table shows."""

profiles = typer.Typer(
    help="Publish, list and expire the rules that select declarations.", no_args_is_help=True
)

Author = Annotated[str, typer.Option(help="Who writes it. Only a keyed hash is published.")]
Approver = Annotated[
    str, typer.Option(help="Another person, who approves it. Only a keyed hash is published.")
]


class _Condition(BaseModel, extra="forbid"):
    field: str
    operator: str
    values: tuple[str, ...]


class _Profile(BaseModel, extra="forbid"):
    """A risk profile as a person writes it."""

    profile_id: str
    title: str
    conditions: tuple[_Condition, ...]
    lane: str
    valid_from: AwareDatetime = datetime.fromtimestamp(0, UTC)
    valid_until: AwareDatetime
    version: Any = None
    author: Any = None
    approver: Any = None
    """The command sets the last three; the file may contain them."""


@profiles.command("put")
def put_profile(
    file: Annotated[Path, typer.Argument(help="JSON, as schemas/examples/risk-profile/*.json.")],
    author: Author,
    approver: Approver,
) -> None:
    """Publish a risk profile, or the next version of one; workers apply it within seconds.

    The file has profile_id, title, conditions (field, operator, values; all must hold), lane
    (yellow or red), valid_from and valid_until. Its version, author and approver are ignored.
    Without valid_from it applies to all declarations accepted before valid_until.

    REDLANE_PSEUDONYM_KEY must be the same as for the other commands. The command does not check who
    the two are: whoever may write to the topic risk-profiles can publish.

    **Example**

    `redlane profile put footwear.json --author "A. Peeters" --approver "B. Maes"`
    """
    from dataclasses import replace

    from models.selection.profiles import problem

    settings = Settings()
    written_by, approved_by = _persons(settings, author, approver)
    profile = replace(_from_file(file), author=written_by, approver=approved_by)
    if reason := problem(profile):
        _fail(f"{file}: {reason}")
    before = _published(settings).get(profile.profile_id)
    profile = replace(profile, version=before.version + 1 if before else 1)
    _publish(settings, profile)
    typer.echo(f"{profile.profile_id} version {profile.version} is published.")


@profiles.command("list")
def list_profiles(
    everything: Annotated[bool, typer.Option("--all", help="Also the expired ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every value.")] = False,
) -> None:
    """List the risk profiles and which of them are in force.

    For a condition on a trader, the table shows only the number of values.

    **Examples**

    `redlane profile list`

    `redlane profile list --all --json`
    """
    import json

    from models.selection.profiles import problem, state

    now = datetime.now(UTC)
    listed = [
        (profile, state(profile, now), problem(profile) or "")
        for profile in _read(Settings()).profiles
        if everything or state(profile, now) != "expired"
    ]
    if as_json:
        records = [
            profile.to_avro() | {"state": state, "problem": reason}
            for profile, state, reason in listed
        ]
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False, default=datetime.isoformat))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("profile", "version", "lane", "state", "from", "until", "title", "conditions")
    for profile, state_, reason in listed:
        cells = (
            profile.profile_id,
            str(profile.version),
            profile.lane,
            f"ignored: {reason}" if state_ == "ignored" else state_,
            f"{profile.valid_from:%Y-%m-%d %H:%M}",
            f"{profile.valid_until:%Y-%m-%d %H:%M}",
            profile.title,
            _conditions(profile),
        )
        table.add_row(*map(Text, cells))
    Console().print(table)


@profiles.command("expire")
def expire_profile(
    profile_id: Annotated[str, typer.Argument(help="As `redlane profile list` shows it.")],
    author: Author,
    approver: Approver,
) -> None:
    """End a risk profile now; declarations accepted before are still selected by it.

    It stays on the topic as its next version, so that past selections can be explained.

    **Example**

    `redlane profile expire BE-2026-014 --author "A. Peeters" --approver "B. Maes"`
    """
    from dataclasses import replace

    from models.selection.profiles import state

    settings = Settings()
    written_by, approved_by = _persons(settings, author, approver)
    profile = _published(settings).get(profile_id)
    if profile is None:
        _fail(f"There is no profile {profile_id}.")
    now = datetime.now(UTC)
    if state(profile, now) == "expired":
        typer.echo(f"{profile_id} version {profile.version} had expired already.")
        return
    profile = replace(
        profile,
        version=profile.version + 1,
        valid_until=now,
        author=written_by,
        approver=approved_by,
    )
    _publish(settings, profile)
    typer.echo(f"{profile_id} version {profile.version} is published: expired.")


def _persons(settings: Settings, author: str, approver: str) -> tuple[str, str]:
    """Return the two pseudonyms, of two persons."""
    from streams.pseudonym import pseudonym

    key = settings.pseudonym_key.get_secret_value().encode()
    if not key:
        _fail("Set REDLANE_PSEUDONYM_KEY: names are published as keyed hashes only.")
    try:
        pseudonyms = pseudonym(key, author), pseudonym(key, approver)
    except ValueError as problem:
        _fail(str(problem))
    if len(set(pseudonyms)) == 1:
        _fail("Author and approver are the same person. Four eyes: let somebody else approve.")
    return pseudonyms


def _from_file(path: Path) -> "RiskProfile":
    from schemas.records import Condition, RiskProfile

    try:
        written = _Profile.model_validate_json(path.read_bytes())
    except OSError as problem:
        _fail(f"{path}: {problem.strerror}")
    except ValidationError as problem:
        faults = (
            f"{'.'.join(map(str, error['loc'])) or 'file'}: {error['msg']}"
            for error in problem.errors(include_input=False, include_url=False)
        )
        _fail("\n".join(f"{path}: {fault}" for fault in faults))
    return RiskProfile(
        profile_id=written.profile_id,
        title=written.title,
        conditions=tuple(
            Condition(field=rule.field, operator=rule.operator, values=rule.values)
            for rule in written.conditions
        ),
        lane=written.lane,
        valid_from=written.valid_from,
        valid_until=written.valid_until,
    )


def _conditions(profile: "RiskProfile") -> str:
    """Return the conditions without traders' names: others may look at the screen too."""
    from models.selection.profiles import PARTY_FIELDS

    lines = []
    for rule in profile.conditions:
        values = ", ".join(rule.values[:SHOWN])
        if rule.field in PARTY_FIELDS or len(rule.values) > SHOWN:
            values = f"({len(rule.values)} values)"
        lines.append(f"{rule.field} {rule.operator} {values}")
    return "\n".join(lines)


def _published(settings: Settings) -> "dict[str, RiskProfile]":
    """Return the profile of each id, as it is on the topic now."""
    return {profile.profile_id: profile for profile in _read(settings).profiles}


def _read(settings: Settings) -> "Snapshot":
    import sys

    import structlog

    from schemas.topics import RISK_PROFILES
    from streams.kafka.origin import NoAnswer
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.reference.follower import ReferenceLost, read

    # Warnings of skipped events go to standard error, because standard output may be JSON.
    printer = structlog.PrintLogger(sys.stderr)
    log = structlog.wrap_logger(
        printer, [structlog.processors.KeyValueRenderer(key_order=["event"])]
    )
    try:
        return read(settings, topics=[RISK_PROFILES], log=log)
    except (NotDeployed, RegistryFailed, NoAnswer, ReferenceLost) as problem:
        _fail(str(problem))


def _publish(settings: Settings, profile: "RiskProfile") -> None:
    from schemas.topics import RISK_PROFILES
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.publisher import Publisher
    from streams.kafka.registry import NotDeployed, RegistryFailed

    try:
        Publisher(settings, source="redlane/profile").put(RISK_PROFILES, [profile])
    except (NotDelivered, NotDeployed, RegistryFailed) as problem:
        _fail(str(problem))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
