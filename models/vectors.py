"""Small steps of arithmetic on embeddings that several modules take."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def unit(vectors: NDArray[Any]) -> Array:
    """Scale vectors (..., D) to length 1."""
    scaled: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled.astype(np.float32)


def softmax(logits: NDArray[Any]) -> Array:
    """Return probabilities along the last axis."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = exp / exp.sum(axis=-1, keepdims=True)
    return shares.astype(np.float32)


def log_softmax(logits: NDArray[Any]) -> Array:
    """Return log-probabilities along the last axis. Unit: nats."""
    less = logits - logits.max(axis=-1, keepdims=True)
    logs: Array = less - np.log(np.exp(less).sum(axis=-1, keepdims=True))
    return logs.astype(np.float32)


def dequantised(whole: NDArray[np.int8], scale: NDArray[np.float16]) -> Array:
    """Return rows that were stored in 8 bits (N, D), each with its scale (N, 1)."""
    rows: Array = whole.astype(np.float32) * scale.astype(np.float32)
    return rows


def best(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the places of the greatest values of (N,), the greatest first, ties in order."""
    places = np.arange(len(values))
    if count < len(values):  # to sort them all would take most of the time
        least = np.partition(values, -count)[-count]
        places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")[:count]]
