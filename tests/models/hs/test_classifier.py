"""The parts that name HS codes, each on a world small enough to see through."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.encoding.text import GENERAL
from models.hs import conformal
from models.hs.classifier import MODALITIES, Calibration, HsModel, Nomenclature, modality
from models.hs.exemplars import ExemplarIndex, Projection, from_whole, share_of_others, whole
from models.hs.nomenclature import LANGUAGES, held_out, lines, without_exclusions
from models.networks.fusion import JOINS, FusionNetwork, load, save
from models.training import fusion
from models.vectors import unit

DICE = np.random.default_rng(0)
TEXT = GENERAL + 16
"""Dimensions of a text, where the tuned encoder has 16."""


def vectors(*shape):
    return DICE.normal(size=shape).astype(np.float32)


# Conformal sets


def test_sets_cover_as_promised_on_goods_like_those_held_out():
    """Over many draws, the right code is in the set in at least 95 of 100 cases, barely more."""
    covered = []
    for _ in range(200):
        right = DICE.beta(4, 1, 1000).astype(np.float32)
        least = conformal.threshold(right[:500])
        covered.append((right[500:] >= least).mean())
    assert 0.945 < np.mean(covered) < 0.96


def test_a_set_is_never_empty_and_starts_with_the_best_code():
    """Also where no code reaches the threshold."""
    shares = np.array([0.2, 0.5, 0.3], np.float32)
    assert conformal.members(shares, 0.9).tolist() == [1]
    assert conformal.members(shares, 0.25).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("codes", "shortened"),
    [
        (["610910", "610990"], ("610910", "610990")),
        ([f"6109{n:02}" for n in range(9)], ("6109",)),
        ([f"61{n:02}10" for n in range(9)], ("61",)),
    ],
)
def test_a_long_set_is_shortened_to_headings_or_chapters(codes, shortened):
    """Each stands for all of its codes, so nothing leaves the set."""
    assert conformal.shortened(codes) == shortened


# Past goods


@pytest.fixture
def index():
    texts, photos = vectors(6, 16), vectors(6, 20)
    codes = np.array([3, 1, 1, 2, 3, 3])
    return (
        ExemplarIndex.of(
            codes, texts, photos, Projection.fitted(texts, 4), Projection.fitted(photos, 5)
        ),
        texts,
        photos,
        codes,
    )


def test_goods_are_nearest_to_themselves(index):
    """By text, by photo and by both."""
    index, texts, photos, codes = index
    for text, photo, code in zip(texts, photos, codes, strict=True):
        for evidence in ((text, None), (None, photo), (text, photo)):
            found = index.neighbours(*evidence)
            assert found.nearest == pytest.approx(1, abs=0.02)
            assert found.places[found.best.argmax()] == code


def test_goods_of_a_new_code_need_no_training(index):
    """Indexed beside the others by the same projections, they are nearest; the others stay."""
    index, texts, photos, codes = index
    text, photo = vectors(1, 16), vectors(1, 20)
    larger = ExemplarIndex.of(
        np.append(codes, 9),
        np.concatenate([texts, text]),
        np.concatenate([photos, photo]),
        index.text_projection,
        index.photo_projection,
    )
    nearest = larger.neighbours(text[0], photo[0])
    assert nearest.places[nearest.best.argmax()] == 9
    others = share_of_others(nearest, np.array([1, 2, 3]), 20.0)
    assert others[nearest.places == 9] > 0.5
    assert others.sum() == others[nearest.places == 9]
    assert (
        larger.neighbours(texts[0], photos[0]).nearest
        == index.neighbours(texts[0], photos[0]).nearest
    )
    assert larger.without(np.array([9])).codes.tolist() == index.codes.tolist()


def test_stored_vectors_are_those_searched(index):
    """Storing an index changes no bit of what it says."""
    index, texts, photos, _ = index
    stored = replace(
        index, texts=from_whole(whole(index.texts)), photos=from_whole(whole(index.photos))
    )
    assert (
        stored.similarities(texts[0], photos[0]).tobytes()
        == index.similarities(texts[0], photos[0]).tobytes()
    )


# The experts together


class Scores:
    """A network that always says the same."""

    def __init__(self, scores):
        self.scores = np.array(scores, np.float32)

    def run(self, inputs):
        return np.tile(self.scores, (len(inputs["there"]), 1))


@pytest.fixture
def model(index):
    index = index[0]
    codes = ("010121", "010129", "610910", "610990", "847130")
    nomenclature = Nomenclature.of(
        [f"{code}00" for code in codes],
        vectors(5, TEXT), ["a", "b", "c"], vectors(3, TEXT),
        (vectors(3, 10), vectors(3)),
    )  # fmt: skip
    return HsModel.of(
        nomenclature,
        ["010129", "610910"],
        index,
        network=Scores([2.0, 0.0]),
        sharpness=(5.0, 5.0),
        photo_weight=0.5,
        neighbour_sharpness=20.0,
        calibration={name: Calibration(1.0, (0.0, 0.0, 0.0), 0.1) for name in MODALITIES},
    )


def opened(model, offset):
    calibration = {name: Calibration(1.0, (0.0, 0.0, offset), 0.1) for name in MODALITIES}
    return replace(model, calibration=calibration)


def test_posteriors_are_probabilities_of_every_code(model):
    """By text, photo and both; no code is ruled out."""
    for evidence in ((vectors(TEXT), None), (None, vectors(20)), (vectors(TEXT), vectors(20))):
        for offset in (-50.0, 1.0, 50.0):
            shares = opened(model, offset).posterior(*evidence).probabilities
            assert shares.sum() == pytest.approx(1, abs=1e-5)
            assert (shares > 0).all()


def test_unfamiliar_goods_are_judged_by_the_nomenclature_alone(model):
    """A closed gate leaves out network and past goods."""
    text = vectors(TEXT)
    posterior = opened(model, -50.0).posterior(text, None)
    assert posterior.gate_weight == 0
    np.testing.assert_allclose(
        posterior.probabilities,
        model.nomenclature_probabilities(model.similar(text, None)),
        atol=1e-5,
    )


def test_familiar_goods_of_known_codes_are_judged_by_the_network(model):
    """An open gate lets it speak for the share that is not of other codes."""
    text = vectors(TEXT)
    outputs = model.run_experts(text, None)
    shares = opened(model, 50.0).posterior(text, None).probabilities
    network = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum() * (1 - outputs.others.sum())
    np.testing.assert_allclose(shares[[1, 2]], network, atol=1e-4)
    assert shares[3] == pytest.approx(outputs.others[outputs.neighbours.places == 3][0], abs=1e-4)


def test_the_network_and_past_goods_use_only_the_tuned_text_encoder(model):
    """The general encoder's output changes only the nomenclature's answer."""
    one, two = vectors(TEXT), vectors(TEXT)
    two[GENERAL:] = one[GENERAL:]
    first, second = model.run_experts(one, None), model.run_experts(two, None)
    assert first.neighbours.best.tobytes() == second.neighbours.best.tobytes()
    assert not np.allclose(first.nomenclature_probabilities, second.nomenclature_probabilities)


def test_agreement_is_a_likelihood_ratio(model):
    """Averaged over what photos say, words as usual agree as much as any two would."""
    n, photo = model.nomenclature, vectors(20)
    assert model.usual_words.sum() == pytest.approx(1, abs=1e-5)
    ratios = [np.exp(model.agreement(n.centre + line, photo)) for line in n.lines]
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
    network = fusion.train(texts[None], photos[None], labels, kind="multconcat", codes=2, seed=1)
    with torch.no_grad():
        found = network(texts, photos, torch.ones(2048, 2)).argmax(dim=1)
    assert (found == labels).float().mean() > 0.95


# The nomenclature


def test_lines_held_out_leave_a_sibling_of_their_subheading():
    """Every line has four texts; a tenth of those with siblings is kept from tuning."""
    every = lines()
    held = {line.cn8 for line in held_out(every)}
    left = {line.hs6 for line in every if line.cn8 not in held}
    assert left == {line.hs6 for line in every}
    assert 0.04 < len(held) / len(every) < 0.10
    assert all(len(line.texts) == len(LANGUAGES) for line in every)


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
