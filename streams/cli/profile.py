"""`redlane profile`: risk profiles for the intelligence service, under four eyes."""

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
"""Values of a condition that the table shows."""

profiles = typer.Typer(
    help="Put, list and expire the rules that select declarations.", no_args_is_help=True
)

Author = Annotated[str, typer.Option(help="Who writes it. Only a keyed hash is published.")]
Approver = Annotated[str, typer.Option(help="Who approves it: another person. Likewise.")]


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
    """The last three are given by the command, and may stand in the file."""


@profiles.command("put")
def put_profile(
    file: Annotated[Path, typer.Argument(help="JSON, as schemas/examples/risk-profile/*.json.")],
    author: Author,
    approver: Approver,
) -> None:
    """Publish a risk profile, or the next version of one; workers apply it within seconds.

    The file has profile_id, title, conditions (field, operator, values; all must hold), lane
    (yellow or red), valid_from and valid_until. Its version, author and approver are not looked at.
    Without valid_from it holds for all declarations accepted before valid_until.

    REDLANE_PSEUDONYM_KEY must be that of the other commands. Names are taken at your word: whoever
    may write to the topic risk-profiles can publish.

    **Example**

    `redlane profile put footwear.json --author "A. Peeters" --approver "B. Maes"`
    """
    from dataclasses import replace

    from models.selection.profiles import problem

    settings = Settings()
    written_by, approved_by = _persons(settings, author, approver)
    profile = replace(_from_file(file), author=written_by, approver=approved_by)
    if found := problem(profile):
        _fail(f"{file}: {found}")
    known = {one.profile_id: one for one in _read(settings).profiles}
    before = known.get(profile.profile_id)
    profile = replace(profile, version=before.version + 1 if before else 1)
    _publish(settings, profile)
    typer.echo(f"{profile.profile_id} version {profile.version} is published.")


@profiles.command("list")
def list_profiles(
    everything: Annotated[bool, typer.Option("--all", help="Also the expired ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every value.")] = False,
) -> None:
    """List the risk profiles and which of them are in force.

    The table tells how many values a condition on a trader has, not which.

    **Examples**

    `redlane profile list`

    `redlane profile list --all --json`
    """
    import json

    from models.selection.profiles import problem, state

    now = datetime.now(UTC)
    found = [
        (profile, state(profile, now), problem(profile) or "")
        for profile in _read(Settings()).profiles
        if everything or state(profile, now) != "expired"
    ]
    if as_json:
        told = [
            profile.to_avro() | {"state": state, "problem": reason}
            for profile, state, reason in found
        ]
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False, default=datetime.isoformat))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("profile", "version", "lane", "state", "from", "until", "title", "conditions")
    for profile, state_, reason in found:
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

    It stays on the topic as its next version, so that it can be told why something was selected.

    **Example**

    `redlane profile expire BE-2026-014 --author "A. Peeters" --approver "B. Maes"`
    """
    from dataclasses import replace

    from models.selection.profiles import state

    settings = Settings()
    written_by, approved_by = _persons(settings, author, approver)
    known = {one.profile_id: one for one in _read(settings).profiles}
    profile = known.get(profile_id)
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
        found = pseudonym(key, author), pseudonym(key, approver)
    except ValueError as problem:
        _fail(str(problem))
    if found[0] == found[1]:
        _fail("Author and approver are the same person. Four eyes: let somebody else approve.")
    return found


def _from_file(path: Path) -> "RiskProfile":
    from schemas.records import Condition, RiskProfile

    try:
        written = _Profile.model_validate_json(path.read_bytes())
    except OSError as problem:
        _fail(f"{path}: {problem.strerror}")
    except ValidationError as problem:
        faults = (
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}"
            for one in problem.errors(include_input=False, include_url=False)
        )
        _fail("\n".join(f"{path}: {fault}" for fault in faults))
    return RiskProfile(
        profile_id=written.profile_id,
        title=written.title,
        conditions=tuple(
            Condition(field=one.field, operator=one.operator, values=one.values)
            for one in written.conditions
        ),
        lane=written.lane,
        valid_from=written.valid_from,
        valid_until=written.valid_until,
    )


def _conditions(profile: "RiskProfile") -> str:
    """Return the conditions for a person who may look over somebody's shoulder."""
    from models.selection.profiles import PARTY_FIELDS

    told = []
    for one in profile.conditions:
        values = ", ".join(one.values[:SHOWN])
        if one.field in PARTY_FIELDS or len(one.values) > SHOWN:
            values = f"({len(one.values)} values)"
        told.append(f"{one.field} {one.operator} {values}")
    return "\n".join(told)


def _read(settings: Settings) -> "Snapshot":
    import sys

    import structlog

    from streams.kafka.registry import NotDeployed
    from streams.reference.follower import ReferenceLost, read

    # What was skipped goes to standard error: standard output may be JSON.
    printer = structlog.PrintLogger(sys.stderr)
    log = structlog.wrap_logger(
        printer, [structlog.processors.KeyValueRenderer(key_order=["event"])]
    )
    try:
        return read(settings, log=log)
    except (NotDeployed, ReferenceLost) as problem:
        _fail(str(problem))


def _publish(settings: Settings, profile: "RiskProfile") -> None:
    from schemas.topics import RISK_PROFILES
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.publisher import Publisher

    try:
        Publisher(settings, source="redlane/profile").put(RISK_PROFILES, [profile])
    except NotDelivered as problem:
        _fail(str(problem))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
