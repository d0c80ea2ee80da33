"""Goods of known code → heads.safetensors, model.json and peers.csv in models/heads/.

What is learned here is small and committed; pretrained encoders are not. Train on the split
train, choose on valid; test is for `models.evaluate` alone.
"""

import csv
import hashlib
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression

from models import bundle
from models.catalogue import Goods, read
from models.encoders import Encoders
from models.hs import Array, Head, HsModel, load_nomenclature, softmax, unit
from models.image import decode
from models.risk import Groups
from models.train_risk import Embedded, cases, deaf, fit_risk

SAMPLE_ROUNDS: Final = 8
"""How often each goods of the priced sample are taken: they are few."""
SPREAD_PRIOR: Final = 0.35
"""Spread of log unit prices of one code, worth two goods."""


def embed(
    goods: Sequence[Goods], encoders: Encoders, key: str, say: Callable[[str], None]
) -> Embedded:
    """Embed goods, or take their embeddings from the cache."""
    listed = "\n".join(f"{one.item_id} {one.description}" for one in goods)
    name = hashlib.sha256(f"{key}\n{listed}".encode()).hexdigest()[:16]
    file = bundle.cache() / "training" / f"{name}.safetensors"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        photos = []
        for number, one in enumerate(goods):
            photos += encoders.embed_photos([decode(one.image.read_bytes())])
            if number % 1000 == 0:
                say(f"Embedding goods: {number} of {len(goods)} …")
        texts = encoders.embed_texts([one.description for one in goods])
        save_file({"texts": np.stack(texts), "photos": np.stack(photos)}, file)
    arrays = load_file(file)
    return Embedded(np.array([one.hs6 for one in goods]), arrays["texts"], arrays["photos"])


def fit_head(
    vectors: Array, codes: NDArray[np.str_], c: float
) -> tuple[list[str], dict[str, Array]]:
    """Fit a softmax regression; returns the known codes and the head's arrays."""
    centre = vectors.mean(axis=0)
    seen = unit(vectors - centre)
    model = LogisticRegression(C=c, max_iter=300).fit(seen, codes)
    known = [str(code) for code in model.classes_]
    means = np.stack([seen[codes == code].mean(axis=0) for code in known])
    arrays = {
        "centre": centre,
        "weights": model.coef_,
        "biases": model.intercept_,
        "means": unit(means),
    }
    # In C order: safetensors writes the memory as it lies, and the solver's lies transposed.
    return known, {name: array.astype(np.float32, order="C") for name, array in arrays.items()}


