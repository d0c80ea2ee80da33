"""`redlane send` and `redlane demo`: declarations made from a catalogue."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.exits import exit_on, requires
from streams.settings import Settings


def send(
    catalogue: Annotated[
        str, typer.Option(help="`sample`, or a folder with goods.csv and photos.")
    ] = "sample",
    split: Annotated[str | None, typer.Option(help="Only this split of the folder.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many declarations.")] = 200,
    rate: Annotated[
        float, typer.Option(min=0, help="Declarations per second; 0 for as fast as possible.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    kinds: Annotated[
        str, typer.Option(help="Shares: clean=0.6,wrong_code=0.2,… The rest is clean.")
    ] = "",
    truth: Annotated[
        Path,
        typer.Option(help="Write what is irregular here; the events never say it."),
    ] = Path("truth.jsonl"),
) -> None:
    """Send declarations made from a catalogue, some of them irregular.

    Kinds: clean, wrong_code, wrong_photo, photo_reuse, undervaluation, splitting, vague_text,
    missing_photo, broken_photo, malformed. Photos are uploaded to the first bucket of
    REDLANE_S3_BUCKETS. A folder's goods.csv has the columns item_id, image, description and hs6,
    and may have title, price_eur, net_mass_kg, origin and lower_duty_hs6.

    **Examples**

    `redlane send --count 500 --rate 20 --truth truth.jsonl`

    `redlane send --catalogue ./goods --split test --kinds clean=0.8,wrong_code=0.2`
    """
    from rich.progress import Progress

    from models.datasets.goods import BadCatalogue, read
    from streams.kafka.contact import reach
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.synthetic import sample_catalogue as sample
    from streams.synthetic.irregularities import DEFAULT_SHARES, Irregularities
    from streams.synthetic.send import new_run
    from streams.synthetic.send import send as send_all

    settings = Settings()
    with exit_on(BadCatalogue, ValueError, status=2):
        shares = _shares(kinds) if kinds else DEFAULT_SHARES
        folder = sample.sample() if catalogue == "sample" else Path(catalogue)
        source = Irregularities(
            read(folder, split),
            bucket=settings.s3_buckets[0],
            run=new_run(),
            seed=seed,
            shares=shares,
            start=datetime.now(UTC).replace(microsecond=0),
        )
    with exit_on(NotDelivered, NotDeployed, RegistryFailed), Progress() as progress:
        task = progress.add_task("sent", total=count)
        reach(settings, within_s=10)
        delivered = send_all(
            settings,
            source.consignments(count),
            rate=rate,
            truth=truth,
            sent=lambda _: progress.advance(task),
        )
    typer.echo(f"{delivered} declarations delivered; {truth} says what is irregular about them.")


def _shares(kinds: str) -> dict[str, float]:
    pairs = [pair.partition("=") for pair in kinds.split(",")]
    try:
        return {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        raise ValueError(f"--kinds {kinds}: write NAME=SHARE,NAME=SHARE,…") from None


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit when all is screened.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the summary's figures here.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many declarations.")] = 600,
    rate: Annotated[float, typer.Option(min=0, help="Declarations per second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the irregularities.")] = 7,
) -> None:
    """Show the whole system at work on this machine, with real services and real products.

    Starts the local stack and every worker, streams the sample catalogue through them and shows
    the alerts as they come; ends with a summary against the injected truth. Exits with 0 only if
    every declaration got exactly one fate and every alert an explanation.

    **Examples**

    `redlane demo`

    `redlane demo --once --json summary.json`
    """
    with requires("local"):
        from streams.local.preflight import NotReady
        from streams.local.process import ServiceFailed
        from streams.synthetic.demo import Options, run

    if json_file is not None and not json_file.absolute().parent.is_dir():
        typer.echo(f"--json: there is no folder {json_file.parent}.", err=True)
        raise typer.Exit(2)
    options = Options(once=once, json_file=json_file, count=count, rate=rate, seed=seed)
    with exit_on(NotReady, status=2), exit_on(ServiceFailed):
        status = run(options)
    raise typer.Exit(status)
