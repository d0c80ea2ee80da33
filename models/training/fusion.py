"""Embeddings of goods of known code → the trained fusion network."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.fusion import FusionNetwork

EPOCHS: Final = 30
BATCH: Final = 256
RATE: Final = 1e-3
DECAY: Final = 0.05
SMOOTHING: Final = 0.05
DROPPED: Final = 0.25
"""Share of goods that lose their text in a step, and of those that lose their photo."""


def train(
    texts: Tensor,
    photos: Tensor,
    labels: Tensor,
    described: Tensor,
    *,
    kind: str,
    codes: int,
    seed: int,
    only: str | None = None,
) -> FusionNetwork:
    """Train a network.

    Args:
        texts: (V, N, D): each text in V variants, the clean one first.
        photos: (U, N, 2560): each photo in U variants.
        labels: (N,).
        described: (N,), False for goods of which there is only a photo.
        kind: of fusion.
        codes: how many there are.
        seed: of everything.
        only: text or image, for a network of one modality to compare with.
    """
    torch.manual_seed(seed)
    network = FusionNetwork(texts.shape[2], photos.shape[2], codes, kind)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    count = len(labels)
    steps = EPOCHS * (count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(count)[: count // BATCH * BATCH], BATCH):
            text = texts[torch.randint(len(texts), (BATCH,)), chosen].float()
            photo = photos[torch.randint(len(photos), (BATCH,)), chosen].float()
            scores = network(text, photo, _present(only, described[chosen]))
            loss = functional.cross_entropy(scores, labels[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def _present(only: str | None, described: Tensor) -> Tensor:
    """Draw which goods of a batch keep the text that they have, and their photo: (BATCH, 2)."""
    if only is not None:
        return torch.tensor([[only == "text", only == "image"]]).float().expand(BATCH, 2)
    dice = torch.rand(BATCH)
    with_text = described & (dice >= DROPPED)
    return torch.stack([with_text, (dice < 1 - DROPPED) | ~described], dim=1).float()
