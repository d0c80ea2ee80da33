"""Goods with irregularities injected → the risk model's weights and the lanes' thresholds.

Two sources. Goods of the valid split teach what goods look like that the network knows. The priced
sample teaches unfamiliar goods, with texts and
photos of other kinds. Of both, half of the goods fit the weights and the other half choose the
thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.embedder import Embedded
from models.encoders import Encoders
from models.hs import HsModel
from models.risk import FEATURES, Groups, believed, features
from models.vectors import Array

BASE_RATE: Final = 0.15
"""Assumed share of irregular goods items; no public data with photos tells it."""
YELLOW_CLEAN: Final = 0.115
RED_CLEAN: Final = 0.01
"""Share of regular goods items that may reach the yellow and the red lane, on goods held out of
each source: goods of kinds never seen are not inspected more for that."""
NO_PHOTO: Final = 0.15
NO_TEXT: Final = 0.03
KINDS: Final = ("regular", "regular", "wrong_code", "wrong_photo", "vague")
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


@dataclass(frozen=True, slots=True)
class Case:
    """A goods item, regular or not."""

    features: dict[str, float]
    irregular: bool
    goods: int
    """Number of the goods it was made of: those of one half never meet the other half."""
    weight: float


def cases(
    hs: HsModel,
    source: Embedded,
    groups: Groups,
    encoders: Encoders,
    *,
    seed: int,
    rounds: int = 1,
    weight: float = 1.0,
) -> list[Case]:
    """Make regular and irregular goods items.

    Args:
        hs: calibrated.
        source: goods that it was not trained on.
        groups: of the nomenclature.
        encoders: for vague texts.
        seed: of every choice.
        rounds: how often each goods are taken.
        weight: of all cases together.
    """
    random = np.random.default_rng(seed)
    vague = encoders.embed_texts(VAGUE)
    chapters = np.array([code[:2] for code in source.codes])
    each = weight / (len(source.codes) * rounds * len(KINDS))
    found = []
    for number, code in [*enumerate(source.codes)] * rounds:
        other = int(random.choice(np.flatnonzero(chapters != code[:2])))
        wrong = _wrong_code(code, np.array(hs.codes), source.texts[number], hs, random)
        for kind in KINDS:
            text: Array | None = source.texts[number]
            photo: Array | None = source.photos[other if kind == "wrong_photo" else number]
            if kind == "vague":
                text = vague[int(random.integers(len(vague)))]
            if random.random() < NO_PHOTO and kind != "wrong_photo":
                photo = None
            elif random.random() < NO_TEXT and kind != "vague":
                text = None
            evidence = features(
                groups,
                wrong if kind == "wrong_code" else code,
                believed(hs, text, () if photo is None else (photo,)),
            )
            found.append(Case(evidence, kind != "regular", number, each))
    return found


def _wrong_code(
    code: str, codes: NDArray[np.str_], text: Array, hs: HsModel, random: np.random.Generator
) -> str:
    """Choose the code of a false declaration: mostly a neighbour, sometimes any."""
    dice = random.random()
    if dice < 0.6:  # noqa: PLR2004 - a share
        near = [c for c in codes if c[:2] == code[:2] and c[:4] != code[:4]]
    elif dice < 0.85:  # noqa: PLR2004 - a share
        order = np.argsort(-hs.nomenclature.similarities(hs.nomenclature.meant(text)))[:200]
        near = [c for c in codes[order] if c[:4] != code[:4]]
    else:
        near = [c for c in codes if c[:4] != code[:4]]
    return str(random.choice(near))


def fit_risk(*sources: Sequence[Case]) -> dict[str, Any]:
    """Fit the weights on half of each source's goods, choose the thresholds on the other half."""
    found = [case for cases_of_one in sources for case in cases_of_one]
    source = np.repeat(range(len(sources)), [len(one) for one in sources])
    labels = np.array([case.irregular for case in found])
    first = np.array([case.goods % 2 == 0 for case in found])
    weight = np.array([case.weight for case in found])
    usual = {name: _usual(name, found) for name in FEATURES}
    rows = np.array(
        [
            [case.features[n] - usual[n] if _there(n, case.features) else 0.0 for n in FEATURES]
            for case in found
        ]
    )
    irregular = weight[labels].sum() / weight.sum()
    prior = np.where(labels, BASE_RATE / irregular, (1 - BASE_RATE) / (1 - irregular))
    balanced = weight * prior * len(found) / weight.sum()
    coefficients, base = fit_signed(rows[first], labels[first], balanced[first])
    held = ~first & ~labels
    risk = 1 / (1 + np.exp(-(base + rows[held] @ coefficients)))
    yellow, red = np.max(
        [
            np.quantile(risk[source[held] == one], (1 - YELLOW_CLEAN, 1 - RED_CLEAN))
            for one in range(len(sources))
        ],
        axis=0,
    )
    return {
        "risk": {
            "weights": {n: round(float(w), 6) for n, w in zip(FEATURES, coefficients, strict=True)},
            "usual": {name: round(value, 6) for name, value in usual.items()},
            "base": round(base, 6),
        },
        "policy": {"yellow": round(float(yellow), 4), "red": round(float(red), 4)},
    }


def fit_signed(
    rows: NDArray[np.float64], labels: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression in which consistent evidence never raises the risk.

    Without the signs, two pieces of evidence that say nearly the same take opposite ones, and
    fail on goods unlike those of the training.

    Returns:
        Weights (F,): at most 0, of what is missing at least 0, of `unfamiliar` any; and the offset.
    """
    targets = np.where(labels, 1.0, -1.0)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = targets * (rows @ w[:-1] + w[-1])
        gradient = -targets * weight / (1 + np.exp(margin))
        total = float((weight * np.logaddexp(0, -margin)).sum() + 0.5 * (w[:-1] ** 2).sum())
        return total, np.append(rows.T @ gradient + w[:-1], gradient.sum())

    free = {"unfamiliar"}
    bounds = [
        (0, None) if name.endswith("missing") else (None, None if name in free else 0)
        for name in FEATURES
    ]
    start = np.zeros(rows.shape[1] + 1)
    fitted = minimize(loss, start, jac=True, bounds=[*bounds, (None, None)])
    return fitted.x[:-1], float(fitted.x[-1])


def _there(name: str, found: dict[str, float]) -> bool:
    if name.endswith("missing"):
        return True
    text, photo = not found["text_missing"], not found["photo_missing"]
    if name.startswith("text"):
        return text
    return photo if name.startswith("photo") else text and photo


def _usual(name: str, found: Sequence[Case]) -> float:
    """Return the mean of a feature over regular goods that have it."""
    if name.endswith("missing"):
        return 0.0
    there = [case for case in found if not case.irregular and _there(name, case.features)]
    values, weights = [case.features[name] for case in there], [case.weight for case in there]
    return float(np.average(values, weights=weights))
