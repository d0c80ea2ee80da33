"""The parts that name HS codes, each on a world small enough to see through."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.encoding.text import NGRAMS
from models.hs.classifier import MODALITIES, Calibration, HsModel, Posterior, modality
from models.hs.conformal import NEVER
from models.hs.embedded_nomenclature import Nomenclature
from models.hs.exemplars import ExemplarIndex, Projection
from models.hs.nomenclature import LANGUAGES, lines, without_exclusions
from models.hs.text_experts import Head, TextExperts, Trust
from models.networks.fusion import JOINS, FusionNetwork, load, save
from models.training import fusion
from models.vectors import softmax, unit

DICE = np.random.default_rng(0)
MEANING, PHOTO = 16, 20
TEXT = NGRAMS + MEANING
"""Dimensions of a text: its n-grams, and its meaning, of 16."""
CODES = ("010121", "010129", "610910", "610990", "847130")


def vectors(*shape):
    return DICE.normal(size=shape).astype(np.float32)


# The experts together


class Scores:
    """A network that always says the same."""

    def __init__(self, scores):
        self.scores = np.array(scores, np.float32)

    def run(self, inputs):
        return np.tile(self.scores, (len(inputs["there"]), 1))


@pytest.fixture
def model():
    """Past goods and texts of the codes 1, 2 and 3, of which the network knows the first two."""
    places, texts, photos = np.array([1, 1, 2, 3, 3, 3]), vectors(6, MEANING), vectors(6, PHOTO)
    projection = Projection.fitted(texts, 4)
    nomenclature = Nomenclature.of(
        [f"{code}00" for code in CODES],
        vectors(5, MEANING), ["a", "b", "c"], vectors(3, MEANING),
        (vectors(3, 10), vectors(3)),
    )  # fmt: skip
    return HsModel.of(
        nomenclature,
        ["010129", "610910"],
        ExemplarIndex.of(places, texts, photos, projection, Projection.fitted(photos, 5)),
        network=Scores([2.0, 0.0]),
        text_experts=TextExperts(
            Head(0.1 * vectors(5, MEANING), vectors(5)),
            Head(vectors(5, NGRAMS), vectors(5)),
            places,
            projection(texts),
            projection,
            Trust(0.4, 0.6, 9.0, (0.0,) * 7),
        ),
        sharpness=(5.0, 5.0),
        photo_weight=0.5,
        neighbour_sharpness=20.0,
        calibration={name: calibration(0.0) for name in MODALITIES},
    )


def calibration(offset):
    """Return one whose gate looks at nothing."""
    return Calibration(1.0, (0.0, 0.0, offset), (0.1, NEVER, NEVER))


def opened(model, offset):
    return replace(model, calibration={name: calibration(offset) for name in MODALITIES})


def test_posteriors_are_probabilities_of_every_code(model):
    """By text, photo and both; no code is ruled out."""
    for evidence in (
        (vectors(TEXT), None),
        (None, vectors(PHOTO)),
        (vectors(TEXT), vectors(PHOTO)),
    ):
        for offset in (-50.0, 1.0, 50.0):
            shares = opened(model, offset).posterior(*evidence).probabilities
            assert shares.sum() == pytest.approx(1, abs=1e-5)
            assert (shares > 0).all()


@pytest.mark.parametrize("offset", [-50.0, 50.0])
def test_a_text_alone_is_judged_by_the_experts_of_text(model, offset):
    """Whatever the gate: they know every code."""
    text = vectors(TEXT)
    posterior = opened(model, offset).posterior(text, None)
    assert posterior.gate_weight == 0
    np.testing.assert_allclose(
        posterior.probabilities, np.exp(model.text_experts.log_probabilities(text)), atol=1e-5
    )


@pytest.mark.parametrize("text", [None, vectors(TEXT)])
def test_unfamiliar_goods_are_judged_by_what_is_known_of_every_code(model, text):
    """A closed gate leaves out network and past goods; a photo is known by its words."""
    photo = vectors(PHOTO)
    posterior = opened(model, -50.0).posterior(text, photo)
    assert posterior.gate_weight == 0
    n = model.nomenclature
    logits = 5.0 * n.similarities(n.shown(photo))
    if text is not None:
        logits = model.text_experts.log_probabilities(text) + 0.5 * logits
    np.testing.assert_allclose(posterior.probabilities, softmax(logits), atol=1e-5)


def test_familiar_goods_of_known_codes_are_judged_by_the_network(model):
    """An open gate lets it speak for the share that is not of other codes."""
    text, photo = vectors(TEXT), vectors(PHOTO)
    outputs = model.run_experts(text, photo)
    shares = opened(model, 50.0).posterior(text, photo).probabilities
    network = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum() * (1 - outputs.others.sum())
    np.testing.assert_allclose(shares[[1, 2]], network, atol=1e-4)
    assert shares[3] == pytest.approx(outputs.others[outputs.neighbours.places == 3][0], abs=1e-4)


def test_the_network_and_past_goods_read_a_texts_meaning_alone(model):
    """Its n-grams change only what the experts of text say."""
    one, two, photo = vectors(TEXT), vectors(TEXT), vectors(PHOTO)
    two[NGRAMS:] = one[NGRAMS:]
    first, second = model.run_experts(one, photo), model.run_experts(two, photo)
    assert first.neighbours.best.tobytes() == second.neighbours.best.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()
    assert not np.allclose(first.general, second.general)


def test_several_goods_are_judged_as_each_alone(model):
    """By text, photo and both, to the last bit; wherever they stand."""
    texts, photos = vectors(19, TEXT), vectors(19, PHOTO)
    model = opened(model, 1.0)
    for some in ((texts, None), (None, photos), (texts, photos)):
        together = model.posteriors(*some)
        for row in range(19):
            evidence = (None if rows is None else rows[row] for rows in some)
            alone = model.posterior(*evidence)
            assert together.probabilities[row].tobytes() == alone.probabilities.tobytes()
            assert together.gate_weights[row] == alone.gate_weight


def test_a_set_is_told_as_each_modality_promises(model):
    """Where it promises nothing, the code is left open."""
    posterior = Posterior(np.array([0.1, 0.4, 0.4, 0.05, 0.05], np.float32), 0.0)
    promised = {
        "text": Calibration(1.0, (0, 0, 0), (0.2, NEVER, NEVER)),
        "image": Calibration(1.0, (0, 0, 0), (NEVER, 0.42, NEVER)),
        "both": Calibration(1.0, (0, 0, 0), (NEVER, NEVER, NEVER)),
    }
    model = replace(model, calibration=promised)
    assert model.hs_set("text", posterior) == ("010129", "610910")
    assert model.hs_set("image", posterior) == ("0101", "6109")
    assert model.hs_set("both", posterior) == ()


def test_agreement_is_a_likelihood_ratio(model):
    """Averaged over what photos say, words as usual agree as much as any two would."""
    n, photo, ngrams = model.nomenclature, vectors(PHOTO), vectors(NGRAMS)
    assert model.usual_words.sum() == pytest.approx(1, abs=1e-5)
    texts = [np.concatenate([ngrams, n.centre + line]) for line in n.lines]
    ratios = [np.exp(model.agreement(text, photo)) for text in texts]
    assert np.mean(ratios) == pytest.approx(1, abs=1e-4)


def test_no_evidence_is_no_modality():
    """Asking about nothing is a bug of the caller."""
    with pytest.raises(ValueError, match="Neither"):
        modality(text=False, photo=False)
    found = [modality(text=t, photo=p) for t, p in ((True, False), (False, True), (True, True))]
    assert found == list(MODALITIES)


# The network


@pytest.mark.parametrize("kind", [*JOINS, "late"])
def test_what_is_missing_does_not_matter(kind, tmp_path):
    """Whatever stands where text or photo is missing, the scores are the same; saving keeps them."""
    torch.manual_seed(0)
    network = FusionNetwork(16, 1300, 5, kind).eval()
    text, photo = torch.randn(2, 16), torch.randn(2, 1300)
    only_text, only_photo = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.0, 1.0]] * 2)
    with torch.no_grad():
        assert torch.equal(network(text, photo, only_text), network(text, 0 * photo, only_text))
        assert torch.equal(network(text, photo, only_photo), network(0 * text, photo, only_photo))
        both = network(text, photo, torch.ones(2, 2))
        save(network, kind, tmp_path / "n.safetensors")
        again = load(tmp_path / "n.safetensors")(text, photo, torch.ones(2, 2))
    assert both.shape == (2, 5)
    torch.testing.assert_close(again, both, atol=2e-2, rtol=0)


@pytest.mark.heavy
def test_the_network_learns_what_only_both_together_show(monkeypatch):
    """The sign of a product, which neither text nor photo alone shows."""
    monkeypatch.setattr(fusion, "DROPPED", 0.1)
    torch.manual_seed(0)
    signs = torch.randint(0, 2, (2, 2048)) * 2.0 - 1
    texts = signs[0][:, None] * torch.ones(8) + 0.1 * torch.randn(2048, 8)
    photos = signs[1][:, None] * torch.ones(1290) + 0.1 * torch.randn(2048, 1290)
    labels = (signs[0] * signs[1] > 0).long()
    # Constant rows lose their level in the layer norm, so half of each vector is flipped.
    texts[:, ::2] *= -1
    photos[:, ::2] *= -1
    described = torch.ones(2048, dtype=torch.bool)
    network = fusion.train(
        texts[None], photos[None], labels, described, kind="multconcat", codes=2, seed=1
    )
    with torch.no_grad():
        found = network(texts, photos, torch.ones(2048, 2)).argmax(dim=1)
    assert (found == labels).float().mean() > 0.95


def test_goods_of_which_there_is_only_a_photo_never_lose_it():
    """And never have a text; of the others some lose the one, some the other, none both."""
    torch.manual_seed(0)
    described = torch.arange(fusion.BATCH) % 2 == 0
    present = torch.stack([fusion._present(None, described) for _ in range(20)])
    assert (present[:, ~described] == torch.tensor([0.0, 1.0])).all()
    assert (present.sum(dim=2) >= 1).all()
    lost = 1 - present[:, described].mean(dim=(0, 1))
    assert ((lost > fusion.DROPPED - 0.05) & (lost < fusion.DROPPED + 0.05)).all()


# The nomenclature


def test_every_line_has_a_text_in_each_language():
    assert all(len(line.texts) == len(LANGUAGES) and all(line.texts) for line in lines())


@pytest.mark.parametrize(
    "text",
    [
        "Yarn (excl. unbleached)",
        "Yarn (à l'excl. des fils (écrus) et autres)",
        "Yarn (m.u.v. ongebleekt garen)",
        "Yarn (ausg. rohe Garne)",
    ],
)
def test_what_goods_are_not_is_dropped_in_four_languages(text):
    """It would draw them near to what they are not."""
    assert without_exclusions(text) == "Yarn"


def test_vectors_of_length_one():
    """In each row."""
    np.testing.assert_allclose(np.linalg.norm(unit(vectors(3, 4)), axis=1), 1, rtol=1e-5)
