"""Weights of the HS model's experts, chosen in a world small enough to see through."""

from dataclasses import replace

import numpy as np
import pytest

from models.encoding.text import GENERAL
from models.hs import conformal
from models.hs.classifier import MODALITIES, Calibration, HsModel, Nomenclature, chosen
from models.hs.exemplars import ExemplarIndex, Projection
from models.training.calibrate import (
    NEIGHBOUR_SHARPNESS,
    PHOTO_WEIGHTS,
    SHARPNESS,
    calibrated,
    choose_sharpness,
    fit_gate,
    log_loss,
)
from models.training.embeddings import Embedded
from models.vectors import softmax

CODES = [f"{chapter}0110" for chapter in range(10, 40)]
TRAINED = 15
"""Codes of past goods; those of the other chapters are unfamiliar."""
TUNED, PHOTO, WORDS = 16, 20, 8


class Nearest:
    """A network that is sure of the code whose texts and photos are nearest."""

    def __init__(self, texts, photos, sureness):
        self.texts, self.photos, self.sureness = texts, photos, sureness

    def run(self, inputs):
        has_text, has_photo = inputs["there"].T
        by_text = inputs["text"] @ self.texts.T * has_text[:, None]
        by_photo = inputs["photo"] @ self.photos.T * has_photo[:, None]
        return (self.sureness * (by_text + by_photo)).astype(np.float32)


@pytest.fixture(scope="module")
def world():
    """An uncalibrated model, held-out goods of its codes, and goods of other chapters."""
    dice = np.random.default_rng(0)

    def vectors(*shape):
        return dice.normal(size=shape).astype(np.float32)

    lines, photos = vectors(len(CODES), GENERAL + TUNED), vectors(len(CODES), PHOTO)

    def goods(places, noise=0.8):
        return Embedded(
            np.array(CODES)[places],
            lines[places] + noise * vectors(len(places), GENERAL + TUNED),
            photos[places] + noise * vectors(len(places), PHOTO),
        )

    past = goods(np.repeat(np.arange(TRAINED), 6))
    nomenclature = Nomenclature.of(
        [f"{code}00" for code in CODES],
        lines,
        [f"word {n}" for n in range(WORDS)],
        vectors(WORDS, GENERAL + TUNED),
        (vectors(WORDS, PHOTO), vectors(WORDS)),
    )
    hs = HsModel.of(
        nomenclature,
        CODES[:TRAINED],
        ExemplarIndex.of(
            np.searchsorted(CODES, past.codes),
            past.tuned_texts,
            past.photos,
            Projection.fitted(past.tuned_texts, 8),
            Projection.fitted(past.photos, 8),
        ),
        network=Nearest(lines[:TRAINED, GENERAL:], photos[:TRAINED], sureness=1.0),
        sharpness=(12.0, 12.0),
        photo_weight=1.0,
        neighbour_sharpness=20.0,
        calibration={name: Calibration(1.0, (0.0, 0.0, 50.0), 0.0) for name in MODALITIES},
    )
    held = goods(np.tile(np.arange(TRAINED), 12))
    return hs, held, goods(np.repeat(np.arange(TRAINED, len(CODES)), 4), noise=1.5)


def test_log_loss_is_zero_of_what_is_certain_and_finite_of_what_is_impossible():
    assert log_loss([1.0, 1.0]) == 0
    assert log_loss([0.5, 0.25]) == pytest.approx(1.5 * np.log(2))
    assert log_loss([0.0]) == pytest.approx(-np.log(1e-9))


def test_the_sharpness_is_the_one_of_least_loss(world):
    """Of texts and past goods, over every fourth of the held-out goods."""
    hs, held, _ = world
    fitted = choose_sharpness(hs, held)
    assert fitted.sharpness[0] in SHARPNESS
    assert fitted.sharpness[1] in SHARPNESS
    assert fitted.photo_weight in PHOTO_WEIGHTS
    assert fitted.neighbour_sharpness in NEIGHBOUR_SHARPNESS
    pairs = list(zip(held.texts, held.photos, strict=True))[::4]
    places = np.searchsorted(hs.codes, held.codes)[::4]

    def loss(sharpness):
        model = replace(hs, sharpness=(sharpness, 1.0))
        rows = (model.nomenclature_probabilities(hs.similar(text, None)) for text, _ in pairs)
        return log_loss([row[place] for row, place in zip(rows, places, strict=True)])

    assert loss(fitted.sharpness[0]) == min(map(loss, SHARPNESS))

    def neighbours_loss(sharpness):
        right = []
        for (text, photo), place in zip(pairs, places, strict=True):
            nearest = hs.run_experts(text, photo).neighbours
            right.append(softmax(sharpness * nearest.best)[nearest.places == place].sum())
        return log_loss(right)

    assert neighbours_loss(fitted.neighbour_sharpness) == min(
        map(neighbours_loss, NEIGHBOUR_SHARPNESS)
    )


@pytest.mark.parametrize("name", MODALITIES)
def test_the_gate_lets_familiar_goods_pass_and_holds_others_back(world, name):
    """Nearly all held-out goods have half weight or more; unfamiliar ones have less."""
    hs, held, unfamiliar = world

    def outputs(goods):
        return [
            hs.run_experts(*chosen(name, text, photo))
            for text, photo in zip(goods.texts, goods.photos, strict=True)
        ]

    gate = fit_gate(hs, name, outputs(held), unfamiliar)
    familiar = np.array([hs.gate_weights(output, gate) for output in outputs(held)])
    others = np.array([hs.gate_weights(output, gate) for output in outputs(unfamiliar)])
    assert (familiar < 0.5).sum() <= 1
    assert others.mean() < familiar.mean()


def test_temperatures_and_sets_fit_the_held_out_goods(world):
    """A network that is too sure is cooled; 95 of 100 sets hold the right code."""
    hs, held, unfamiliar = world
    network = Nearest(hs.network.texts, hs.network.photos, 3 * hs.network.sureness)
    sharp = replace(hs, network=network)
    fitted, sharp = (calibrated(model, held, unfamiliar) for model in (hs, sharp))
    assert fitted.calibration.keys() == set(MODALITIES)
    places = np.searchsorted(hs.codes, held.codes)
    for name in MODALITIES:
        assert sharp.calibration[name].temperature > fitted.calibration[name].temperature
        covered = [
            place
            in conformal.members(
                fitted.posterior(*chosen(name, text, photo)).probabilities,
                fitted.calibration[name].threshold,
            )
            for text, photo, place in zip(held.texts, held.photos, places, strict=True)
        ]
        assert np.mean(covered) >= 0.95
