"""The text encoder is tuned to name codes, and keeps ImageNet's words."""

import numpy as np
import torch

from models.networks.text_encoder import TextEncoder
from models.training.text import encoder

TEXTS = ["cotton t-shirt", "leather shoes", "laptop computer", "frozen fish"] * 4
CODES = ["030389", "610910", "640399", "847130"]
LABELS = np.array([1, 2, 3, 0] * 4)


def tuned(seed, epochs):
    losses = []
    found = encoder.tune(
        TEXTS, LABELS, CODES, seed=seed, epochs=epochs, say=lambda step, *_: losses.append(step)
    )
    return *found, losses


def test_it_is_tuned_alike_twice():
    """Equal seeds give equal weights; another gives others."""
    states = [tuned(seed, 2)[0].tuned_state() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_it_learns_the_codes_and_keeps_the_words():
    model, head, said = tuned(1, 12)
    device = torch.device("cpu")
    tokenizer = encoder.packaged_tokenizer()
    tokens = encoder._tokens(tokenizer, TEXTS[:4], device).padded(torch.arange(4))
    words = encoder._tokens(tokenizer, ["goldfish", "sandal"], device).padded(torch.arange(2))
    with torch.no_grad():
        scores = head(encoder.SHARPNESS * model(*tokens))
        kept = (model(*words) * TextEncoder()(*words)).sum(dim=1)
    assert scores.argmax(dim=1).tolist() == LABELS[:4].tolist()
    assert (kept > 0.8).all()
    assert "epoch 12 of 12, loss " in said[-1]
    assert "minutes left" in said[-1]
