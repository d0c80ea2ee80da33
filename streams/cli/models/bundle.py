"""`redlane bundle`: build a model bundle, check, publish or fetch one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from streams.cli.exits import exit_on, requires
from streams.progress import Bar
from streams.settings import Settings

BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        help="Folder of the model bundle; else REDLANE_BUNDLE, else the packaged one, which is "
        "built into the cache the first time.",
    ),
]


def model_bundle(named: Path | None, bar: Bar) -> Path:
    """Return the bundle that a command is to use; see `BundleOption`.

    Raises:
        typer.Exit: with 2, if the packaged one must be built and a package for that is missing.
    """
    if folder := named or Settings().bundle:
        return folder
    with requires("build"):
        from models.training.bundle_builder import default_bundle
    return default_bundle(bar)


def check_artifacts(folder: Path) -> None:
    """Check that a folder has learned artefacts, before anything is built from it.

    Raises:
        BadBundle: it has none.
    """
    from models.scoring.bundle import BadBundle

    if not (folder / "model.json").is_file():
        raise BadBundle(
            f"{folder} has no model.json: give a folder that `redlane train hs --out` wrote."
        )


def bundle(
    out: Annotated[Path | None, typer.Option(help="Build into this new folder.")] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="Learned artefacts, from `redlane train hs --out`.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="Of the encoders: fp32, or fp16 for GPUs.")
    ] = "fp32",
    verify: Annotated[Path | None, typer.Option(help="Check this bundle instead.")] = None,
    publish: Annotated[
        str | None, typer.Option(help="Also put it into object storage, below s3://BUCKET/PREFIX.")
    ] = None,
    fetch: Annotated[
        str | None, typer.Option(help="Fetch one from below s3://BUCKET/PREFIX into --out instead.")
    ] = None,
    bundle_id: Annotated[
        str | None, typer.Option("--id", help="Of the bundle to fetch; every file is checked.")
    ] = None,
) -> None:
    """Build the model bundle, or check, publish or fetch one; prints its folder and id.

    Without options it builds the packaged default into the cache, unless it is there already.
    Building needs the extra `build` (torch); checking and serving do not. Exits with 1 for a bundle
    that must not be released: `redlane evaluate explain --artifacts` makes the measurements that a
    release needs. A published bundle lies under its id; the object storage is that of REDLANE_S3_….

    **Examples**

    `redlane bundle --out ./bundle`

    `redlane bundle --out ./bundle --artifacts ./artifacts --precision fp16`

    `redlane bundle --verify ./bundle --publish s3://models/redlane`

    `redlane bundle --fetch s3://models/redlane --id 5a0c… --out ./bundle`
    """
    from models.scoring.bundle import BadBundle, NotReleased, check_released
    from models.scoring.bundle import verify as id_of
    from streams.operations.bundle_transfer import NotTransferred
    from streams.operations.bundle_transfer import fetch as fetch_bundle
    from streams.operations.bundle_transfer import publish as publish_bundle

    if (fetch is None) != (bundle_id is None) or (fetch is not None and out is None):
        typer.echo("Give --fetch, --id and --out together.", err=True)
        raise typer.Exit(2)
    with exit_on(BadBundle, NotReleased, NotTransferred, ValueError):
        if fetch is not None and bundle_id is not None and out is not None:
            fetch_bundle(Settings(), fetch, bundle_id, out)
            folder = out
        else:
            folder = verify or _build(out, artifacts, precision)
        typer.echo(f"{folder}  {id_of(folder)}")
        check_released(folder)
        if publish is not None:
            publish_bundle(Settings(), folder, publish)
            typer.echo(f"published below {publish}")


def _build(out: Path | None, artifacts: Path | None, precision: str) -> Path:
    """Build into `out`, or the default bundle into the cache; return the folder."""
    with requires("build"):
        from models.training.bundle_builder import ARTIFACTS, build, default_bundle

    if artifacts is not None:
        check_artifacts(artifacts)
    with Bar() as bar:
        if out is None:
            return default_bundle(bar)
        out.mkdir(parents=True)
        build(out, artifacts or ARTIFACTS, precision, bar)
        return out
