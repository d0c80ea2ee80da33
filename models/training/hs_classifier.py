"""Goods of known code → what is committed in models/artifacts/.

text.safetensors, image.safetensors    the tuned parts of the packaged encoders
fusion.safetensors                     the network that names the trained codes
exemplars.safetensors                  past goods
nomenclature.safetensors               embeddings of the nomenclature by the tuned encoders
model.json peers.csv                   what was chosen, the risk model, prices of comparable goods

Train on the split train, choose on valid; test is for `models.evaluation.hs_classifier` alone.
"""

import csv
import json
import math
import random
import shutil
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models.datasets.goods import Goods, read
from models.hs import embedded_nomenclature
from models.hs.classifier import MODALITIES, Calibration, HsModel, Nomenclature
from models.hs.exemplars import ExemplarIndex, Projection
from models.hs.nomenclature import held_out, lines
from models.networks.fusion import INPUTS, FusionNetwork, load, save
from models.progress import Say
from models.risk.model import Groups
from models.risk.prices import log_unit_price
from models.scoring.scorer import load_nomenclature
from models.training import bundle_builder, fusion, image_encoder, text_encoder
from models.training import pretrained as sources
from models.training.calibrate import calibrated, choose_sharpness
from models.training.embeddings import Embedded, Embedder, pixels
from models.training.goods_risk import fit_risk, training_examples
from models.vectors import Array

MODEL: Final = "model.json"
SAMPLE_ROUNDS: Final = 8
"""How often the goods of the priced sample are used: they are few."""
SPREAD_PRIOR: Final = 0.35
"""Spread of log unit prices of one code, worth two goods."""
EXEMPLARS: Final = 64
"""Most past goods of one code."""
EXEMPLARS_WITHHELD: Final = 16
"""The same where codes are withheld, to keep the committed files small."""
OPEN: Final = (0.0, 0.0, 50.0)
"""A gate that is always open: before gates are fitted."""
WITHHELD_GOODS: Final = 30
"""Least goods of a code that may be withheld."""
TEXT_AXES: Final = 96
PHOTO_AXES: Final = 128


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of `train`."""

    seed: int = 7
    text_encoder: str = sources.PACKAGED
    image_encoder: str = sources.PACKAGED
    fusion: str = "multconcat"
    tune: bool = True
    """Tune the packaged encoders; otherwise use those in the output folder, tuned or not."""
    withhold: int = 0
    """Codes left out of all training, to measure unseen codes; past goods of them are indexed."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The goods to learn from."""

    past: tuple[Goods, ...]
    """To be indexed: the split train."""
    learn: tuple[Goods, ...]
    """To be trained on: `past` without goods of withheld codes."""
    held: tuple[Goods, ...]
    """To choose on: the split valid without goods of withheld codes."""
    priced: tuple[Goods, ...]
    """For prices of comparable goods, and for unfamiliar goods."""
    withheld: tuple[str, ...]
    """Codes."""

    @property
    def trained_codes(self) -> list[str]:
        """Codes of the goods to train on, sorted."""
        return sorted({item.hs6 for item in self.learn})


def train(goods: Path, priced: Path, out: Path, choices: Choices, say: Say = print) -> None:
    """Learn everything that is committed in models/artifacts/.

    The output folder stays as it is until all files are complete.

    Args:
        goods: folder of goods with the splits train and valid.
        priced: folder of goods with prices and masses, for the peers and for unfamiliar goods.
        out: folder for the files.
        choices: options.
        say: called with the progress.
    """
    splits = read_splits(goods, priced, choices)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".training-") as directory:
        artifacts, bundle = Path(directory) / "artifacts", Path(directory) / "bundle"
        artifacts.mkdir()
        bundle.mkdir()
        provide_encoders(splits, out, artifacts, choices, say)
        bundle_builder.build(bundle, artifacts, say=say)
        shutil.copy(bundle / embedded_nomenclature.FILE, artifacts)
        embedder, nomenclature = Embedder.of(bundle, say), load_nomenclature(bundle)
        network = fit_network(embedder, splits.learn, choices, artifacts)
        hs = uncalibrated(embedder, splits, nomenclature, network, choices)
        hs.index.save(artifacts / "exemplars.safetensors")
        held, unfamiliar = embedder.embedded(splits.held), embedder.embedded(splits.priced)
        say("Choosing sharpness, temperatures, gates and thresholds on valid")
        hs = calibrated(choose_sharpness(hs, held), held, unfamiliar)
        say("Fitting the risk model on valid, with irregularities injected")
        risk = fit_risk(
            *(
                training_examples(
                    hs,
                    source,
                    Groups.of(nomenclature.codes),
                    embedder.encoders,
                    seed=choices.seed,
                    rounds=rounds,
                )
                for source, rounds in ((held, 1), (unfamiliar, SAMPLE_ROUNDS))
            )
        )
        write_model(artifacts, hs, splits, choices, risk)
        write_peers(artifacts, splits.priced)
        publish(artifacts, out)


