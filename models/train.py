"""Goods of known code → heads.safetensors, model.json and peers.csv in models/heads/.

What is learned here is small and committed; pretrained encoders are not. Train on the split
train, choose on valid; test is for `models.evaluate` alone.

The risk model is fitted on goods of valid with irregularities injected. For half of the codes the
heads are withheld while it is fitted, so that it learns how far to trust the nomenclature's texts
alone: most of what it will judge has codes that no head knows.
"""

import csv
import hashlib
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from models import bundle
from models.catalogue import Goods, read
from models.encoders import Encoders
from models.hs import Array, Head, HsModel, load_nomenclature, softmax, unit
from models.image import decode
from models.risk import FEATURES, Groups, features

BASE_RATE: Final = 0.15
"""Assumed share of irregular goods items; no public data with photos tells it."""
YELLOW_CLEAN: Final = 0.05
RED_CLEAN: Final = 0.01
"""Share of regular goods that may reach the yellow and the red lane, on data held out."""
WITHHELD: Final = 0.5
"""Share of codes whose goods the risk model meets without their heads."""
VAGUE: Final = (
    "parts",
    "gift",
    "goods",
    "accessories",
    "sample",
    "items",
    "misc articles",
    "personal effects",
)
SPREAD_PRIOR: Final = 0.35
"""Spread of log unit prices of one code, worth two goods."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Goods with their embeddings."""

    codes: NDArray[np.str_]  # (N,)
    texts: Array  # (N, D)
    photos: Array  # (N, I)


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
            shown = vector if text else hs.shown(vector)
            everywhere = softmax(hs.sharpness[0 if text else 1] * hs.similarities(shown))
            rows.append(head.nearness(vector, everywhere))
            is_known.append(chapter not in unknown)
    model = LogisticRegression(C=100, max_iter=1000).fit(rows, is_known)
    slopes = model.coef_[0]
    return float(slopes[0]), float(slopes[1]), float(model.intercept_[0])


def deaf(hs: HsModel) -> HsModel:
    """Return the model without its heads: as for goods whose codes they do not know."""
    never = (0.0, 0.0, -50.0)
    return replace(
        hs,
        text_head=replace(hs.text_head, gate=never),
        image_head=replace(hs.image_head, gate=never),
    )


def choose_sharpness(hs: HsModel, held: Embedded, groups: Groups) -> HsModel:
    """Choose the sharpness of the nomenclature's experts by log-loss on goods held out."""
    places = [groups.code[code] for code in held.codes]

    def text_loss(sharpness: float) -> float:
        model = replace(deaf(hs), sharpness=(sharpness, 1.0))
        return log_loss([model.from_text(v) for v in held.texts[::4]], places[::4])

    def photo_loss(sharpness: float) -> float:
        model = replace(deaf(hs), sharpness=(1.0, sharpness))
        return log_loss([model.from_photo(v) for v in held.photos[::4]], places[::4])

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


def cases(
    hs: HsModel, held: Embedded, groups: Groups, encoders: Encoders, seed: int
) -> tuple[list[dict[str, float]], list[bool], list[int]]:
    """Make regular and irregular goods items; features, label and number of the goods of each."""
    random = np.random.default_rng(seed)
    withheld = set(
        random.choice(
            np.unique(held.codes), int(WITHHELD * len(np.unique(held.codes))), replace=False
        )
    )
    vague = encoders.embed_texts(VAGUE)
    found: list[dict[str, float]] = []
    irregular: list[bool] = []
    origin: list[int] = []
    chapters = np.array([code[:2] for code in held.codes])
    codes = np.array(hs.codes)
    for number, code in enumerate(held.codes):
        model = deaf(hs) if code in withheld else hs
        other = int(random.choice(np.flatnonzero(chapters != code[:2])))
        wrong = _wrong_code(code, codes, held.texts[number], hs, random)
        for kind in ("regular", "regular", "wrong_code", "wrong_photo", "vague"):
            text: Array | None = held.texts[number]
            photo: Array | None = held.photos[other if kind == "wrong_photo" else number]
            if kind == "vague":
                text = vague[int(random.integers(len(vague)))]
            if random.random() < 0.15 and kind != "wrong_photo":  # noqa: PLR2004 - a share
                photo = None
            elif random.random() < 0.03 and kind != "vague":  # noqa: PLR2004 - a share
                text = None
            agreement = None if text is None or photo is None else hs.agreement(text, photo)
            found.append(
                features(
                    groups,
                    wrong if kind == "wrong_code" else code,
                    None if text is None else model.from_text(text),
                    None if photo is None else model.from_photo(photo),
                    agreement,
                )
            )
            irregular.append(kind != "regular")
            origin.append(number)
    return found, irregular, origin


