"""`redlane bundle`: build a model bundle, or check one."""

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
) -> None:
    """Build the model bundle, or check one; prints its folder and id.

    Without options it builds the packaged default into the cache, unless it is there already.
    Building needs the extra `build` (torch); checking and serving do not. Exits with 1 for a bundle
    that must not be released: `redlane evaluate explain --artifacts` makes the measurements that a
    release needs.

    **Examples**

    `redlane bundle --out ./bundle`

    `redlane bundle --out ./bundle --artifacts ./artifacts --precision fp16`

    `redlane bundle --verify /srv/bundles/next`
    """
    from models.scoring.bundle import BadBundle, NotReleased, check_released
    from models.scoring.bundle import verify as bundle_id

    with exit_on(BadBundle, NotReleased, ValueError):
        folder = verify or _build(out, artifacts, precision)
        typer.echo(f"{folder}  {bundle_id(folder)}")
        check_released(folder)


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
