"""The dual-task attentive network over the leaves of boosted trees.

After DATE (Kim et al., KDD 2020): each tree is a cross feature of the declaration, the leaf that it
falls into gets an embedding, attention weighs the trees, and two heads predict fraud and revenue.
DATE's attention query is made of learned vectors of importer and code; here it is made of the
numeric features, so that it also works for a new trader or code.
"""

from typing import Final

import torch
from torch import Tensor, nn

WIDTH: Final = 8
HIDDEN: Final = 32


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
            features: (B, F); NaN for unknown, treated as the mean.

        Returns:
            Log-odds of fraud, and revenue (B, 2).
        """
        scaled = (features - self.mean) / self.spread
        scaled = torch.where(torch.isnan(scaled), torch.zeros_like(scaled), scaled)
        question = self.question(scaled)  # (B, D)
        leaf = self.embedding(leaves.long() + self.first)  # (B, T, D)
        weights = (torch.tanh(self.key(leaf)) * question.unsqueeze(1)).sum(2).softmax(1)  # (B, T)
        attended = (weights.unsqueeze(2) * leaf).sum(1)  # (B, D)
        joint = self.joint(torch.cat([attended, question, leaf.mean(1)], 1))
        return torch.cat([self.fraud(joint), self.revenue(joint)], 1)  # (B, 2)
