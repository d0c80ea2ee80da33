"""The command `redlane`. Every command reads its settings from the environment (REDLANE_…)."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.console import console
from streams.cli.learning import evaluation, training
from streams.cli.profile import profiles
from streams.cli.simulate import simulate
from streams.progress import Bar
from streams.settings import NotConfigured, Settings

app = typer.Typer(
    name="redlane",
    help="Screen customs declarations as they arrive: text, photo and attributes in one risk.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


app.add_typer(training, name="train", no_args_is_help=True)
app.add_typer(evaluation, name="evaluate", no_args_is_help=True)
app.command()(simulate)
app.command()(console)
app.add_typer(profiles, name="profile", no_args_is_help=True)
# Each command imports what it needs itself: `redlane --help` should not wait for a model library.


@app.command()
def worker() -> None:
    """Screen declarations: declarations → assessments, alerts, dead-letters.

    Runs until SIGTERM or SIGINT, then finishes what it has taken and exits 0. Exits 1 on what only
    a restart can repair, so run it under a supervisor. Logs are JSON on standard error; /livez,
    /readyz and /metrics are on REDLANE_HEALTH_HOST:REDLANE_HEALTH_PORT (127.0.0.1:6066).

    **Examples**

    `redlane up --env-file redlane.env` in one terminal, then in another:

    `set -a; . ./redlane.env; redlane worker`

    `REDLANE_CONSUMER_GROUP=shadow REDLANE_BUNDLE=/srv/bundles/next redlane worker`
    """
    from streams.app import screening

    _run(screening)


@app.command()
def learn() -> None:
    """Learn from inspections: inspection-outcomes → past hit rates, dead-letters.

    Runs like `redlane worker`, in a consumer group of its own, and needs no model. What it learns
    is what the screening workers know of importers, codes and routes. REDLANE_PSEUDONYM_KEY must be
    theirs.

    **Example**

    `set -a; . ./redlane.env; REDLANE_HEALTH_PORT=6067 redlane learn`
    """
    from streams.app import learning

    _run(learning)


def _run(wire: Callable[[Settings], Any]) -> None:
    """Run the worker that `wire` makes, until it is told to stop."""
    from models.scoring.bundle import BadBundle, NotReleased
    from streams import logs
    from streams.kafka.registry import NotDeployed
    from streams.kafka.worker import run

    settings = Settings()
    try:
        settings.secret_keys()  # before a service is asked, or a model loaded
        logs.configure(settings.log_level)
        wired = wire(settings)
    except NotConfigured as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2) from problem
    except (BadBundle, NotReleased, NotDeployed) as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(1) from problem
    run(wired)


@app.command()
def explain() -> None:
    """Explain alerts: alerts → explanations, heat maps in object storage, dead-letters.

    Runs like `redlane worker`, in a consumer group of its own, so that it never delays an alert.
    REDLANE_PSEUDONYM_KEY and REDLANE_BUNDLE must be the screening workers'; heat maps go to the
    bucket REDLANE_S3_EXPLANATIONS_BUCKET (explanations).

    **Example**

    `set -a; . ./redlane.env; REDLANE_HEALTH_PORT=6068 redlane explain`
    """
    from streams.app import explaining

    _run(explaining)


@app.command()
def deploy() -> None:
    """Create the topics and register the schemas that are missing.

    Workers do neither. Run it before the first worker, and after an upgrade. What exists stays as
    it is.

    **Example**

    `REDLANE_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 REDLANE_KAFKA_REPLICATION=3 redlane deploy`
    """
    from streams.operations.deploy import deploy as deploy_all

    deploy_all(Settings(), say=typer.echo)


@app.command()
def up(
    kafka_port: Annotated[int, typer.Option(help="0 for any free one.")] = 9092,
    registry_port: Annotated[int, typer.Option(help="0 for any free one.")] = 8081,
    redis_port: Annotated[int, typer.Option(help="0 for any free one.")] = 6379,
    s3_port: Annotated[int, typer.Option(help="0 for any free one.")] = 8333,
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1 or 3.", min=1, max=3)] = 1,
    env_file: Annotated[Path | None, typer.Option(help="Write the settings here.")] = None,
) -> None:
    """Run the local stack alone: Kafka, schema registry, Valkey and SeaweedFS.

    Everything listens on 127.0.0.1 only, comes by pip, and is gone with Ctrl-C. Topics and schemas
    are deployed, and the packaged model bundle is built unless REDLANE_BUNDLE names another. The
    settings to use it are printed.

    **Examples**

    `redlane up --env-file redlane.env`

    `redlane up --kafka-port 0 --registry-port 0 --redis-port 0 --s3-port 0`
    """
    from streams.local.preflight import NotReady
    from streams.local.stack import Ports, run_until_interrupted
    from streams.operations.deploy import deploy as deploy_all

    bundle = Settings().bundle
    if bundle is None:
        from models.training.bundle_builder import default_bundle

        with Bar() as bar:
            bundle = default_bundle(bar)
    try:
        run_until_interrupted(
            brokers=brokers,
            ports=Ports(kafka=kafka_port, registry=registry_port, redis=redis_port, s3=s3_port),
            env_file=env_file,
            bundle=bundle,
            after_start=lambda stack: deploy_all(stack.settings(), say=typer.echo),
            say=typer.echo,
        )
    except NotReady as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2) from problem


@app.command()
def send(
    catalogue: Annotated[
        str, typer.Option(help="`sample`, or a folder with goods.csv and photos.")
    ] = "sample",
    split: Annotated[str | None, typer.Option(help="Only this split of the folder.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many declarations.")] = 200,
    rate: Annotated[float, typer.Option(min=0, help="A second; 0 as fast as possible.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of every choice.")] = 7,
    kinds: Annotated[
        str, typer.Option(help="Shares: clean=0.6,wrong_code=0.2,… The rest is clean.")
    ] = "",
    truth: Annotated[
        Path, typer.Option(help="What is irregular about each goes here, never into the events.")
    ] = Path("truth.jsonl"),
) -> None:
    """Send declarations made of a catalogue, some of them irregular.

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
    from streams.synthetic import sample_catalogue as sample
    from streams.synthetic.irregularities import DEFAULT_SHARES, Irregularities
    from streams.synthetic.send import new_run
    from streams.synthetic.send import send as send_all

    settings = Settings()
    try:
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
    except (BadCatalogue, ValueError) as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2) from problem
    with Progress() as progress:
        task = progress.add_task("sent", total=count)
        delivered = send_all(
            settings,
            source.consignments(count),
            rate=rate,
            truth=truth,
            sent=lambda _: progress.advance(task),
        )
    typer.echo(f"{delivered} declarations delivered; what is irregular about them is in {truth}.")


