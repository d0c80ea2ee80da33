"""Goods texts of known code → the trained network over their n-grams."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoding.ngrams import MOST, hashed
from models.networks.ngrams import PADDING, NgramNetwork
from models.progress import Say
from models.training.text.course import Course, usable_device
from models.training.text.loss import CodeLoss
from models.training.wording import declared

EPOCHS: Final = 7
BATCH: Final = 1024
RATE: Final = 1e-2
DECAY: Final = 0.01
DROPPED: Final = 0.3
"""Share of a text's n-grams that are left out in a step."""


def train(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    codes: Sequence[str],
    *,
    seed: int,
    kept: Path,
    made_from: str,
    epochs: int = EPOCHS,
    say: Say = print,
) -> NgramNetwork:
    """Train a network, on a GPU if there is one.

    Args:
        texts: (N,), as written; each epoch words them anew, as declarants might.
        labels: (N,), the places of their codes in `codes`.
        codes: HS6 codes (C,).
        seed: of every choice.
        kept: file for what is learned so far.
        made_from: hash of all inputs.
        epochs: rounds over the texts.
        say: called with the progress.
    """
    torch.manual_seed(seed)
    device = usable_device()
    network = NgramNetwork(len(codes)).to(device).train()
    loss_of_scores = CodeLoss(codes, device)
    right = torch.from_numpy(labels).to(device)

    def epoch(dice: np.random.Generator) -> Callable[[Tensor], Tensor]:
        grams = torch.from_numpy(padded([declared(text, dice) for text in texts])).to(device)

        def loss(chosen: Tensor) -> Tensor:
            chosen = chosen.to(device)
            batch = grams[chosen].long()
            dropped = torch.rand(batch.shape, device=device) < DROPPED
            return loss_of_scores(network(batch.masked_fill(dropped, PADDING)), right[chosen])

        return loss

    course = Course("Training the n-gram network", epochs, BATCH, DECAY, seed, kept, made_from)
    groups = [{"params": list(network.parameters()), "lr": RATE}]
    course.run(len(texts), groups, epoch, say=say)
    return network.cpu().eval()


def padded(texts: Sequence[str]) -> NDArray[np.int32]:
    """Return the n-grams of normalised texts (N, MOST), shorter rows filled with PADDING."""
    grams = np.full((len(texts), MOST), PADDING, np.int32)
    for place, text in enumerate(texts):
        row = hashed(text)
        grams[place, : len(row)] = row
    return grams