def read_splits(goods: Path, priced: Path, choices: Choices) -> Splits:
    """Read the goods to learn from.

    Raises:
        BadCatalogue: a folder cannot be read.
    """
    past, held, sample = read(goods, "train"), read(goods, "valid"), read(priced)
    withheld = withheld_codes(past, choices)
    return Splits(
        past,
        tuple(item for item in past if item.hs6 not in withheld),
        tuple(item for item in held if item.hs6 not in withheld),
        sample,
        tuple(withheld),
    )


def provide_encoders(
    splits: Splits, before: Path, artifacts: Path, choices: Choices, say: Say
) -> None:
    """Put into a folder what a bundle's encoders are built of.

    Args:
        splits: goods to tune on.
        before: folder of an earlier training: its tuned encoders are taken where none are tuned
            now, and its embeddings of the nomenclature where the encoders are still the same.
        artifacts: folder to fill.
        choices: options.
        say: called with the progress.
    """
    for name in (sources.TUNED_TEXT, sources.TUNED_IMAGE, embedded_nomenclature.FILE):
        if (before / name).exists():
            shutil.copy(before / name, artifacts)
    if choices.tune:
        tune_encoders(splits.learn, splits.held, artifacts, choices, say)
    write_json(artifacts / MODEL, {"encoders": encoder_names(choices)})


def uncalibrated(
    embedder: Embedder,
    splits: Splits,
    nomenclature: Nomenclature,
    network: FusionNetwork,
    choices: Choices,
) -> HsModel:
    """Put the experts together; weights, temperatures, gates and thresholds are yet to choose."""
    count = EXEMPLARS_WITHHELD if choices.withhold else EXEMPLARS
    past = embedder.embedded(splits.past)
    return HsModel.of(
        nomenclature,
        splits.trained_codes,
        make_index(past, splits.trained_codes, nomenclature, count, choices.seed),
        network=TorchBackend(network),
        sharpness=(12.0, 12.0),
        photo_weight=1.0,
        neighbour_sharpness=20.0,
        calibration={name: Calibration(1.0, OPEN, 0.0) for name in MODALITIES},
    )


def write_model(
    artifacts: Path, hs: HsModel, splits: Splits, choices: Choices, risk: Mapping[str, Any]
) -> None:
    """Write what was chosen."""
    write_json(
        artifacts / MODEL,
        {
            "encoders": encoder_names(choices),
            "hs": {
                "known": splits.trained_codes,
                "withheld": splits.withheld,
                "sharpness": hs.sharpness,
                "photo_weight": hs.photo_weight,
                "neighbour_sharpness": hs.neighbour_sharpness,
                "calibration": {name: asdict(chosen) for name, chosen in hs.calibration.items()},
            },
            **risk,
        },
    )