def _wrong_code(
    code: str, codes: NDArray[np.str_], text: Array, hs: HsModel, random: np.random.Generator
) -> str:
    """Choose the code of a false declaration: mostly a neighbour, sometimes any."""
    dice = random.random()
    if dice < 0.6:  # noqa: PLR2004 - a share
        near = [c for c in codes if c[:2] == code[:2] and c[:4] != code[:4]]
    elif dice < 0.85:  # noqa: PLR2004 - a share
        order = np.argsort(-hs.similarities(text))[:200]
        near = [c for c in codes[order] if c[:4] != code[:4]]
    else:
        near = [c for c in codes if c[:4] != code[:4]]
    return str(random.choice(near))


def fit_risk(
    found: list[dict[str, float]], irregular: list[bool], origin: list[int]
) -> dict[str, Any]:
    """Fit the risk model on half of the goods, choose the lanes' thresholds on the other half."""
    labels = np.array(irregular)
    first = np.array(origin) % 2 == 0
    usual = {
        name: float(
            np.mean(
                [
                    f[name]
                    for f, bad in zip(found, irregular, strict=True)
                    if not bad and _there(name, f)
                ]
            )
        )
        for name in FEATURES
        if not name.endswith("missing")
    } | {"text_missing": 0.0, "photo_missing": 0.0}
    rows = np.array([[f[n] - usual[n] if _there(n, f) else 0.0 for n in FEATURES] for f in found])
    weight = np.where(labels, BASE_RATE / labels.mean(), (1 - BASE_RATE) / (1 - labels.mean()))
    coefficients, base = fit_signed(rows[first], labels[first], weight[first])
    risk = 1 / (1 + np.exp(-(base + rows[~first] @ coefficients)))
    clean = risk[~labels[~first]]
    return {
        "risk": {
            "weights": {
                name: round(float(w), 6) for name, w in zip(FEATURES, coefficients, strict=True)
            },
            "usual": {name: round(value, 6) for name, value in usual.items()},
            "base": round(base, 6),
        },
        "policy": {
            "yellow": round(float(np.quantile(clean, 1 - YELLOW_CLEAN)), 4),
            "red": round(float(np.quantile(clean, 1 - RED_CLEAN)), 4),
        },
    }


def fit_signed(
    rows: NDArray[np.float64], labels: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression in which consistent evidence never raises the risk.

    Without the signs, two pieces of evidence that say nearly the same take opposite ones, and
    fail on goods unlike those of the training.

    Returns:
        Weights (F,): at most 0 but for what is missing, where at least 0; and the offset.
    """
    targets = np.where(labels, 1.0, -1.0)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = targets * (rows @ w[:-1] + w[-1])
        gradient = -targets * weight / (1 + np.exp(margin))
        total = float((weight * np.logaddexp(0, -margin)).sum() + 0.5 * (w[:-1] ** 2).sum())
        return total, np.append(rows.T @ gradient + w[:-1], gradient.sum())

    bounds = [(0, None) if name.endswith("missing") else (None, 0) for name in FEATURES]
    start = np.zeros(rows.shape[1] + 1)
    fitted = minimize(loss, start, jac=True, bounds=[*bounds, (None, None)])
    return fitted.x[:-1], float(fitted.x[-1])


def _there(name: str, found: dict[str, float]) -> bool:
    if name.endswith("missing"):
        return True
    text, photo = not found["text_missing"], not found["photo_missing"]
    return (
        text if name.startswith("text") else photo if name.startswith("photo") else text and photo
    )


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
        priced: folder of goods with prices and masses, for the peers.
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
    fitted_risk = fit_risk(*cases(hs, held, groups, encoders, seed))
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
