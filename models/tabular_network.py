"""The dual-task attentive network over the leaves of boosted trees.

After DATE (Kim et al., KDD 2020): each tree is a cross feature of the declaration, the leaf that it
falls into gets an embedding, attention weighs the trees, and two heads tell fraud and revenue.
Where DATE asks with learned vectors of importer and code, this asks with the numeric features, so
that a trader or a code that was never seen can ask too.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.vectors import Array

WIDTH: Final = 8
HIDDEN: Final = 32
EPOCHS: Final = 4
BATCH: Final = 256
RATE: Final = 2e-3
DECAY: Final = 0.1
REVENUE_WEIGHT: Final = 0.5
"""Of the second task's loss."""


class LeafNetwork(nn.Module):
    """Leaves and features of a goods item → log-odds of fraud, revenue."""

    first: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, trees: int, leaves: int, features: int) -> None:
        super().__init__()
        self.register_buffer("first", torch.arange(trees) * leaves)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.embedding = nn.Embedding(trees * leaves, WIDTH)
        self.question = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)
        )
        self.key = nn.Linear(WIDTH, WIDTH)
        self.joint = nn.Sequential(nn.Linear(3 * WIDTH, HIDDEN), nn.ReLU(), nn.Dropout(0.2))
        self.fraud = nn.Linear(HIDDEN, 1)
        self.revenue = nn.Linear(HIDDEN, 1)

    def forward(self, leaves: Tensor, features: Tensor) -> Tensor:
        """Judge goods items.

        Args:
            leaves: (B, T) of whole numbers: the leaf of each tree.
            features: (B, F); NaN for unknown, taken for the mean.
        """
        known = (features - self.mean) / self.spread
        known = torch.where(torch.isnan(known), torch.zeros_like(known), known)
        question = self.question(known)  # (B, D)
        leaf = self.embedding(leaves.long() + self.first)  # (B, T, D)
        heard = (torch.tanh(self.key(leaf)) * question.unsqueeze(1)).sum(2).softmax(1)  # (B, T)
        attended = (heard.unsqueeze(2) * leaf).sum(1)  # (B, D)
        joint = self.joint(torch.cat([attended, question, leaf.mean(1)], 1))
        return torch.cat([self.fraud(joint), self.revenue(joint)], 1)  # (B, 2)


def train(
    leaves: Array,
    features: Array,
    irregular: Array,
    revenue: Array,
    *,
    seed: int,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> LeafNetwork:
    """Train both tasks at once.

    Args:
        leaves: (N, T), whole numbers.
        features: (N, F).
        irregular: (N,), 0 or 1.
        revenue: (N,), what an irregular goods item costs, scaled to about 1; 0 where regular.
        seed: of every choice.
        told: of each epoch.
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
    for epoch in range(EPOCHS):
        told(epoch, EPOCHS)
        for batch in torch.randperm(len(labels))[: batches * BATCH].chunk(batches):
            fraud, cost = network(places[batch], inputs[batch]).unbind(1)
            loss = functional.binary_cross_entropy_with_logits(fraud, labels[batch])
            loss = loss + REVENUE_WEIGHT * functional.mse_loss(cost, costs[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            schedule.step()
    return network.eval()
