"""Small steps of arithmetic on embeddings that several modules take."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BLOCK: Final = 8
"""Rows that are multiplied, or run through a small network, at a time."""


def blocks(rows: NDArray[Any]) -> Array:
    """Return rows (..., D) in blocks (B, BLOCK, D); what lacks in the last one is 0."""
    flat = rows.reshape(-1, rows.shape[-1])
    padded = np.zeros((-(-len(flat) // BLOCK), BLOCK, flat.shape[1]), np.float32)
    padded.reshape(-1, flat.shape[1])[: len(flat)] = flat
    return padded


def products(rows: NDArray[Any], weights: Array) -> Array:
    """Return the products of each of rows (..., D) with each of weights (N, D): (..., N).

    A row has the same bits alone and among others, wherever it stands (decision 2). The order in
    which BLAS adds depends on the shape of a product and, from 12 rows on, on the place of a row:
    so every product is one of BLOCK rows.
    """
    together: Array = (blocks(rows) @ weights.T).reshape(-1, len(weights))
    shape = rows.shape[:-1]
    return together[: math.prod(shape)].reshape(*shape, len(weights))


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
