"""The HS model's experts → their weights, chosen on goods that they were not trained on."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from models.hs import conformal
from models.hs.classifier import MODALITIES, Calibration, ExpertOutputs, HsModel, chosen
from models.training.embeddings import Embedded
from models.vectors import softmax

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
    """Choose the sharpness of nomenclature texts and past goods by log-loss on held-out goods."""
    places = [hs.codes.index(code) for code in held.codes][::EVERY]
    pairs = list(zip(held.texts[::EVERY], held.photos[::EVERY], strict=True))
    similarities = [hs.similar(text, photo) for text, photo in pairs]

    def loss(model: HsModel, name: str) -> float:
        rows = (model.nomenclature_probabilities(similar.of(name)) for similar in similarities)
        return log_loss([row[place] for row, place in zip(rows, places, strict=True)])

    by_text = min(SHARPNESS, key=lambda s: loss(replace(hs, sharpness=(s, 1.0)), "text"))
    by_photo = min(SHARPNESS, key=lambda s: loss(replace(hs, sharpness=(1.0, s)), "image"))
    hs = replace(hs, sharpness=(by_text, by_photo))
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


def log_loss(right: Sequence[float]) -> float:
    """Return the mean negative log of the right codes' probabilities."""
    return -float(np.mean(np.log(np.maximum(right, 1e-9))))


def calibrated(hs: HsModel, held: Embedded, unfamiliar: Embedded) -> HsModel:
    """Fit gates, temperatures and the thresholds of the sets, on held-out goods."""
    places = np.searchsorted(hs.codes, held.codes)
    calibration = {}
    for name in MODALITIES:
        outputs = [
            hs.run_experts(*chosen(name, text, photo))
            for text, photo in zip(held.texts, held.photos, strict=True)
        ]
        gate = fit_gate(hs, name, outputs, unfamiliar)

        def right(temperature: float) -> list[float]:
            candidate = Calibration(float(temperature), gate, 0.0)  # noqa: B023 - called at once
            posteriors = (hs.combine(output, candidate) for output in outputs)  # noqa: B023
            return [
                float(posterior.probabilities[place])
                for posterior, place in zip(posteriors, places, strict=True)
            ]

        temperature = round(float(min(TEMPERATURES, key=lambda t: log_loss(right(t)))), 4)
        threshold = conformal.threshold(np.array(right(temperature), np.float32))
        calibration[name] = Calibration(temperature, gate, round(threshold, 8))
    return replace(hs, calibration=calibration)


def fit_gate(
    hs: HsModel, name: str, held: Sequence[ExpertOutputs], unfamiliar: Embedded
) -> tuple[float, float, float]:
    """Fit similarity to past goods, and the network's certainty → log-odds of familiar goods.

    Held-out goods are familiar; those of the priced sample in chapters without past goods are not;
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
    chapters = {hs.codes[place][:2] for place in hs.index.codes}
    others = [
        hs.run_experts(*chosen(name, text, photo)).familiarity
        for code, text, photo in zip(
            unfamiliar.codes, unfamiliar.texts, unfamiliar.photos, strict=True
        )
        if code[:2] not in chapters
    ]
    rows = np.array([*(outputs.familiarity for outputs in held), *others])
    familiar = np.arange(len(rows)) < len(held)
    weight = np.where(familiar, 1 / len(held), 1 / len(others)) * len(others)
    model = LogisticRegression(C=100, max_iter=1000).fit(rows, familiar, weight)
    slopes = model.coef_[0]
    wide_enough = LOG_ODDS_OF_HALF - np.quantile(rows[familiar] @ slopes, BELOW_HALF)
    offset = max(float(model.intercept_[0]), float(wide_enough))
    return round(float(slopes[0]), 6), round(float(slopes[1]), 6), round(offset, 6)
