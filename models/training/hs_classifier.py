"""Goods of known code → what is committed in models/artifacts/.

text.safetensors, image.safetensors    the tuned parts of the packaged encoders
fusion.safetensors                     the network that names the known codes
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
from collections.abc import Collection, Sequence
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
from models.networks.fusion import FusionNetwork, load, save
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

SAMPLE_ROUNDS: Final = 8
"""How often each goods of the priced sample are taken: they are few."""
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
    """What the user of `train` may choose."""

    seed: int = 7
    text_encoder: str = sources.PACKAGED
    image_encoder: str = sources.PACKAGED
    fusion: str = "multconcat"
    tune: bool = True
    """Tune the packaged encoders; else those are taken that are in the folder, tuned or not."""
    withhold: int = 0
    """Codes left out of all training, to measure unseen codes; past goods of them are indexed."""


def train(goods: Path, priced: Path, out: Path, choices: Choices, say: Say = print) -> None:
    """Learn everything that is committed in models/artifacts/.

    Args:
        goods: folder of goods with the splits train and valid.
        priced: folder of goods with prices and masses, for the peers and for unfamiliar goods.
        out: where the files go.
        choices: of the user.
        say: told of progress.
    """
    out.mkdir(parents=True, exist_ok=True)
    past, held, sample = read(goods, "train"), read(goods, "valid"), read(priced)
    withheld = withheld_codes(past, choices)
    learn = [one for one in past if one.hs6 not in withheld]
    held = tuple(one for one in held if one.hs6 not in withheld)
    if choices.tune:
        tune_encoders(learn, held, out, choices, say)
    encoders = {"text": choices.text_encoder, "image": choices.image_encoder}
    (out / "model.json").write_text(json.dumps({"encoders": encoders}))
    with tempfile.TemporaryDirectory() as directory:
        bundle_builder.build(Path(directory), out, say=say)
        shutil.copy(Path(directory) / embedded_nomenclature.FILE, out)
        embedder = Embedder.of(Path(directory), say)
        nomenclature = load_nomenclature(Path(directory))
    network = fit_network(embedder, learn, choices, out)
    names = sorted({one.hs6 for one in learn})
    count = EXEMPLARS_WITHHELD if choices.withhold else EXEMPLARS
    index = make_index(embedder.embedded(past), names, nomenclature, count, choices.seed)
    index.save(out / "exemplars.safetensors")
    hs = HsModel.of(
        nomenclature,
        names,
        index,
        network=TorchBackend(network),
        sharpness=(12.0, 12.0),
        photo_weight=1.0,
        neighbour_sharpness=20.0,
        calibration={name: Calibration(1.0, OPEN, 0.0) for name in MODALITIES},
    )
    say("Choosing sharpness, temperatures, gates and thresholds on valid")
    seen, unfamiliar = embedder.embedded(held), embedder.embedded(sample)
    hs = choose_sharpness(hs, seen)
    hs = calibrated(hs, seen, unfamiliar)
    say("Fitting the risk model on valid, with irregularities injected")
    groups = Groups.of(nomenclature.codes)
    known = training_examples(hs, seen, groups, embedder.encoders, seed=choices.seed)
    other = training_examples(
        hs, unfamiliar, groups, embedder.encoders, seed=choices.seed, rounds=SAMPLE_ROUNDS
    )
    model = {
        "encoders": encoders,
        "hs": {
            "known": names,
            "withheld": withheld,
            "sharpness": hs.sharpness,
            "photo_weight": hs.photo_weight,
            "neighbour_sharpness": hs.neighbour_sharpness,
            "calibration": {name: asdict(one) for name, one in hs.calibration.items()},
        },
        **fit_risk(known, other),
    }
    (out / "model.json").write_text(json.dumps(model, indent=2) + "\n")
    with (out / "peers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("hs6", "count", "median", "spread"))
        writer.writerows(peers(sample))


def withheld_codes(goods: Sequence[Goods], choices: Choices) -> list[str]:
    """Draw codes with some goods each, to be left out of all training."""
    counts = Counter(one.hs6 for one in goods)
    drawable = sorted(code for code, count in counts.items() if count >= WITHHELD_GOODS)
    return sorted(random.Random(choices.seed).sample(drawable, choices.withhold))  # noqa: S311


def fit_network(
    embedder: Embedder, goods: Sequence[Goods], choices: Choices, out: Path
) -> FusionNetwork:
    """Train the fusion network and write it; returned is what was written, rounded as stored."""
    if choices.withhold:  # only to measure with: many minutes of variants are not worth it
        clean = embedder.embedded(goods)
        texts, photos = clean.tuned_texts[np.newaxis], clean.photos[np.newaxis]
    else:
        texts, photos = embedder.variants(goods, choices.seed)
    names, labels = np.unique([one.hs6 for one in goods], return_inverse=True)
    embedder.say(f"Training the fusion network ({choices.fusion})")
    network = fusion.train(
        torch.from_numpy(texts),
        torch.from_numpy(photos),
        torch.from_numpy(labels),
        kind=choices.fusion,
        codes=len(names),
        seed=choices.seed,
    )
    save(network, choices.fusion, out / "fusion.safetensors")
    return load(out / "fusion.safetensors")


def make_index(
    goods: Embedded, known: Collection[str], nomenclature: Nomenclature, count: int, seed: int
) -> ExemplarIndex:
    """Index some goods of each code; the axes of comparison are fitted on known codes alone."""
    dice = np.random.default_rng(seed)
    order = dice.permutation(len(goods.codes))
    chosen = np.concatenate(
        [order[goods.codes[order] == code][:count] for code in np.unique(goods.codes)]
    )
    learned = np.isin(goods.codes, list(known))
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
    codes = np.array([one.hs6 for one in learn])
    if choices.text_encoder == sources.PACKAGED:
        say("Tuning the text encoder")
        every = lines()
        kept = sorted({*every} - {*held_out(every)}, key=lambda line: line.cn8)
        text_encoder.tune(
            ([one.description for one in learn], codes),
            kept,
            out / sources.TUNED_TEXT,
            seed=choices.seed,
            say=say,
        )
    if choices.image_encoder == sources.PACKAGED:
        say("Tuning the image encoder")
        names = sorted({*codes, *(one.hs6 for one in held)})
        image_encoder.tune(
            pixels(learn),
            np.searchsorted(names, codes),
            (pixels(held), np.searchsorted(names, [one.hs6 for one in held])),
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
            tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
            scores: Array = self._network(**tensors).numpy()
        return scores


def peers(goods: Sequence[Goods]) -> list[tuple[str, int, float, float]]:
    """Return code, count, median and spread of the log unit price of each code with prices."""
    prices = defaultdict(list)
    for one in goods:
        price = log_unit_price(one.price_eur, one.net_mass_kg)
        if price is not None:
            prices[one.hs6].append(price)
    table = []
    for hs6, found in sorted(prices.items()):
        median = statistics.median(found)
        squares = sum((x - median) ** 2 for x in found) + 2 * SPREAD_PRIOR**2
        table.append(
            (hs6, len(found), round(median, 4), round(math.sqrt(squares / (len(found) + 1)), 4))
        )
    return table
