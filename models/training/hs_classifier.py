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
import hashlib
import json
import math
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models.datasets.goods import Goods
from models.datasets.texts import of_goods
from models.hs import embedded_nomenclature
from models.hs.classifier import MODALITIES, Calibration, HsModel
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.exemplars import ExemplarIndex, Projection
from models.hs.text_experts import TextExperts, Trust
from models.networks.fusion import INPUTS, FusionNetwork, load, save
from models.progress import Say
from models.risk.model import Groups
from models.risk.prices import log_unit_price
from models.scoring.loading import load_nomenclature
from models.training import bundle_builder, fusion, image_encoder
from models.training import pretrained as sources
from models.training.calibrate import calibrated, choose_sharpness
from models.training.embeddings import Embedded, Embedder, pixels
from models.training.goods_risk import TrainingExample, fit_risk, training_examples
from models.training.splits import Sources, Splits, folder_weights, read_splits
from models.training.text import experts, trust
from models.vectors import Array

MODEL: Final = "model.json"
UNFINISHED: Final = ".training"
"""Folder of unfinished files in the output folder."""
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
"""Texts to choose on that the risk model also learns from, each without a photo."""
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
    """Tune the encoders; otherwise use those in the output folder."""
    keep_trust: bool = False
    """Trust the experts of text as the output folder says; so it is too where none are tuned."""


def train(data: Sources, out: Path, choices: Choices, say: Say = print) -> None:
    """Learn everything that is committed in models/artifacts/.

    The output folder stays as it is until all files are complete; unfinished ones lie in a folder
    in it, from which a training that was cut short goes on.

    Args:
        data: to learn from.
        out: folder for the files.
        choices: options.
        say: called with the progress.

    Raises:
        BadCatalogue: a folder of goods cannot be read.
        BadTexts: a file of texts cannot be read, or there are too few texts.
        BadEncoder: an encoder cannot be loaded, or the output folder lacks what shall be kept.
    """
    splits = read_splits(data)
    work = work_folder(out, splits, choices)
    artifacts = work / "artifacts"
    artifacts.mkdir(exist_ok=True)
    provide_encoders(splits, out, artifacts, choices, say)
    with tempfile.TemporaryDirectory(dir=work) as directory:
        bundle = Path(directory)
        bundle_builder.build(bundle, artifacts, say=say)
        shutil.copy(bundle / embedded_nomenclature.FILE, artifacts)
        embedder, nomenclature = Embedder.of(bundle, say), load_nomenclature(bundle)
        experts.index(embedder, splits.texts, nomenclature.codes, artifacts)
        if choices.tune and not choices.keep_trust:
            trust.learn(
                splits.texts,
                (*splits.held_texts, *of_goods(splits.held)),
                embedder,
                artifacts,
                work,
                encoder=choices.text_encoder,
                seed=choices.seed,
                say=say,
            )
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
    shutil.rmtree(work)


def work_folder(out: Path, splits: Splits, choices: Choices) -> Path:
    """Return the folder of unfinished files: that of a training cut short, if it was the same."""
    work = out / UNFINISHED
    made_from = hashlib.sha256(repr((splits, choices)).encode()).hexdigest()
    record = work / "made_from"
    if not record.exists() or record.read_text() != made_from:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        record.write_text(made_from)
    return work


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
    kept = [embedded_nomenclature.FILE]
    if choices.keep_trust or not choices.tune:
        kept.append(trust.FILE)
    if not choices.tune:
        kept += [*experts.FILES, sources.TUNED_IMAGE]
        refuse_others(before, choices)
    for name in kept:
        if (before / name).exists():
            shutil.copy(before / name, artifacts)
    if choices.tune:
        tune_encoders(splits, artifacts, choices, say)
    write_json(artifacts / MODEL, {"encoders": encoder_names(choices)})


def refuse_others(before: Path, choices: Choices) -> None:
    """Check that a folder holds experts of text, and for the chosen encoder.

    Raises:
        BadEncoder: it does not.
    """
    missing = [name for name in (*experts.FILES, trust.FILE) if not (before / name).exists()]
    if missing:
        raise sources.BadEncoder(
            f"{before} lacks {', '.join(missing)}: leave out --no-tune, or copy the files of "
            "models/artifacts there."
        )
    model = before / MODEL
    written = json.loads(model.read_text()) if model.exists() else {}
    named = written.get("encoders", {}).get("text", sources.PACKAGED)
    if named != choices.text_encoder:
        raise sources.BadEncoder(
            f"{before} holds experts for the text encoder {named!r}: leave out --no-tune."
        )


def uncalibrated(
    embedder: Embedder,
    splits: Splits,
    nomenclature: Nomenclature,
    network: FusionNetwork,
    artifacts: Path,
) -> HsModel:
    """Put the experts together; weights, temperatures, gates and thresholds are yet to choose."""
    chosen = json.loads((artifacts / trust.FILE).read_text())
    past = embedder.embedded(splits.learn)
    calibration = {name: Calibration(1.0, OPEN, ()) for name in MODALITIES}
    calibration["text"] = Calibration(1.0, OPEN, tuple(chosen.pop("least")))
    return HsModel.of(
        nomenclature,
        splits.trained_codes,
        make_index(past, nomenclature),
        network=TorchBackend(network),
        text_experts=TextExperts.load(artifacts, Trust(**chosen)),
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
    """Tune the encoders: hours on a processor, minutes on a GPU.

    A packaged image encoder that is in the folder is not tuned again.
    """
    learn, held = splits.learn, splits.held
    every = experts.every_code()
    experts.learn(
        splits.texts, every, out, encoder=choices.text_encoder, seed=choices.seed, say=say
    )
    tuned = out / sources.TUNED_IMAGE
    if choices.image_encoder == sources.PACKAGED and not tuned.exists():
        say("Tuning the image encoder")
        named = [item.hs6 for item in learn]
        names = sorted({*named, *(item.hs6 for item in held)})
        unfinished = out / "image.unfinished"
        image_encoder.tune(
            pixels(learn),
            np.searchsorted(names, named),
            (pixels(held), np.searchsorted(names, [item.hs6 for item in held])),
            unfinished,
            seed=choices.seed,
            say=say,
        )
        unfinished.replace(tuned)


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
