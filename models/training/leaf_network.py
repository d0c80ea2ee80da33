"""Leaves of the boosted trees and features → the trained network over them."""

from typing import Final

import numpy as np
import torch
from torch.nn import functional

from models.networks.tabular import LeafNetwork
from models.vectors import Array

EPOCHS: Final = 4
BATCH: Final = 256
RATE: Final = 2e-3
DECAY: Final = 0.1
REVENUE_WEIGHT: Final = 0.5
"""Of the second task's loss."""


def train(
    leaves: Array,
    features: Array,
    irregular: Array,
    revenue: Array,
    *,
    seed: int,
) -> LeafNetwork:
    """Train both tasks at once.

    Args:
        leaves: (N, T), whole numbers.
        features: (N, F).
        irregular: (N,), 0 or 1.
        revenue: (N,), what an irregular goods item costs, scaled to about 1; 0 where regular.
        seed: of every choice.
    """
    torch.manual_seed(seed)
    inputs = torch.from_numpy(features)
    places = torch.from_numpy(leaves)
    labels, costs = torch.from_numpy(irregular), torch.from_numpy(revenue)
    network = LeafNetwork(leaves.shape[1], int(leaves.max()) + 1, features.shape[1])
    network.mean.copy_(torch.from_numpy(np.nanmean(features, 0)))
    network.spread.copy_(torch.from_numpy(np.nanstd(features, 0)).clamp(min=1e-3))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    batches = max(1, len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels))[: batches * BATCH].chunk(batches):
            fraud, cost = network(places[batch], inputs[batch]).unbind(1)
            loss = functional.binary_cross_entropy_with_logits(fraud, labels[batch])
            loss = loss + REVENUE_WEIGHT * functional.mse_loss(cost, costs[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()
