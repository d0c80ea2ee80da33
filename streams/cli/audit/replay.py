"""`redlane replay`: screen the declarations of a time span again, and compare byte for byte."""

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on
from streams.cli.terminal import printable
from streams.progress import Bar
from streams.settings import NotConfigured, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.codec import Schema
    from schemas.topics import Topic
    from streams.operations.replay import Replayed
    from streams.operations.span import Span

DIFFERENT, INCOMPLETE = 1, 3
"""Exit statuses."""
KINDS = ("equal", "different", "not replayable", "refused")
SHOWN = 20
"""Declarations that are listed for a person."""


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("write a time of ISO 8601, as 2026-11-02T09:00Z") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def replay(
    begin: Annotated[
        datetime,
        typer.Option("--from", parser=_time, metavar="TIME", help="ISO 8601; UTC without a zone."),
    ],
    end: Annotated[
        datetime, typer.Option("--to", parser=_time, metavar="TIME", help="Not included.")
    ],
    partitions: Annotated[
        list[int] | None,
        typer.Option("--partition", min=0, help="Of declarations; may be given repeatedly."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Screen declarations again as they were screened, and compare the results byte for byte.

    Takes the declarations that arrived in the time span, the signals, duties, rates, profiles and
    thresholds that were recorded for each, the photos in storage, the bundle REDLANE_BUNDLE and
    the key REDLANE_SELECTION_KEY, and embeds every text and photo afresh. The bundle must be the
    one of then. Changes nothing.

    Exits with 0 if all results are equal, 1 if one is different, 2 if the bundle is another one,
    and 3 if none is different but some could not be screened again; it says why.

    **Examples**

    `redlane replay --from 2026-11-02T09:00Z --to 2026-11-02T10:00Z`

    `redlane replay --from 2026-11-02 --to 2026-11-03 --partition 0 --json`
    """
    from models.scoring.bundle import BadBundle, NotReleased
    from schemas.topics import ALERTS, ASSESSMENTS, DECLARATIONS, SCREENING_RECORDS
    from streams import logs
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import Decoder, NotDeployed, Registry, RegistryFailed
    from streams.operations.span import TooMany, read_span

    if end <= begin:
        typer.echo("--to must be after --from.", err=True)
        raise typer.Exit(2)
    logs.configure("ERROR")
    settings = Settings()
    settings.secret_keys()
    settings.required_bundle()
    with (
        exit_on(NotDeployed, RegistryFailed, NotDelivered, TooMany, BadBundle, NotReleased),
        Bar() as bar,
    ):
        registry = Registry(settings.registry_url)
        decode = Decoder(registry.writers, [SCREENING_RECORDS])
        span = read_span(settings, decode, begin, end, partitions=partitions or (), say=bar)
        _check_bundle(settings, span)
        writers = {topic: registry.writers(topic) for topic in (DECLARATIONS, ASSESSMENTS, ALERTS)}
        schema_ids = {topic: registry.schema_id(topic) for topic in (ASSESSMENTS, ALERTS)}
        outcomes = _replayed(settings, span, writers, schema_ids, bar)
    counts: Counter[str] = Counter(outcome.kind for outcome in outcomes)
    if as_json:
        report = {
            "from": begin.isoformat(),
            "to": end.isoformat(),
            "declarations": len(span.declarations),
            "counts": {kind: counts[kind] for kind in KINDS},
            "not_equal": [asdict(each) for each in outcomes if each.kind != "equal"],
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(outcomes, counts)
    if counts["different"]:
        raise typer.Exit(DIFFERENT)
    if counts["not replayable"]:
        raise typer.Exit(INCOMPLETE)


def _check_bundle(settings: Settings, span: "Span") -> None:
    """Check that some of them were screened with the bundle that is named.

    Raises:
        NotConfigured: all with others.
        BadBundle: it is incomplete or was changed.
    """
    from models.scoring.bundle import verify

    screened = Counter(record.bundle_id for some in span.records.values() for record in some)
    given = verify(settings.required_bundle())
    if screened and given not in screened:
        then = ", ".join(f"{bundle_id} ({count})" for bundle_id, count in screened.most_common(3))
        raise NotConfigured(
            f"Set REDLANE_BUNDLE to the bundle that these were screened with: {then}. It names "
            f"{given}."
        )


def _replayed(
    settings: Settings,
    span: "Span",
    writers: "Mapping[Topic, Mapping[int, Schema]]",
    schema_ids: "Mapping[Topic, int]",
    bar: Bar,
) -> "list[Replayed]":
    import asyncio

    from streams.app import inference_threads, load_scorer
    from streams.evidence.photos import Photos
    from streams.object_storage import ObjectStorage
    from streams.operations.replay import Replay

    bar("loading the model")
    scorer, key = load_scorer(settings), settings.secret_keys()["selection"]

    async def run() -> "list[Replayed]":
        storage = ObjectStorage(settings)
        photos = Photos(
            {name: storage.bucket(name) for name in settings.s3_buckets},
            concurrency=settings.photo_concurrency,
            deadline_s=settings.photo_deadline_s,
            max_bytes=settings.photo_max_bytes,
        )
        try:
            replay = Replay(
                scorer,
                photos,
                writers=writers,
                schema_ids=schema_ids,
                selection_key=key,
                executor=inference_threads(),
            )
            return await replay.span(span, bar)
        finally:
            await storage.close()

    return asyncio.run(run())


def _print(outcomes: "list[Replayed]", counts: Counter[str]) -> None:
    for kind in ("different", "not replayable"):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        for outcome in of_kind[:SHOWN]:
            typer.echo(printable(f"{kind}: {outcome.declaration_id} at {outcome.event}"))
            typer.echo(printable(f"    {outcome.detail}"))
        if len(of_kind) > SHOWN:
            typer.echo(f"… and {len(of_kind) - SHOWN} more: see --json.")
    typer.echo(
        f"{counts['equal']} equal, {counts['different']} different, "
        f"{counts['not replayable']} not replayable, {counts['refused']} refused as then."
    )