def _shares(kinds: str) -> dict[str, float]:
    pairs = [pair.partition("=") for pair in kinds.split(",")]
    return {name.strip(): float(share) for name, _, share in pairs}


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit when all is screened.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the summary's figures here.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many declarations.")] = 600,
    rate: Annotated[float, typer.Option(min=0, help="Declarations a second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the irregularities.")] = 7,
) -> None:
    """Show the whole system at work on this machine, with real services and real products.

    Starts the local stack and a worker, streams the sample catalogue through it and shows the
    alerts as they come; at the end a summary against the injected truth. Exits with 0 only if every
    declaration got exactly one fate.

    **Examples**

    `redlane demo`

    `redlane demo --once --json summary.json`
    """
    from streams.local.preflight import NotReady
    from streams.synthetic.demo import Options, run

    options = Options(once=once, json_file=json_file, count=count, rate=rate, seed=seed)
    try:
        status = run(options)
    except NotReady as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2) from problem
    raise typer.Exit(status)


@app.command()
def classify(
    text: Annotated[
        str | None, typer.Option(help="Goods description, in any of the languages.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Photo: JPEG, PNG or WebP.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the HS codes of goods by text, photo or both.

    **Examples**

    `redlane classify --text "chaussures de course, dessus en textile"`

    `redlane classify --text "MEN SHIRT COTTON" --image shirt.jpg --json`
    """
    import json

    from models.encoding.image import BadPhoto
    from streams.cli.classify import classify_goods

    if text is None and image is None:
        typer.echo("Give --text, --image or both.", err=True)
        raise typer.Exit(2)
    try:
        with Bar() as bar:
            found = classify_goods(text, image, bar)
    except (BadPhoto, OSError) as problem:
        typer.echo(f"{image}: {problem}", err=True)
        raise typer.Exit(1) from problem
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("HS6", "probability", "nomenclature")
    for one in found["candidates"]:
        table.add_row(one["hs6"], f"{one['probability']:.1%}", one["text"])
    console = Console()
    console.print(table)
    console.print(f"95 % set: {', '.join(found['set'])}")
    if found["shown"]:
        console.print(f"The photo shows: {', '.join(found['shown'])}")
    if found["agreement"] is not None:
        console.print(f"Text and photo agree: {found['agreement']:.0%}")


@app.command()
def bundle(
    out: Annotated[Path | None, typer.Option(help="Build into this new folder.")] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="What was learned, by `redlane train hs --out`.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the encoders: fp32, or fp16 for GPUs.")
    ] = "fp32",
    verify: Annotated[Path | None, typer.Option(help="Check this bundle instead.")] = None,
) -> None:
    """Build the model bundle, or check one; prints its folder and id.

    Without options the packaged default is built into the cache, unless it is there. Building needs
    the extra `build` (torch); serving does not. Exits with 1 for a bundle that may not be released:
    `redlane evaluate explain --artifacts` measures what it takes.

    **Examples**

    `redlane bundle --out ./bundle`

    `redlane bundle --out ./bundle --artifacts ./artifacts --precision fp16`

    `redlane bundle --verify /srv/bundles/next`
    """
    from models.scoring.bundle import BadBundle, NotReleased, check_released
    from models.scoring.bundle import verify as verified
    from models.training.bundle_builder import ARTIFACTS, build, default_bundle

    try:
        with Bar() as bar:
            if verify is not None:
                folder = verify
            elif out is not None:
                out.mkdir(parents=True)
                build(out, artifacts or ARTIFACTS, precision, bar)
                folder = out
            else:
                folder = default_bundle(bar)
        typer.echo(f"{folder}  {verified(folder)}")
        check_released(folder)
    except (BadBundle, NotReleased, FileExistsError, ValueError) as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(1) from problem


letters = typer.Typer(help="List what could not be processed, and send it again.")
app.add_typer(letters, name="dead-letters", no_args_is_help=True)


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

    from streams.operations.dead_letters import read_letters

    table = Table("id", "from", "key", "reason", "what was wrong")
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
    from streams.operations.dead_letters import replay

    count = replay(Settings(), reason, dry_run=dry_run)
    typer.echo(f"{count} {'would be' if dry_run else 'were'} sent again.")


@app.command()
def doctor() -> None:
    """Check Kafka, registry, object storage, Redis and the model bundle, and say what to do.

    Exits with 0 if all is well.

    **Example**

    `. ./redlane.env; redlane doctor`
    """
    from streams.operations.doctor import examine

    findings = examine(Settings())
    for finding in findings:
        mark = "ok  " if finding.problem is None else "FAIL"
        typer.echo(f"{mark}  {finding.part}: {finding.problem or finding.detail}")
        if finding.problem is not None:
            typer.echo(f"      → {finding.remedy}")
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()
