"""Goods of known code → what is committed in models/artifacts/.

text.safetensors, image.safetensors    the tuned parts of the packaged encoders
ngrams.safetensors, heads.safetensors  the experts of text, see `models.training.text.experts`
texts.safetensors                      past texts
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from models.datasets.goods import Goods, read
from models.datasets.texts import BadTexts, GoodsText, held_back, openly_licensed, to_learn_from
from models.datasets.texts import read as read_texts
from models.hs import embedded_nomenclature
from models.hs.classifier import MODALITIES, Calibration, HsModel, Nomenclature
from models.hs.exemplars import ExemplarIndex, Projection
from models.hs.nomenclature import lines
from models.hs.text_experts import TEXTS, TextExperts, Trust, past_texts
from models.networks.fusion import INPUTS, FusionNetwork, load, save
from models.progress import Say
from models.risk.model import Groups
from models.risk.prices import log_unit_price
from models.scoring.scorer import load_nomenclature
from models.training import bundle_builder, fusion, image_encoder
from models.training import pretrained as sources
from models.training.calibrate import calibrated, choose_sharpness
from models.training.embeddings import Embedded, Embedder, pixels
from models.training.goods_risk import TrainingExample, fit_risk, training_examples
from models.training.text import experts
from models.vectors import Array

MODEL: Final = "model.json"
TRUST: Final = "trust.json"
SAMPLE_ROUNDS: Final = 8
"""How often the goods of the priced sample are used: they are few."""
SPREAD_PRIOR: Final = 0.35
"""Spread of log unit prices of one code, worth two goods."""
EXEMPLARS: Final = 64
"""Most past goods of one code."""
OPEN: Final = (0.0, 0.0, 50.0)
"""A gate that is always open: before gates are fitted."""
WORDS_SHARPNESS: Final = 25.0
"""Factor on the similarity of a text to the image classifier's words in the softmax."""
DECLARED: Final = 1000
"""Held-back texts that the risk model also learns from, each without a photo."""
TEXT_AXES: Final = 96
PAST_TEXT_AXES: Final = 64
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