def write_peers(artifacts: Path, goods: Sequence[Goods]) -> None:
    """Write the prices of comparable goods."""
    with (artifacts / "peers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("hs6", "count", "median", "spread"))
        writer.writerows(peers(goods))


def publish(artifacts: Path, out: Path) -> None:
    """Move complete files to their place, the model that names the others last.

    Each replaces its predecessor at once, so no reader ever sees half a file.

    Args:
        artifacts: folder of the files, on the file system of `out`.
        out: folder for the files.
    """
    for path in sorted(artifacts.iterdir(), key=lambda path: (path.name == MODEL, path.name)):
        path.replace(out / path.name)


def encoder_names(choices: Choices) -> dict[str, str]:
    """Return where the encoders come from."""
    return {"text": choices.text_encoder, "image": choices.image_encoder}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def withheld_codes(goods: Sequence[Goods], choices: Choices) -> list[str]:
    """Draw codes with some goods each, to be left out of all training."""
    counts = Counter(item.hs6 for item in goods)
    drawable = sorted(code for code, count in counts.items() if count >= WITHHELD_GOODS)
    return sorted(random.Random(choices.seed).sample(drawable, choices.withhold))  # noqa: S311


def fit_network(
    embedder: Embedder, goods: Sequence[Goods], choices: Choices, out: Path
) -> FusionNetwork:
    """Train the fusion network and write it; return it as stored, with rounded weights."""
    if choices.withhold:  # this network only serves to measure: variants would take many minutes
        clean = embedder.embedded(goods)
        texts, photos = clean.tuned_texts[np.newaxis], clean.photos[np.newaxis]
    else:
        texts, photos = embedder.variants(goods, choices.seed)
    codes, labels = np.unique([item.hs6 for item in goods], return_inverse=True)
    embedder.say(f"Training the fusion network ({choices.fusion})")
    network = fusion.train(
        torch.from_numpy(texts),
        torch.from_numpy(photos),
        torch.from_numpy(labels),
        kind=choices.fusion,
        codes=len(codes),
        seed=choices.seed,
    )
    save(network, choices.fusion, out / "fusion.safetensors")
    return load(out / "fusion.safetensors")


def make_index(
    goods: Embedded,
    trained_codes: Collection[str],
    nomenclature: Nomenclature,
    count: int,
    seed: int,
) -> ExemplarIndex:
    """Index some goods of each code; only trained codes determine the axes of comparison."""
    dice = np.random.default_rng(seed)
    order = dice.permutation(len(goods.codes))
    chosen = np.concatenate(
        [order[goods.codes[order] == code][:count] for code in np.unique(goods.codes)]
    )
    learned = np.isin(goods.codes, list(trained_codes))
    return ExemplarIndex.of(
        np.searchsorted(nomenclature.codes, goods.codes[chosen]),
        goods.tuned_texts[chosen],
        goods.photos[chosen],
        Projection.fitted(goods.tuned_texts[learned], TEXT_AXES),
        Projection.fitted(goods.photos[learned], PHOTO_AXES),
    )


def tune_encoders(
    learn: Sequence[Goods], held: Sequence[Goods], out: Path, choices: Choices, say: Say
) -> None:
    """Tune the packaged encoders: minutes for text, most of an hour for photos."""
    codes = np.array([item.hs6 for item in learn])
    if choices.text_encoder == sources.PACKAGED:
        say("Tuning the text encoder")
        every = lines()
        tuned_on = sorted({*every} - {*held_out(every)}, key=lambda line: line.cn8)
        text_encoder.tune(
            ([item.description for item in learn], codes),
            tuned_on,
            out / sources.TUNED_TEXT,
            seed=choices.seed,
            say=say,
        )
    if choices.image_encoder == sources.PACKAGED:
        say("Tuning the image encoder")
        names = sorted({*codes, *(item.hs6 for item in held)})
        image_encoder.tune(
            pixels(learn),
            np.searchsorted(names, codes),
            (pixels(held), np.searchsorted(names, [item.hs6 for item in held])),
            out / sources.TUNED_IMAGE,
            seed=choices.seed,
            say=say,
        )


class TorchBackend:
    """The fusion network before it is exported."""

    def __init__(self, network: FusionNetwork) -> None:
        self._network = network

    def run(self, inputs: Any) -> Array:
        """Score a batch → (B, K)."""
        with torch.no_grad():
            tensors = (torch.from_numpy(inputs[name]) for name in INPUTS)
            scores: Array = self._network(*tensors).numpy()
        return scores


def peers(goods: Sequence[Goods]) -> list[tuple[str, int, float, float]]:
    """Return code, count, median and spread of the log unit price of each code with prices."""
    prices: defaultdict[str, list[float]] = defaultdict(list)
    for item in goods:
        price = log_unit_price(item.price_eur, item.net_mass_kg)
        if price is not None:
            prices[item.hs6].append(price)
    table = []
    for hs6, of_code in sorted(prices.items()):
        median, count = statistics.median(of_code), len(of_code)
        squares = sum((price - median) ** 2 for price in of_code) + 2 * SPREAD_PRIOR**2
        table.append((hs6, count, round(median, 4), round(math.sqrt(squares / (count + 1)), 4)))
    return table
