"""The HS model's experts → their weights, chosen on goods that they were not trained on."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.hs import conformal
from models.hs.classifier import Calibration, ExpertOutputs, HsModel, chosen
from models.training.embeddings import Embedded
from models.vectors import Array, softmax

EVERY: Final = 4
"""Sharpness is chosen on one of so many held-out goods: more would not change it."""
SHARPNESS: Final = (5.0, 8.0, 12.0, 16.0, 20.0, 25.0)
PHOTO_WEIGHTS: Final = (0.2, 0.4, 0.7, 1.0)
NEIGHBOUR_SHARPNESS: Final = (5.0, 10.0, 15.0, 20.0, 30.0)
TEMPERATURES: Final = tuple(np.geomspace(0.4, 3.0, 33))
BELOW_HALF: Final = 0.003
"""Share of the held-out goods for which the trained experts may have less than half weight."""
LOG_ODDS_OF_HALF: Final = math.log(3)
"""Log-odds at which the trained experts have half weight, see `HsModel.gate_weights`."""


def choose_sharpness(hs: HsModel, held: Embedded) -> HsModel:
    """Choose the sharpness of photo words and past goods by log-loss on held-out goods."""
    places = [hs.codes.index(code) for code in held.codes][::EVERY]
    pairs = [(text, photo) for text, photo in held.pairs() if photo is not None][::EVERY]
    evidence = [hs.code_evidence(text, photo) for text, photo in pairs]

    def loss(model: HsModel, name: str) -> float:
        asked = [
            (known.of(name), place)
            for known, place in zip(evidence, places, strict=True)
            if known.text is not None or name == "image"
        ]
        return log_loss([model.general_probabilities(known)[place] for known, place in asked])

    by_photo = min(
        SHARPNESS, key=lambda s: loss(replace(hs, sharpness=(hs.sharpness[0], s)), "image")
    )
    hs = replace(hs, sharpness=(hs.sharpness[0], by_photo))
    hs = replace(
        hs, photo_weight=min(PHOTO_WEIGHTS, key=lambda w: loss(replace(hs, photo_weight=w), "both"))
    )
    neighbours = [hs.run_experts(text, photo).neighbours for text, photo in pairs]

    def neighbours_loss(sharpness: float) -> float:
        right = [
            softmax(sharpness * nearest.best)[nearest.places == place]
            for nearest, place in zip(neighbours, places, strict=True)
        ]
        return log_loss([float(probability.sum()) for probability in right])

    return replace(hs, neighbour_sharpness=min(NEIGHBOUR_SHARPNESS, key=neighbours_loss))


def log_loss(right: Sequence[float] | Array) -> float:
    """Return the mean negative log of the right codes' probabilities."""
    return -float(np.mean(np.log(np.maximum(right, 1e-9))))


def calibrated(
    hs: HsModel, held: Embedded, unfamiliar: Embedded, weights: NDArray[np.float64]
) -> HsModel:
    """Fit gates, temperatures and sets of photos and of both, on held-out goods.

    What text alone says is calibrated already: on texts of sources that were left out of training.

    Args:
        hs: the model, its sharpness chosen.
        held: goods that it was not trained on.
        unfamiliar: the priced sample.
        weights: of the held-out goods in the choice of sets (N,).
    """
    calibration = dict(hs.calibration)
    for name in ("image", "both"):
        asked = [
            (code, *chosen(name, text, photo), weight)
            for code, (text, photo), weight in zip(held.codes, held.pairs(), weights, strict=True)
            if name == "image" or text is not None
        ]
        codes = [str(code) for code, *_ in asked]
        places = np.searchsorted(hs.codes, codes)
        outputs = [hs.run_experts(text, photo) for _, text, photo, _ in asked if photo is not None]
        gate = fit_gate(hs, name, outputs, unfamiliar)

        def probabilities(temperature: float) -> Array:
            candidate = Calibration(float(temperature), gate, ())  # noqa: B023 - called at once
            return np.stack(
                [hs.combine(output, candidate).probabilities for output in outputs]  # noqa: B023
            )

        def loss(temperature: float) -> float:
            return log_loss(probabilities(temperature)[np.arange(len(places)), places])  # noqa: B023

        temperature = round(float(min(TEMPERATURES, key=loss)), 4)
        least = conformal.fitted(
            hs.codes, probabilities(temperature), codes, np.array([weight for *_, weight in asked])
        )
        calibration[name] = Calibration(temperature, gate, least)
    return replace(hs, calibration=calibration)


def fit_gate(
    hs: HsModel, name: str, held: Sequence[ExpertOutputs], unfamiliar: Embedded
) -> tuple[float, float, float]:
    """Fit similarity to past goods, and the network's certainty → log-odds of familiar goods.

    Held-out goods are familiar; those of the priced sample whose codes have no past goods are not;
    both together weigh the same. The offset leaves only 0.3 % of the held-out goods below half
    weight: to ignore the network on familiar goods costs more than to use it too often.

    Args:
        hs: the model, its sharpness chosen.
        name: one of MODALITIES.
        held: outputs for held-out goods.
        unfamiliar: the priced sample.

    Returns:
        The gate, see `Calibration.gate`.
    """
    past = {hs.codes[place] for place in hs.index.codes}
    others = [
        hs.run_experts(text if name == "both" else None, photo).familiarity
        for code, (text, photo) in zip(unfamiliar.codes, unfamiliar.pairs(), strict=True)
        if code not in past and photo is not None
    ]
    rows = np.array([*(outputs.familiarity for outputs in held), *others])
    familiar = np.arange(len(rows)) < len(held)
    weight = np.where(familiar, 1 / len(held), 1 / len(others)) * len(others)
    model = LogisticRegression(C=100, max_iter=1000).fit(rows, familiar, weight)
    slopes = model.coef_[0]
    wide_enough = LOG_ODDS_OF_HALF - np.quantile(rows[familiar] @ slopes, BELOW_HALF)
    offset = max(float(model.intercept_[0]), float(wide_enough))
    return round(float(slopes[0]), 6), round(float(slopes[1]), 6), round(offset, 6)
