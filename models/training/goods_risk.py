"""Goods with irregularities injected → the risk model's weights and the lanes' thresholds.

There are two sources. Goods of the valid split stand for goods that the network was trained on. The
priced sample stands for unfamiliar goods, with texts and photos of other kinds.
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
from models.hs.modalities import GoodsEmbeddings, modality_posteriors
from models.risk.kinds import (
    LEARNED,
    VAGUE_TEXT,
    WRONG_CODE,
    WRONG_PHOTO,
    WRONG_SUBHEADING,
    LearnedKind,
    prior_odds,
)
from models.risk.model import Groups, KindRegression, RiskModel, features
from models.training.embeddings import Embedded
from models.vectors import Array

YELLOW_CLEAN: Final = 0.09
"""Share of regular goods items that may reach the yellow lane, in each source: unfamiliar goods are
not inspected more for being unfamiliar."""
RED_CLEAN: Final = 0.01
"""Share of regular goods items that may reach the red lane, over all sources: the sample has so few
goods that one which looks wrong would close that lane."""
NO_PHOTO: Final = 0.15
NO_TEXT: Final = 0.03
REGULAR: Final = "regular"
MADE: Final = (REGULAR, REGULAR, *(kind.name for kind in LEARNED))
"""One example of each is made of all goods."""
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
    """REGULAR, or a name of LEARNED."""
    goods: int
    """Number of the goods that it was made of: all their examples fall into one half."""
    weight: float


def training_examples(
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
        rounds: how often all goods are used.
        weight: of all examples together.
    """
    random = np.random.default_rng(seed)
    vague = encoders.embed_texts(VAGUE)
    chapters = np.array([code[:2] for code in source.codes])
    each = weight / (len(source.codes) * rounds * len(MADE))
    examples, pairs = [], list(source.pairs())
    for number, code in [*enumerate(source.codes)] * rounds:
        other = int(random.choice(np.flatnonzero(chapters != code[:2])))
        own_text, own_photo = pairs[number]
        declared = {
            WRONG_CODE.name: _wrong_code(code, np.array(hs.codes), own_text, hs, random),
            WRONG_SUBHEADING.name: _wrong_subheading(code, hs.codes, random),
        }
        for kind in MADE:
            if declared.get(kind) == code:
                continue  # the heading has no other subheading
            if kind == WRONG_PHOTO.name and (own_photo is None or own_text is None):
                continue
            text, photo = own_text, pairs[other][1] if kind == WRONG_PHOTO.name else own_photo
            if kind == VAGUE_TEXT.name:
                text = vague[int(random.integers(len(vague)))]
            if random.random() < NO_PHOTO and kind != WRONG_PHOTO.name:
                photo = None
            elif random.random() < NO_TEXT and kind != VAGUE_TEXT.name:
                text = None
            if text is None and photo is None:
                continue
            item_features = features(
                groups,
                declared.get(kind, code),
                modality_posteriors(hs, [GoodsEmbeddings(text, () if photo is None else (photo,))])[
                    0
                ],
            )
            examples.append(TrainingExample(item_features, kind, number, each))
    return examples


def _wrong_code(
    code: str, codes: NDArray[np.str_], text: Array | None, hs: HsModel, random: np.random.Generator
) -> str:
    """Choose the code of a false declaration: mostly a near one, sometimes any."""
    dice = random.random()
    if dice < 0.6:  # noqa: PLR2004 - a share
        candidates = [c for c in codes if c[:2] == code[:2] and c[:4] != code[:4]]
    elif dice < 0.85 and text is not None:  # noqa: PLR2004 - a share
        order = np.argsort(-hs.text_experts.log_probabilities(text))[:200]
        candidates = [c for c in codes[order] if c[:4] != code[:4]]
    else:
        candidates = [c for c in codes if c[:4] != code[:4]]
    return str(random.choice(candidates))


def _wrong_subheading(code: str, codes: Sequence[str], random: np.random.Generator) -> str:
    """Choose another subheading of the heading; the code itself where there is none."""
    others = [other for other in codes if other[:4] == code[:4] and other != code]
    return str(random.choice(others or [code]))


def fit_risk(
    *sources: Sequence[TrainingExample], declared: Sequence[TrainingExample] = ()
) -> dict[str, Any]:
    """Fit the risk model, and choose the thresholds by models that did not see the goods in hand.

    The model fitted on one half of the goods judges the other half; the weights that are returned
    are fitted on both.

    Args:
        sources: examples of each.
        declared: examples whose codes were declared by traders, so that some regular ones are not:
            to fit on, but not to choose thresholds by.
    """
    examples = [example for source in (*sources, declared) for example in source]
    halves = [_fit([example for example in examples if example.goods % 2 != n]) for n in (0, 1)]
    risks = [
        [
            halves[example.goods % 2].risk(example.features)
            for example in source
            if example.kind == REGULAR
        ]
        for source in sources
    ]
    yellow = max(np.quantile(of_source, 1 - YELLOW_CLEAN) for of_source in risks)
    weights = np.concatenate([np.full(len(of_source), 1 / len(of_source)) for of_source in risks])
    red = np.quantile(np.concatenate(risks), 1 - RED_CLEAN, weights=weights, method="inverted_cdf")
    model = _fit(examples)
    return {
        "risk": {
            "kinds": {name: asdict(fitted) for name, fitted in model.regressions.items()},
            "usual": model.usual,
        },
        "policy": {"yellow": round(float(yellow), 4), "red": round(float(red), 4)},
    }


def _fit(examples: Sequence[TrainingExample]) -> RiskModel:
    usual = _usual([example for example in examples if example.kind == REGULAR])
    regressions = {kind.name: _fit_kind(kind, examples, usual) for kind in LEARNED}
    return RiskModel(regressions, usual, peers={})


def _usual(regular: Sequence[TrainingExample]) -> dict[str, float]:
    """Return the mean of each feature over the goods that have it; nothing is usually missing."""
    means = {}
    for name in sorted({name for kind in LEARNED for name in kind.features}):
        having = [example for example in regular if name in example.features]
        values = [example.features[name] for example in having]
        weights = [example.weight for example in having]
        missing = name.endswith("missing")
        means[name] = 0.0 if missing else round(float(np.average(values, weights=weights)), 6)
    return means


def _fit_kind(
    kind: LearnedKind, examples: Sequence[TrainingExample], usual: Mapping[str, float]
) -> KindRegression:
    """Fit one kind against regular goods, as if both were as frequent; then set its prior odds."""
    usable = [
        example
        for example in examples
        if example.kind in {REGULAR, kind.name} and kind.has_evidence(example.features)
    ]
    names = list(kind.features)
    rows = np.array(
        [
            [example.features.get(name, usual[name]) - usual[name] for name in names]
            for example in usable
        ]
    )
    labels = np.array([example.kind == kind.name for example in usable])
    weight = np.array([example.weight for example in usable])
    for label in (False, True):
        weight[labels == label] *= len(usable) / 2 / weight[labels == label].sum()
    free = np.array([name == "unfamiliar" for name in names])
    raises = np.array([name.endswith("missing") for name in names])
    weights, base = fit_signed(rows, labels, weight, free=free, raises=raises)
    return KindRegression(
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

    Without this bound, the weights of two nearly equal features take opposite signs, and mislead on
    goods unlike the training goods.

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