@dataclass(frozen=True, slots=True)
class Splits:
    """The goods to learn from."""

    learn: tuple[Goods, ...]
    """To be trained on and indexed: the split train."""
    held: tuple[Goods, ...]
    """To choose on: the split valid."""
    priced: tuple[Goods, ...]
    """For prices of comparable goods, and for unfamiliar goods."""
    texts: tuple[GoodsText, ...]
    """To be trained on and indexed: texts of files and of `learn`."""
    held_texts: tuple[GoodsText, ...]
    """To choose on: texts of files that are held back."""

    @property
    def trained_codes(self) -> list[str]:
        """Codes of the goods to train on, sorted."""
        return sorted({item.hs6 for item in self.learn})


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the data is."""

    goods: tuple[Path, ...]
    """Folders of goods with the splits train and valid."""
    texts: tuple[Path, ...]
    """CSV files of goods texts."""
    priced: Path
    """Folder of goods with prices and masses, for the peers and for unfamiliar goods."""
    open_only: bool = False
    """Leave out sources that are for research alone; the priced goods stay."""


def train(data: Sources, out: Path, choices: Choices, say: Say = print) -> None:
    """Learn everything that is committed in models/artifacts/.

    The output folder stays as it is until all files are complete.

    Args:
        data: to learn from.
        out: folder for the files. It holds trust.json: how far to trust the experts of text, and
            the sets of text.
        choices: options.
        say: called with the progress.
    """
    splits = read_splits(data)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".training-") as directory:
        artifacts, bundle = Path(directory) / "artifacts", Path(directory) / "bundle"
        artifacts.mkdir()
        bundle.mkdir()
        provide_encoders(splits, out, artifacts, choices, say)
        bundle_builder.build(bundle, artifacts, say=say)
        shutil.copy(bundle / embedded_nomenclature.FILE, artifacts)
        embedder, nomenclature = Embedder.of(bundle, say), load_nomenclature(bundle)
        index_texts(embedder, splits.texts, nomenclature, artifacts)
        network = fit_network(embedder, splits.learn, choices, artifacts)
        hs = uncalibrated(embedder, splits, nomenclature, network, artifacts)
        hs.index.save(artifacts / "exemplars.safetensors")
        held, unfamiliar = embedder.embedded(splits.held), embedder.embedded(splits.priced)
        say("Choosing sharpness, temperatures, gates and sets on valid")
        hs = calibrated(choose_sharpness(hs, held), held, unfamiliar, folder_weights(splits.held))
        declared = embedder.embedded_texts(splits.held_texts[:DECLARED])
        say("Fitting the risk model on valid, with irregularities injected")
        groups = Groups.of(nomenclature.codes)

        def examples(source: Embedded, rounds: int = 1) -> list[TrainingExample]:
            return training_examples(
                hs, source, groups, embedder.encoders, seed=choices.seed, rounds=rounds
            )

        risk = fit_risk(
            examples(held), examples(unfamiliar, SAMPLE_ROUNDS), declared=examples(declared)
        )
        write_model(artifacts, hs, splits, choices, risk)
        write_peers(artifacts, splits.priced)
        publish(artifacts, out)


def read_splits(data: Sources) -> Splits:
    """Read what to learn from; rows whose code the nomenclature lacks are left out.

    Raises:
        BadCatalogue: a folder of goods cannot be read.
        BadTexts: a file of texts cannot be read, or no goods or texts are left.
    """
    codes = {line.hs6 for line in lines()}

    def every(split: str) -> tuple[Goods, ...]:
        rows = chain.from_iterable(read(folder, split) for folder in data.goods)
        usable = openly_licensed(rows) if data.open_only else rows
        return tuple(item for item in usable if item.hs6 in codes)

    learn = every("train")
    texts = chain.from_iterable(read_texts(file) for file in data.texts)
    usable = openly_licensed(texts) if data.open_only else texts
    rows = [row for row in usable if row.hs6 in codes]
    if not learn or not rows:
        raise BadTexts("No goods or no texts are left to learn from, by code and licence.")
    held_texts = [row for row in rows if held_back(row)]
    random.Random(0).shuffle(held_texts)  # noqa: S311
    return Splits(
        learn, every("valid"), read(data.priced), to_learn_from(rows, learn), tuple(held_texts)
    )


def folder_weights(goods: Sequence[Goods]) -> NDArray[np.float64]:
    """Return weights of goods (N,) by which each folder counts the same, however many it has."""
    counts = Counter(item.image.parent for item in goods)
    return np.array([1 / counts[item.image.parent] for item in goods])


def provide_encoders(
    splits: Splits, before: Path, artifacts: Path, choices: Choices, say: Say
) -> None:
    """Put into a folder what a bundle's encoders are built of.

    Args:
        splits: goods and texts to tune on.
        before: folder of an earlier training: its tuned encoders are taken where none are tuned
            now, and its embeddings of the nomenclature where the encoders are still the same.
        artifacts: folder to fill.
        choices: options.
        say: called with the progress.
    """
    kept = (*experts.FILES, sources.TUNED_IMAGE, embedded_nomenclature.FILE, TRUST)
    for name in kept:
        if (before / name).exists():
            shutil.copy(before / name, artifacts)
    if choices.tune:
        tune_encoders(splits, artifacts, choices, say)
    write_json(artifacts / MODEL, {"encoders": encoder_names(choices)})


def index_texts(
    embedder: Embedder, texts: Sequence[GoodsText], nomenclature: Nomenclature, artifacts: Path
) -> None:
    """Index past texts, so that goods worded alike are found."""
    embedded = embedder.embedded_texts(texts)
    places = np.searchsorted(nomenclature.codes, embedded.codes)
    projection = Projection.fitted(embedded.meanings, PAST_TEXT_AXES)
    save_file(past_texts(places, embedded.meanings, projection), artifacts / TEXTS)


def uncalibrated(
    embedder: Embedder,
    splits: Splits,
    nomenclature: Nomenclature,
    network: FusionNetwork,
    artifacts: Path,
) -> HsModel:
    """Put the experts together; weights, temperatures, gates and thresholds are yet to choose."""
    trust = json.loads((artifacts / TRUST).read_text())
    past = embedder.embedded(splits.learn)
    calibration = {name: Calibration(1.0, OPEN, ()) for name in MODALITIES}
    calibration["text"] = Calibration(1.0, OPEN, tuple(trust.pop("least")))
    return HsModel.of(
        nomenclature,
        splits.trained_codes,
        make_index(past, nomenclature),
        network=TorchBackend(network),
        text_experts=TextExperts.load(artifacts, Trust(**trust)),
        sharpness=(WORDS_SHARPNESS, 12.0),
        photo_weight=1.0,
        neighbour_sharpness=20.0,
        calibration=calibration,
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
                "text": asdict(hs.text_experts.trust),
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


def fit_network(
    embedder: Embedder, goods: Sequence[Goods], choices: Choices, out: Path
) -> FusionNetwork:
    """Train the fusion network and write it; return it as stored, with rounded weights."""
    texts, photos = embedder.variants(goods, choices.seed)
    codes, labels = np.unique([item.hs6 for item in goods], return_inverse=True)
    embedder.say(f"Training the fusion network ({choices.fusion})")
    network = fusion.train(
        torch.from_numpy(texts),
        torch.from_numpy(photos),
        torch.from_numpy(labels),
        torch.tensor([item.has_text for item in goods]),
        kind=choices.fusion,
        codes=len(codes),
        seed=choices.seed,
    )
    save(network, choices.fusion, out / "fusion.safetensors")
    return load(out / "fusion.safetensors")


def make_index(goods: Embedded, nomenclature: Nomenclature) -> ExemplarIndex:
    """Index some goods of each code."""
    order = np.random.default_rng(0).permutation(len(goods.codes))
    chosen = np.concatenate(
        [order[goods.codes[order] == code][:EXEMPLARS] for code in np.unique(goods.codes)]
    )
    return ExemplarIndex.of(
        np.searchsorted(nomenclature.codes, goods.codes[chosen]),
        goods.meanings[chosen],
        goods.photos[chosen],
        Projection.fitted(goods.meanings[goods.described], TEXT_AXES),
        Projection.fitted(goods.photos, PHOTO_AXES),
    )


def tune_encoders(splits: Splits, out: Path, choices: Choices, say: Say) -> None:
    """Tune the packaged encoders: hours on a processor, minutes on a GPU."""
    learn, held = splits.learn, splits.held
    codes = np.array([item.hs6 for item in learn])
    if choices.text_encoder == sources.PACKAGED:
        every = sorted({line.hs6 for line in lines()})
        experts.learn(splits.texts, every, out, seed=choices.seed, say=say)
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
