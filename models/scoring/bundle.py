"""A model bundle: a directory with all that scoring needs, and a manifest of hashes.

manifest.json            sha256 of every other file; its own sha256 is the bundle's id
text.onnx image.onnx     encoders: pretrained weights and those tuned here
text.tokens.json         how the text encoder reads a text
ngrams.safetensors       the vectors of a text's hashed n-grams
heads.safetensors        classifiers of a text's meaning and n-grams, over every code
texts.safetensors        past texts of known code
fusion.onnx              the network that names the trained codes by text and photo
trees.onnx leaves.onnx   the tabular risk: boosted trees, and the network over their leaves
tabular.json             its features and scale
exemplars.safetensors    past goods of known code
nomenclature.*           embeddings of the nomenclature and of the image classifier's words
classifier.safetensors   photo features → those words
model.json peers.csv     what was chosen, and prices of comparable goods
faithfulness.json        how faithful its explanations are; only where it may be released

All that was learned here is committed in models/artifacts/; the rest comes from packages.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from models.scoring import release_gate as release

FORMAT: Final = 6
"""Raise it when a file's content changes its meaning, so that older cached bundles are not used."""
MANIFEST: Final = "manifest.json"


class BadBundle(Exception):  # noqa: N818 - says what it is
    """A bundle that is incomplete or was changed."""


class NotReleased(Exception):  # noqa: N818 - says what it is
    """A bundle that no worker may use."""


def cache() -> Path:
    """Return the directory for what Redlane fetches or builds (REDLANE_CACHE)."""
    path = Path(os.environ.get("REDLANE_CACHE") or Path.home() / ".cache" / "redlane")
    path.mkdir(parents=True, exist_ok=True)
    return path


def sha256(path: Path) -> str:
    """Return a file's hash, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(directory: Path) -> str:
    """Check every file against the manifest, before anything of it is parsed; return the id.

    Raises:
        BadBundle: of another format; or a file is missing, was added or was changed.
    """
    listed = file_hashes(directory)
    present = {path.name for path in directory.iterdir()} - {MANIFEST}
    if differing := sorted(present ^ listed.keys()):
        raise BadBundle(f"{directory} does not match its manifest: {', '.join(differing)}.")
    for name, expected in listed.items():
        if sha256(directory / name) != expected:
            raise BadBundle(f"{directory / name} was changed after the bundle was built.")
    return sha256(directory / MANIFEST)


def file_hashes(directory: Path) -> dict[str, str]:
    """Return the manifest's sha256 of each other file, by name.

    Raises:
        BadBundle: there is no manifest, or it is of another format.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise BadBundle(f"{directory} is no model bundle: build one with `redlane bundle`.")
    content = json.loads(manifest.read_text())
    if content["format"] != FORMAT:
        raise BadBundle(
            f"{directory} is a bundle of format {content['format']}, and this version reads format "
            f"{FORMAT}: build it anew with `redlane bundle`."
        )
    hashes: dict[str, str] = content["files"]
    return hashes


def check_released(directory: Path) -> None:
    """Check that a verified bundle's explanations were measured and are faithful.

    Raises:
        NotReleased: no worker may use it.
    """
    if problems := release.bundle_problems(directory):
        raise NotReleased(
            f"{directory} may not be released: {'; '.join(problems)}. "
            "Run `redlane evaluate explain` with the same --artifacts, "
            "then `redlane bundle --out` anew."
        )
