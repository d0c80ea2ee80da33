"""The text encoder is tuned to name codes, and keeps ImageNet's words."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.networks.text_encoder import TextEncoder, packaged_tokenizer
from models.training.pretrained import PACKAGED, text_encoder, tuned_state
from models.training.text import encoder
from tests.models.networks.test_onnx_export import MINILM

TEXTS = ["cotton t-shirt", "leather shoes", "laptop computer", "frozen fish"] * 4
CODES = ["030389", "610910", "640399", "847130"]
LABELS = np.array([1, 2, 3, 0] * 4)


@pytest.fixture
def tuned(tmp_path):
    """A function that tunes an encoder; it returns what it was told as well."""

    def tune(seed, epochs, say=None, name=PACKAGED):
        said = []
        found = encoder.tune(
            name,
            TEXTS,
            LABELS,
            CODES,
            seed=seed,
            kept=tmp_path / "unfinished",
            made_from=f"seed {seed}",
            epochs=epochs,
            say=say or (lambda step, *_: said.append(step)),
        )
        return *found, said

    return tune


def test_it_is_tuned_alike_twice(tuned):
    """Equal seeds give equal weights; another gives others."""
    states = [tuned_state(tuned(seed, 2)[0]) for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_one_that_was_cut_short_goes_on_after_its_last_epoch(tuned, tmp_path):
    """And ends like one that never stopped; another's state is not gone on with."""

    def stopped(step, *_):
        if "epoch 3" in step:
            raise KeyboardInterrupt

    whole, head, _ = tuned(1, 4)
    with pytest.raises(KeyboardInterrupt):
        tuned(1, 4, stopped)
    assert (tmp_path / "unfinished").exists()
    resumed, resumed_head, said = tuned(1, 4)
    assert said[0] == "Tuning the text encoder: epoch 3 of 4"
    assert not (tmp_path / "unfinished").exists()
    for name, weights in tuned_state(whole).items():
        torch.testing.assert_close(tuned_state(resumed)[name], weights, rtol=0, atol=0)
    torch.testing.assert_close(resumed_head.weight, head.weight, rtol=0, atol=0)
    with pytest.raises(KeyboardInterrupt):
        tuned(1, 4, stopped)
    assert tuned(2, 4)[2][0] == "Tuning the text encoder: epoch 1 of 4"


def test_a_model_of_transformers_is_tuned_too(tuned, tmp_path):
    """Its weights are kept, and load into it."""
    model, head, _ = tuned(1, 2, name=MINILM)
    assert head.weight.shape == (len(CODES), 384)
    save_file(tuned_state(model), tmp_path / "text.safetensors")
    loaded, tokenizer = text_encoder(MINILM, tmp_path / "text.safetensors")
    tokens = torch.tensor([tokenizer.encode("frozen fish").ids])
    with torch.no_grad():
        first, second = (one(tokens, torch.ones_like(tokens)) for one in (model, loaded))
    torch.testing.assert_close(first, second, rtol=0, atol=2e-3)


def test_it_learns_the_codes_and_keeps_the_words(tuned):
    model, head, said = tuned(1, 12)
    device = torch.device("cpu")
    tokenizer = packaged_tokenizer()
    tokens = encoder._tokens(tokenizer, TEXTS[:4], device).padded(torch.arange(4))
    words = encoder._tokens(tokenizer, ["goldfish", "sandal"], device).padded(torch.arange(2))
    with torch.no_grad():
        scores = head(encoder.SHARPNESS * model(*tokens))
        kept = (model(*words) * TextEncoder()(*words)).sum(dim=1)
    assert scores.argmax(dim=1).tolist() == LABELS[:4].tolist()
    assert (kept > 0.8).all()
    assert "epoch 12 of 12, loss " in said[-1]
    assert "minutes left" in said[-1]
