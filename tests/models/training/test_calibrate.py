"""Weights of the HS model's experts, chosen in a world small enough to see through."""

from dataclasses import replace

import numpy as np
import pytest

from models.encoding.text import NGRAMS
from models.hs.classifier import MODALITIES, Calibration, HsModel, chosen
from models.hs.conformal import NEVER
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.exemplars import ExemplarIndex, Projection
from models.hs.text_experts import Head, TextExperts, Trust
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
MEANING, PHOTO, WORDS = 16, 20, 8


LEAST = (0.01, 0.02, 0.03)
"""Of text, which is calibrated before."""


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

    texts, photos = vectors(len(CODES), NGRAMS + MEANING), vectors(len(CODES), PHOTO)
    lines = texts[:, NGRAMS:]

    def goods(places, noise=0.8):
        return Embedded(
            np.array(CODES)[places],
            texts[places] + noise * vectors(len(places), NGRAMS + MEANING),
            photos[places] + noise * vectors(len(places), PHOTO),
        )

    past = goods(np.repeat(np.arange(TRAINED), 6))
    places = np.searchsorted(CODES, past.codes)
    projection = Projection.fitted(past.meanings, 8)
    nomenclature = Nomenclature.of(
        [f"{code}00" for code in CODES],
        lines,
        [f"word {n}" for n in range(WORDS)],
        vectors(WORDS, MEANING),
        (vectors(WORDS, PHOTO), vectors(WORDS)),
    )
    hs = HsModel.of(
        nomenclature,
        CODES[:TRAINED],
        ExemplarIndex.of(
            places, past.meanings, past.photos, projection, Projection.fitted(past.photos, 8)
        ),
        network=Nearest(lines[:TRAINED], photos[:TRAINED], sureness=1.0),
        text_experts=TextExperts(
            Head(0.02 * lines, np.zeros(len(CODES), np.float32)),
            Head(0.02 * texts[:, :NGRAMS], np.zeros(len(CODES), np.float32)),
            places,
            projection(past.meanings),
            projection,
            Trust(0.3, 0.3, 2.0, (0.0,) * 7),
        ),
        sharpness=(12.0, 12.0),
        photo_weight=1.0,
        neighbour_sharpness=20.0,
        calibration={name: Calibration(1.0, (0.0, 0.0, 50.0), LEAST) for name in MODALITIES},
    )
    held = goods(np.tile(np.arange(TRAINED), 12))
    return hs, held, goods(np.repeat(np.arange(TRAINED, len(CODES)), 4), noise=1.5)


def test_log_loss_is_zero_of_what_is_certain_and_finite_of_what_is_impossible():
    assert log_loss([1.0, 1.0]) == 0
    assert log_loss([0.5, 0.25]) == pytest.approx(1.5 * np.log(2))
    assert log_loss([0.0]) == pytest.approx(-np.log(1e-9))


def harder(held):
    """Return held-out goods that are less like those of before, every third by a photo alone."""
    dice = np.random.default_rng(1)
    texts, photos = (rows + 2 * dice.normal(size=rows.shape) for rows in (held.texts, held.photos))
    texts[::3] = 0
    return Embedded(held.codes, texts.astype(np.float32), photos.astype(np.float32))


def test_the_sharpness_is_the_one_of_least_loss(world):
    """Of photo words and past goods, over every fourth of the held-out goods."""
    hs, held, _ = world
    fitted = choose_sharpness(hs, held)
    assert fitted.sharpness[0] == hs.sharpness[0]
    assert fitted.sharpness[1] in SHARPNESS
    assert fitted.photo_weight in PHOTO_WEIGHTS
    assert fitted.neighbour_sharpness in NEIGHBOUR_SHARPNESS
    pairs = list(held.pairs())[::4]
    places = np.searchsorted(hs.codes, held.codes)[::4]

    def loss(name, **changes):
        model = replace(hs, **changes)
        rows = (
            model.general_probabilities(hs.code_evidence(*chosen(name, *pair))) for pair in pairs
        )
        return log_loss([row[place] for row, place in zip(rows, places, strict=True)])

    def photo_loss(sharpness):
        return loss("image", sharpness=(12.0, sharpness))

    def both_loss(weight):
        return loss("both", sharpness=fitted.sharpness, photo_weight=weight)

    assert photo_loss(fitted.sharpness[1]) == min(map(photo_loss, SHARPNESS))
    assert both_loss(fitted.photo_weight) == min(map(both_loss, PHOTO_WEIGHTS))

    def neighbours_loss(sharpness):
        right = []
        for (text, photo), place in zip(pairs, places, strict=True):
            nearest = hs.run_experts(text, photo).neighbours
            right.append(softmax(sharpness * nearest.best)[nearest.places == place].sum())
        return log_loss(right)

    assert neighbours_loss(fitted.neighbour_sharpness) == min(
        map(neighbours_loss, NEIGHBOUR_SHARPNESS)
    )


@pytest.mark.parametrize("name", ["image", "both"])
def test_the_gate_lets_familiar_goods_pass_and_holds_others_back(world, name):
    """Nearly all held-out goods have half weight or more; unfamiliar ones have less."""
    hs, held, unfamiliar = world

    def outputs(goods):
        return [hs.run_experts(*chosen(name, text, photo)) for text, photo in goods.pairs()]

    gate = fit_gate(hs, name, outputs(held), unfamiliar)
    familiar = np.array([hs.gate_weights(output, gate) for output in outputs(held)])
    others = np.array([hs.gate_weights(output, gate) for output in outputs(unfamiliar)])
    assert (familiar < 0.5).sum() <= 1
    assert others.mean() < familiar.mean()


def test_temperatures_and_sets_fit_the_held_out_goods(world):
    """A network that is too sure is cooled; 95 of 100 sets hold the right code; text stays."""
    hs, held, unfamiliar = world
    held = harder(held)
    calm, sharp = (
        replace(hs, network=Nearest(hs.network.texts, hs.network.photos, sureness))
        for sureness in (0.15, 0.45)
    )
    equal = np.ones(len(held.codes))
    fitted, sharp = (calibrated(model, held, unfamiliar, equal) for model in (calm, sharp))
    assert fitted.calibration.keys() == set(MODALITIES)
    assert fitted.calibration["text"] == hs.calibration["text"]
    for name in ("image", "both"):
        assert sharp.calibration[name].temperature > fitted.calibration[name].temperature
        sets = [
            (code, fitted.hs_set(name, fitted.posterior(*chosen(name, text, photo))))
            for code, (text, photo) in zip(held.codes, held.pairs(), strict=True)
            if name == "image" or text is not None
        ]
        covered = [code.startswith(members) for code, members in sets if members]
        assert len(covered) > len(sets) / 2
        assert np.mean(covered) >= 0.95


def test_sets_are_chosen_by_the_weights_of_the_goods(world):
    """Goods that are named wrongly keep any promise from being made, unless they weigh nothing."""
    hs, held, unfamiliar = world
    wrong = np.arange(len(held.codes)) % 2 == 0
    codes = np.where(wrong, np.roll(CODES, 7)[np.searchsorted(CODES, held.codes)], held.codes)
    mixed = Embedded(codes, held.texts, held.photos)
    least = {
        weight: calibrated(hs, mixed, unfamiliar, np.where(wrong, weight, 1.0))
        .calibration["both"]
        .least
        for weight in (1e-9, 1.0)
    }
    assert least[1e-9][0] < NEVER
    assert least[1.0][0] == NEVER
