"""The experts of text learn from few texts, and a training that was cut short goes on."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models.datasets.texts import BadTexts, GoodsText
from models.encoding import ngrams as hashing
from models.encoding.ngrams import BUCKETS
from models.hs.text_experts import HEADS
from models.networks.text_encoder import TextEncoder
from models.training.text import encoder, experts, ngrams

CODES = ["610910", "640411", "847130"]
WORDS = {"610910": ("cotton t-shirt", "chemise tee shirt"), "640411": ("running shoes", "sneaker"),
         "847130": ("laptop 14 inch", "notebook computer")}  # fmt: skip
TEXTS = [
    GoodsText(f"{code}-{n}", "mine", "en", text, code)
    for code, worded in WORDS.items()
    for n, text in enumerate(worded)
]


def quiet(*_):
    """Say nothing."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The files of a training; one text is of a code outside."""
    out = tmp_path_factory.mktemp("learned")
    outside = GoodsText("x", "mine", "en", "coins", "711890")
    experts.learn([*TEXTS, outside], CODES, out, seed=1, say=quiet)
    return out


def test_each_expert_is_stored_with_its_head(learned):
    assert {path.name for path in learned.iterdir()} == set(experts.FILES)
    heads = load_file(learned / HEADS)
    for name, size in (("meaning", 512), ("ngrams", 128)):
        assert heads[f"{name}.weight"].shape == (3, size)
        assert heads[f"{name}.weight"].dtype == torch.int8
        assert heads[f"{name}.scale"].shape == (3, 1)
        assert heads[f"{name}.scale"].dtype == heads[f"{name}.bias"].dtype == torch.float16
        assert heads[f"{name}.bias"].shape == (3,)
    table = load_file(learned / hashing.FILE)
    assert (table["table"].shape, table["table"].dtype) == ((BUCKETS, 128), torch.int8)
    assert (table["scale"].shape, table["scale"].dtype) == ((BUCKETS, 1), torch.float16)


def test_the_tuned_encoder_moved_but_not_far(learned):
    tokens = torch.tensor([[1, 500, 2000, 2]])
    with torch.no_grad():
        before, after = (
            model(tokens, torch.ones_like(tokens))
            for model in (TextEncoder(), TextEncoder(learned / "text.safetensors"))
        )
    assert 0.5 < float((before * after).sum()) < 0.99999


def test_an_expert_that_is_there_is_not_trained_again(learned, monkeypatch):
    """With the same inputs nothing is; without the file of n-grams, they alone are."""
    before = {path.name: path.read_bytes() for path in learned.iterdir()}
    monkeypatch.setattr(encoder, "tune", None)
    with monkeypatch.context() as patched:
        patched.setattr(ngrams, "train", None)
        experts.learn(TEXTS, CODES, learned, seed=1, say=quiet)
    (learned / hashing.FILE).unlink()
    experts.learn(TEXTS, CODES, learned, seed=1, say=quiet)
    assert {path.name: path.read_bytes() for path in learned.iterdir()} == before


@pytest.mark.parametrize("changed", ["texts", "codes", "seed", "constant"])
def test_from_other_inputs_both_are_trained_anew(learned, monkeypatch, changed):
    def trained(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(encoder, "tune", trained)
    if changed == "constant":
        monkeypatch.setattr(ngrams, "DROPPED", 0.5)
    texts = TEXTS[1:] if changed == "texts" else TEXTS
    codes = CODES[::-1] if changed == "codes" else CODES
    with pytest.raises(InterruptedError):
        experts.learn(texts, codes, learned, seed=2 if changed == "seed" else 1, say=quiet)


def test_the_hash_is_in_each_file(learned):
    hashes = set()
    for name in experts.FILES:
        with safe_open(learned / name, "pt") as file:
            hashes.add(file.metadata()[experts.MADE_FROM])
    assert len(hashes) == 1


def test_texts_of_no_known_code_are_refused(tmp_path):
    with pytest.raises(BadTexts, match="has a code of the nomenclature"):
        experts.learn(TEXTS, ["010121"], tmp_path, seed=1, say=quiet)
