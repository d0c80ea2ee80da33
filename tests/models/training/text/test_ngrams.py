"""The network over n-grams learns codes."""

import numpy as np
import torch

from models.encoding.ngrams import MOST, hashed
from models.networks.ngrams import PADDING
from models.training.text import ngrams

TEXTS = ["cotton t-shirt", "leather shoes", "laptop computer", "frozen fish"] * 4
CODES = ["030389", "610910", "640399", "847130"]
LABELS = np.array([1, 2, 3, 0] * 4)


def quiet(*_):
    """Say nothing."""


def test_it_learns_the_codes_alike_twice(tmp_path):
    """A misspelt text is named as well."""
    networks = [
        ngrams.train(
            TEXTS, LABELS, CODES, seed=1, kept=tmp_path / "x", made_from="", epochs=8, say=quiet
        )
        for _ in range(2)
    ]
    assert torch.equal(networks[0].head.weight, networks[1].head.weight)
    texts = [*TEXTS[:4], "frozn fish", "lapptop"]
    scores = networks[0](torch.from_numpy(ngrams.padded(texts)).long())
    assert scores.argmax(dim=1).tolist() == [1, 2, 3, 0, 0, 3]


def test_texts_are_padded():
    one, none = ngrams.padded(["fish", ""])
    count = len(hashed("fish"))
    assert one.tolist() == [*hashed("fish").tolist(), *[PADDING] * (MOST - count)]
    assert (none == PADDING).all()
