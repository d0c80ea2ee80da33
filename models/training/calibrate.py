"""What the HS model's experts are worth, chosen on goods that they were not trained on."""

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

TEMPERATURES: Final = tuple(np.geomspace(0.4, 3.0, 33))
SILENCED: Final = 0.003
"""Share of the goods held out whose kind may be taken for unseen."""
LOG_ODDS_PASSING: Final = math.log(3)
"""At these log-odds the experts that know such goods are heard by half."""


def choose_sharpness(hs: HsModel, held: Embedded) -> HsModel:
    """Choose the sharpness of the nomenclature's experts by log-loss on goods held out."""
    places = [hs.codes.index(code) for code in held.codes][::4]
    pairs = list(zip(held.texts[::4], held.photos[::4], strict=True))
    grid = (5.0, 8.0, 12.0, 16.0, 20.0, 25.0)

    similar = [hs.similar(text, photo) for text, photo in pairs]

    def loss(model: HsModel, name: str) -> float:
        rows = (model.nomenclature_probabilities(one.of(name)) for one in similar)
        return log_loss([row[place] for row, place in zip(rows, places, strict=True)])

    by_text = min(grid, key=lambda s: loss(replace(hs, sharpness=(s, 1.0)), "text"))
    by_photo = min(grid, key=lambda s: loss(replace(hs, sharpness=(1.0, s)), "image"))
    hs = replace(hs, sharpness=(by_text, by_photo))
    weight = min((0.2, 0.4, 0.7, 1.0), key=lambda w: loss(replace(hs, photo_weight=w), "both"))
    hs = replace(hs, photo_weight=weight)

    near = [hs.run_experts(text, photo).neighbours for text, photo in pairs]

    def neighbours_loss(sharpness: float) -> float:
        right = [
            softmax(sharpness * n.best)[n.places == p] for n, p in zip(near, places, strict=True)
        ]
        return log_loss([float(one.sum()) for one in right])

    return replace(hs, neighbour_sharpness=min((5.0, 10.0, 15.0, 20.0, 30.0), key=neighbours_loss))


def log_loss(right: Sequence[float]) -> float:
    """Return the mean negative log of the right codes' probabilities."""
    return -float(np.mean(np.log(np.maximum(right, 1e-9))))


def calibrated(hs: HsModel, held: Embedded, unfamiliar: Embedded) -> HsModel:
    """Fit gates, temperatures and the thresholds of the sets, on goods held out."""
    places = np.searchsorted(hs.codes, held.codes)
    found = {}
    for name in MODALITIES:
        outputs = [
            hs.run_experts(*chosen(name, text, photo))
            for text, photo in zip(held.texts, held.photos, strict=True)
        ]
        gate = fit_gate(hs, name, outputs, unfamiliar)

        def right(temperature: float) -> list[float]:
            now = Calibration(float(temperature), gate, 0.0)  # noqa: B023 - called at once
            posteriors = (hs.combine(one, now) for one in outputs)  # noqa: B023
            return [float(b.probabilities[p]) for b, p in zip(posteriors, places, strict=True)]

        temperature = round(float(min(TEMPERATURES, key=lambda t: log_loss(right(t)))), 4)
        threshold = conformal.threshold(np.array(right(temperature), np.float32))
        found[name] = Calibration(temperature, gate, round(threshold, 8))
    return replace(hs, calibration=found)


def fit_gate(
    hs: HsModel, name: str, held: Sequence[ExpertOutputs], unfamiliar: Embedded
) -> tuple[float, float, float]:
    """Fit similarity to past goods, and the network's certainty → log-odds of a kind seen before.

    Seen are the goods held out, unseen those of the priced sample in chapters without past goods;
    both kinds weigh the same. Then the gate is opened until it lets nearly all of the goods held
    out pass: to silence the network on goods that it knows costs more than to hear it too often.
    """
    chapters = {hs.codes[place][:2] for place in hs.index.codes}
    others = [
        hs.run_experts(*chosen(name, text, photo)).familiarity
        for code, text, photo in zip(
            unfamiliar.codes, unfamiliar.texts, unfamiliar.photos, strict=True
        )
        if code[:2] not in chapters
    ]
    rows = np.array([*(one.familiarity for one in held), *others])
    seen = np.arange(len(rows)) < len(held)
    weight = np.where(seen, 1 / len(held), 1 / len(others)) * len(others)
    model = LogisticRegression(C=100, max_iter=1000).fit(rows, seen, weight)
    slopes = model.coef_[0]
    passing = LOG_ODDS_PASSING - np.quantile(rows[seen] @ slopes, SILENCED)
    offset = max(float(model.intercept_[0]), float(passing))
    return round(float(slopes[0]), 6), round(float(slopes[1]), 6), round(offset, 6)
