"""Goods with irregularities injected → the risk model's weights and the lanes' thresholds.

Two sources. Goods of the valid split teach what goods look like that the network knows. The priced
sample teaches unfamiliar goods, with texts and photos of other kinds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.encoding.encoders import Encoders
from models.hs.classifier import HsModel
from models.risk.model import (
    EVIDENCE,
    Groups,
    Kind,
    RiskModel,
    features,
    modality_posteriors,
    prior_odds,
    tells,
)
from models.training.embeddings import Embedded
from models.vectors import Array

YELLOW_CLEAN: Final = 0.09
RED_CLEAN: Final = 0.01
"""Share of regular goods items that may reach the yellow and the red lane, in each source:
goods of kinds never seen are not inspected more for that."""
NO_PHOTO: Final = 0.15
NO_TEXT: Final = 0.03
REGULAR: Final = "regular"
MADE: Final = (REGULAR, REGULAR, *EVIDENCE)
"""Each goods is taken once for each of these."""
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
class TrainingExample:
    """A goods item, regular or not."""

    features: dict[str, float]
    kind: str
    """REGULAR, or one of EVIDENCE."""
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
) -> list[TrainingExample]:
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
    each = weight / (len(source.codes) * rounds * len(MADE))
    found = []
    for number, code in [*enumerate(source.codes)] * rounds:
        other = int(random.choice(np.flatnonzero(chapters != code[:2])))
        wrong = _wrong_code(code, np.array(hs.codes), source.texts[number], hs, random)
        for kind in MADE:
            text: Array | None = source.texts[number]
            photo: Array | None = source.photos[other if kind == "wrong_photo" else number]
            if kind == "vague_text":
                text = vague[int(random.integers(len(vague)))]
            if random.random() < NO_PHOTO and kind != "wrong_photo":
                photo = None
            elif random.random() < NO_TEXT and kind != "vague_text":
                text = None
            evidence = features(
                groups,
                wrong if kind == "wrong_code" else code,
                modality_posteriors(hs, text, () if photo is None else (photo,)),
            )
            found.append(TrainingExample(evidence, kind, number, each))
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


def fit_risk(*sources: Sequence[TrainingExample]) -> dict[str, Any]:
    """Fit the risk model, and choose the thresholds by models that did not see the goods in hand.

    Of the two halves of the goods, each is judged by the model fitted on the other; the weights
    that are returned are fitted on both.
    """
    every = [case for cases_of_one in sources for case in cases_of_one]
    halves = [_fit([case for case in every if case.goods % 2 != half]) for half in (0, 1)]
    thresholds = []
    for cases_of_one in sources:
        regular = (case for case in cases_of_one if case.kind == REGULAR)
        risks = [halves[case.goods % 2].risk(case.features) for case in regular]
        thresholds.append(np.quantile(risks, (1 - YELLOW_CLEAN, 1 - RED_CLEAN)))
    yellow, red = np.max(thresholds, axis=0)
    model = _fit(every)
    return {
        "risk": {
            "kinds": {kind: asdict(one) for kind, one in model.kinds.items()},
            "usual": model.usual,
        },
        "policy": {"yellow": round(float(yellow), 4), "red": round(float(red), 4)},
    }


def _fit(found: Sequence[TrainingExample]) -> RiskModel:
    usual = _usual([case for case in found if case.kind == REGULAR])
    kinds = {kind: _fit_kind(kind, found, usual) for kind in EVIDENCE}
    return RiskModel(kinds, usual, peers={})


def _usual(regular: Sequence[TrainingExample]) -> dict[str, float]:
    """Return the mean of each feature over the goods that have it; nothing is usually missing."""
    found = {}
    for name in {name for evidence in EVIDENCE.values() for name in evidence}:
        there = [case for case in regular if name in case.features]
        values, weights = [case.features[name] for case in there], [case.weight for case in there]
        missing = name.endswith("missing")
        found[name] = 0.0 if missing else round(float(np.average(values, weights=weights)), 6)
    return dict(sorted(found.items()))


def _fit_kind(
    kind: str, cases_of_all: Sequence[TrainingExample], usual: Mapping[str, float]
) -> Kind:
    """Fit one kind against regular goods, as if both were as frequent; then set its prior odds."""
    found = [
        one for one in cases_of_all if one.kind in {REGULAR, kind} and tells(kind, one.features)
    ]
    names = list(EVIDENCE[kind])
    rows = np.array(
        [[one.features.get(name, usual[name]) - usual[name] for name in names] for one in found]
    )
    labels = np.array([one.kind == kind for one in found])
    weight = np.array([one.weight for one in found])
    for label in (False, True):
        weight[labels == label] *= len(found) / 2 / weight[labels == label].sum()
    free = np.array([name == "unfamiliar" for name in names])
    raises = np.array([name.endswith("missing") for name in names])
    weights, base = fit_signed(rows, labels, weight, free=free, raises=raises)
    return Kind(
        base=round(base + math.log(prior_odds(kind)), 6),
        weights={name: round(float(w), 6) for name, w in zip(names, weights, strict=True)},
    )


def fit_signed(
    rows: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    free: NDArray[np.bool_],
    raises: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression in which consistent evidence never raises the risk.

    Without the signs, two pieces of evidence that say nearly the same take opposite ones, and
    fail on goods unlike those of the training.

    Args:
        rows: (N, F).
        labels: (N,).
        weight: (N,).
        free: (F,): which weights may have any sign.
        raises: (F,): which may not be negative; all others may not be positive.

    Returns:
        Weights (F,) and the offset.
    """
    targets = np.where(labels, 1.0, -1.0)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = targets * (rows @ w[:-1] + w[-1])
        gradient = -targets * weight / (1 + np.exp(margin))
        total = float((weight * np.logaddexp(0, -margin)).sum() + 0.5 * (w[:-1] ** 2).sum())
        return total, np.append(rows.T @ gradient + w[:-1], gradient.sum())

    low = np.where(raises, 0.0, -np.inf)
    high = np.where(raises | free, np.inf, 0.0)
    bounds = [*zip(low, high, strict=True), (-np.inf, np.inf)]
    start = np.zeros(rows.shape[1] + 1)
    fitted = minimize(loss, start, jac=True, bounds=bounds)
    return fitted.x[:-1], float(fitted.x[-1])
