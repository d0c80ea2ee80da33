"""A verified bundle → the parts of its model."""

import csv
import json
from pathlib import Path

from safetensors.numpy import load_file

from models.encoding.backends import OnnxBackend
from models.hs import embedded_nomenclature
from models.hs.classifier import Calibration, HsModel
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.exemplars import ExemplarIndex
from models.hs.text_experts import TextExperts, Trust
from models.risk.signals import Peers


def load_hs(directory: Path, *, threads: int = 1) -> HsModel:
    """Load the HS model of a verified bundle."""
    hs = json.loads((directory / "model.json").read_text())["hs"]
    nomenclature = load_nomenclature(directory)
    index = ExemplarIndex.load(directory / "exemplars.safetensors")
    return HsModel.of(
        nomenclature=nomenclature,
        network=OnnxBackend(directory / "fusion.onnx", threads=threads),
        trained_codes=hs["known"],
        index=index,
        text_experts=TextExperts.load(directory, Trust(**hs["text"])),
        sharpness=tuple(hs["sharpness"]),
        photo_weight=hs["photo_weight"],
        neighbour_sharpness=hs["neighbour_sharpness"],
        calibration={
            name: Calibration(chosen["temperature"], tuple(chosen["gate"]), tuple(chosen["least"]))
            for name, chosen in hs["calibration"].items()
        },
    )


def load_nomenclature(directory: Path) -> Nomenclature:
    """Load the nomenclature of a verified bundle."""
    names = json.loads((directory / "nomenclature.json").read_text())
    lines, words = embedded_nomenclature.load(directory)
    classifier = load_file(directory / "classifier.safetensors")
    return Nomenclature.of(
        names["cn8"],
        lines,
        names["words"],
        words,
        (classifier["weights"], classifier["biases"]),
    )


def load_peers(directory: Path) -> dict[str, Peers]:
    """Load the unit prices of a verified bundle: HS6 code → prices to compare with."""
    with (directory / "peers.csv").open(newline="") as file:
        return {
            row["hs6"]: Peers(int(row["count"]), float(row["median"]), float(row["spread"]))
            for row in csv.DictReader(file)
        }
