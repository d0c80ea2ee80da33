"""The network that names codes by the hashed n-grams of a text: one layer over their mean.

Its embedding is the sum of the n-grams' vectors over the square root of their number, so that a
longer text is surer of itself. Joulin et al., "Bag of Tricks for Efficient Text Classification"
(2017). Needs torch: to train, never to serve.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.encoding.ngrams import BUCKETS
from models.encoding.text import NGRAMS
from models.networks.quantisation import quantised

PADDING: Final = BUCKETS
"""Number that fills the rows of shorter texts: its vector is zero."""
DROPOUT: Final = 0.2
SPREAD: Final = 0.05
"""Standard deviation of the untrained vectors."""


class NgramNetwork(nn.Module):
    """N-grams of texts → scores of codes."""

    def __init__(self, codes: int) -> None:
        """Make an untrained network for so many codes."""
        super().__init__()
        self.table = nn.EmbeddingBag(BUCKETS + 1, NGRAMS, mode="sum", padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=SPREAD)
        with torch.no_grad():
            self.table.weight[PADDING] = 0
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(NGRAMS, codes)

    def forward(self, grams: Tensor) -> Tensor:
        """Score the codes: n-grams padded with PADDING (B, T) → logits (B, C)."""
        scores: Tensor = self.head(self.dropout(self.embed(grams)))
        return scores

    def embed(self, grams: Tensor) -> Tensor:
        """Embed texts: (B, T) → (B, 128), zero for a text of no n-grams."""
        count = (grams != PADDING).sum(dim=1, keepdim=True).clamp(min=1)
        embeddings: Tensor = self.table(grams) / count.sqrt()
        return embeddings

    def save(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the n-grams' vectors: `table` int8 (BUCKETS, 128), `scale` float16 (BUCKETS, 1)."""
        table, scale = quantised(self.table.weight[:BUCKETS])
        save_file({"table": table, "scale": scale}, path, metadata=dict(metadata or {}))