def fit_gate(
    hs: HsModel, name: str, learn: Embedded, held: Embedded, seed: int
) -> tuple[float, float, float]:
    """Fit nearness → log-odds that the code is known, on goods held out.

    Half of the chapters are taken as unknown, in turn: a head meets goods of quite another kind.
    """
    text = name == "text"
    vectors, held_vectors = (one.texts if text else one.photos for one in (learn, held))
    chapters = np.array([code[:2] for code in learn.codes])
    held_chapters = np.array([code[:2] for code in held.codes])
    rows, is_known = [], []
    for turn in range(4):
        dice = np.random.default_rng(seed + turn)
        unknown = dice.choice(np.unique(chapters), len(np.unique(chapters)) // 2, replace=False)
        known = sorted(set(learn.codes[~np.isin(chapters, unknown)]))
        centre = vectors[~np.isin(chapters, unknown)].mean(axis=0)
        seen = unit(vectors - centre)
        means = np.stack([seen[learn.codes == code].mean(axis=0) for code in known])
        parts = {"centre": centre, "weights": means, "biases": means[:, 0], "means": unit(means)}
        head = Head.of(hs.codes, known, parts, (0.0, 0.0, 0.0))
        for vector, chapter in zip(held_vectors[::4], held_chapters[::4], strict=True):
            shown = hs.meant(vector) if text else hs.shown(vector)
            everywhere = softmax(hs.sharpness[0 if text else 1] * hs.similarities(shown))
            rows.append(head.nearness(vector, everywhere))
            is_known.append(chapter not in unknown)
    model = LogisticRegression(C=100, max_iter=1000).fit(rows, is_known)
    slopes = model.coef_[0]
    return float(slopes[0]), float(slopes[1]), float(model.intercept_[0])


def choose_sharpness(hs: HsModel, held: Embedded, groups: Groups) -> HsModel:
    """Choose the sharpness of the nomenclature's experts by log-loss on goods held out."""
    places = [groups.code[code] for code in held.codes]

    def text_loss(sharpness: float) -> float:
        model = replace(deaf(hs), sharpness=(sharpness, 1.0))
        return log_loss([model.from_text(v).probabilities for v in held.texts[::4]], places[::4])

    def photo_loss(sharpness: float) -> float:
        model = replace(deaf(hs), sharpness=(1.0, sharpness))
        return log_loss([model.from_photo(v).probabilities for v in held.photos[::4]], places[::4])

    grid = (5.0, 8.0, 12.0, 16.0, 20.0, 25.0)
    return replace(hs, sharpness=(min(grid, key=text_loss), min(grid, key=photo_loss)))


def log_loss(rows: Sequence[Array], places: Sequence[int]) -> float:
    """Return the mean negative log-probability of the true codes."""
    return -float(np.mean([np.log(row[place]) for row, place in zip(rows, places, strict=True)]))


def choose_weight(hs: HsModel, held: Embedded, groups: Groups) -> HsModel:
    """Choose the weight of the photo beside the text by log-loss on goods held out."""
    places = [groups.code[code] for code in held.codes]
    goods = zip(held.texts, held.photos, strict=True)
    pairs = [(hs.from_text(text), hs.from_photo(photo)) for text, photo in goods]

    def fused_loss(weight: float) -> float:
        model = replace(hs, photo_weight=weight)
        return log_loss([a for t, p in pairs if (a := model.fused(t, p)) is not None], places)

    return replace(hs, photo_weight=min((0.4, 0.6, 0.8, 1.0, 1.2), key=fused_loss))


def peers(goods: Sequence[Goods]) -> list[tuple[str, int, float, float]]:
    """Return code, count, median and spread of the log unit price of each code with prices."""
    prices = defaultdict(list)
    for one in goods:
        if one.price_eur and one.net_mass_kg:
            prices[one.hs6].append(math.log(one.price_eur / one.net_mass_kg))
    table = []
    for hs6, found in sorted(prices.items()):
        median = statistics.median(found)
        squares = sum((x - median) ** 2 for x in found) + 2 * SPREAD_PRIOR**2
        table.append(
            (hs6, len(found), round(median, 4), round(math.sqrt(squares / (len(found) + 1)), 4))
        )
    return table


def train(
    goods: Path, priced: Path, out: Path, *, seed: int = 7, say: Callable[[str], None] = print
) -> None:
    """Learn everything that is committed in models/heads/.

    Args:
        goods: folder of goods with the splits train and valid.
        priced: folder of goods with prices and masses, for the peers and for unfamiliar goods.
        out: where the files go.
        seed: of every choice.
        say: told of progress.
    """
    base = bundle.default_bundle(say)
    encoders = Encoders(base)
    key = bundle.sha256(base / "text.onnx") + bundle.sha256(base / "image.onnx")
    learn = embed(read(goods, "train"), encoders, key, say)
    held = embed(read(goods, "valid"), encoders, key, say)
    nomenclature = load_nomenclature(base)
    groups = Groups.of(nomenclature["codes"])
    arrays: dict[str, Any] = {}
    heads: dict[str, Head] = {}
    for name, c, vectors in (("text", 10.0, learn.texts), ("image", 30.0, learn.photos)):
        say(f"Fitting the {name} head on {len(vectors)} goods …")
        known, fitted = fit_head(vectors, learn.codes, c)
        arrays |= {
            f"{name}.{part}": array.astype(np.float16, order="C") for part, array in fitted.items()
        }
        heads[name] = Head.of(nomenclature["codes"], known, fitted, (0.0, 0.0, -50.0))
    hs = HsModel(
        **nomenclature,
        text_head=heads["text"],
        image_head=heads["image"],
        sharpness=(12.0, 12.0),
        photo_weight=1.0,
    )
    say("Choosing sharpness, gates and weights on valid …")
    hs = choose_sharpness(hs, held, groups)
    gates = {name: fit_gate(hs, name, learn, held, seed) for name in heads}
    hs = replace(
        hs,
        text_head=replace(hs.text_head, gate=gates["text"]),
        image_head=replace(hs.image_head, gate=gates["image"]),
    )
    hs = choose_weight(hs, held, groups)
    say("Fitting the risk model on valid, with irregularities injected …")
    sample = embed(read(priced), encoders, key, say)
    fitted_risk = fit_risk(
        cases(hs, held, groups, encoders, seed=seed)
        + cases(hs, sample, groups, encoders, seed=seed, rounds=SAMPLE_ROUNDS)
    )
    out.mkdir(parents=True, exist_ok=True)
    save_file(arrays, out / "heads.safetensors")
    model = {
        "hs": {
            "known": known,
            "text_gate": [round(x, 6) for x in gates["text"]],
            "image_gate": [round(x, 6) for x in gates["image"]],
            "sharpness": hs.sharpness,
            "photo_weight": hs.photo_weight,
        },
        **fitted_risk,
    }
    (out / "model.json").write_text(json.dumps(model, indent=2) + "\n")
    with (out / "peers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("hs6", "count", "median", "spread"))
        writer.writerows(peers(read(priced)))
    say(f"Wrote {out}")
