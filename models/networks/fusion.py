"""The network that names the trained codes, from text, photo or both.

Text and photo come as embeddings. Each is projected to one width; a missing one is replaced by a
learned vector; the two are joined; a small perceptron scores the codes. Training drops modalities
at random, so that one network answers for text alone, for photo alone and for both.

    text (B, 512) ──── project ──┐
                                 ├─ join ── perceptron ── scores (B, K)
    photo (B, 2560) ── project ──┘

Needs torch: to train and to build a bundle, never to serve.
"""

from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.networks.image_encoder import FEATURES
from models.networks.onnx_export import export
from models.networks.quantisation import quantised

WIDTH: Final = 384
SCALE: Final = ".scale"
DROPOUT: Final = 0.4


class Concatenation(nn.Module):
    """Both side by side."""

    parts = 2

    def forward(self, text: Tensor, photo: Tensor) -> Tensor:
        """(B, W), (B, W) → (B, 2 W)."""
        return torch.cat([text, photo], dim=1)


class MultConcat(nn.Module):
    """Both side by side, and their element-wise product (Amel et al., ESANN 2023)."""

    parts = 3

    def forward(self, text: Tensor, photo: Tensor) -> Tensor:
        """(B, W), (B, W) → (B, 3 W)."""
        return torch.cat([text, photo, text * photo], dim=1)


class Gated(nn.Module):
    """A weighted mean; the weights depend on both (Arevalo et al., 2017)."""

    parts = 1

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, text: Tensor, photo: Tensor) -> Tensor:
        """(B, W), (B, W) → (B, W)."""
        share = torch.sigmoid(self.gate(torch.cat([text, photo], dim=1)))
        mean: Tensor = share * text + (1 - share) * photo
        return mean


class CrossAttention(nn.Module):
    """Each attends to both, in four heads."""

    parts = 2

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)

    def forward(self, text: Tensor, photo: Tensor) -> Tensor:
        """(B, W), (B, W) → (B, 2 W)."""
        tokens = torch.stack([text, photo], dim=1)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        joined: Tensor = (tokens + attended).flatten(1)
        return joined


JOINS: Final[dict[str, type[Concatenation | MultConcat | Gated | CrossAttention]]] = {
    "concatenation": Concatenation,
    "multconcat": MultConcat,
    "gated": Gated,
    "attention": CrossAttention,
}


class FusionNetwork(nn.Module):
    """Embeddings of text and photo → scores of the trained codes."""

    def __init__(self, text: int, photo: int, codes: int, kind: str) -> None:
        """Make an untrained network.

        Args:
            text: size of its embedding.
            photo: size of its embedding, the pretrained features first.
            codes: how many.
            kind: one of JOINS, or "late": the scores of each modality, added.
        """
        super().__init__()
        self.sizes = (text, photo)
        self.late = kind == "late"
        self.text = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, WIDTH))
        self.pretrained = nn.LayerNorm(FEATURES)
        self.tuned = nn.LayerNorm(photo - FEATURES)
        self.photo = nn.Linear(photo, WIDTH)
        self.no_text = nn.Parameter(torch.zeros(WIDTH))
        self.no_photo = nn.Parameter(torch.zeros(WIDTH))
        self.join = None if self.late else JOINS[kind]()
        self.scores = self._perceptron(1 if self.late else JOINS[kind].parts, codes)
        self.photo_scores = self._perceptron(1, codes) if self.late else None

    def forward(self, text: Tensor, photo: Tensor, present: Tensor) -> Tensor:
        """Score the trained codes.

        Args:
            text: (B, D); anything where it is missing.
            photo: (B, I); anything where it is missing.
            present: (B, 2), 1 where text and photo are present.

        Returns:
            Logits (B, K).
        """
        has_text, has_photo = present[:, :1], present[:, 1:]
        halves = [self.pretrained(photo[:, :FEATURES]), self.tuned(photo[:, FEATURES:])]
        t = has_text * self.text(text) + (1 - has_text) * self.no_text
        p = has_photo * self.photo(torch.cat(halves, dim=1)) + (1 - has_photo) * self.no_photo
        if self.photo_scores is not None:
            scores: Tensor = has_text * self.scores(t) + has_photo * self.photo_scores(p)
        else:
            scores = self.scores(p if self.join is None else self.join(t, p))
        return scores

    @staticmethod
    def _perceptron(parts: int, codes: int) -> nn.Sequential:
        return nn.Sequential(
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(parts * WIDTH, WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, codes),
        )


KINDS: Final = (*JOINS, "late")
INPUTS: Final = ("text", "photo", "there")
"""Names of the exported network's inputs, in the order of `FusionNetwork.forward`."""


def save(network: FusionNetwork, kind: str, path: Path) -> None:
    """Write a network: matrices in 8 bits with a scale for each row, the rest in half precision."""
    state = {}
    for name, value in network.state_dict().items():
        if value.dim() == 2:  # noqa: PLR2004 - a matrix
            state[name], state[name + SCALE] = quantised(value)
        else:
            state[name] = value.half().contiguous()
    save_file(state, path, metadata={"kind": kind})


def load(path: Path) -> FusionNetwork:
    """Read what `save` wrote."""
    stored = load_file(path)
    state = {}
    for name, value in stored.items():
        if not name.endswith(SCALE):
            scale = stored.get(name + SCALE)
            state[name] = value.float() if scale is None else value.float() * scale.float()
    with safe_open(path, "pt") as file:
        kind = file.metadata()["kind"]
    codes = len(state["scores.5.bias"])
    text, photo = state["text.1.weight"].shape[1], state["photo.weight"].shape[1]
    network = FusionNetwork(text, photo, codes, kind)
    network.load_state_dict(state)
    return network.eval()


def export_network(weights: Path, path: Path) -> None:
    """Write a saved network as ONNX."""
    network = load(weights)
    example = (torch.zeros(2, network.sizes[0]), torch.zeros(2, network.sizes[1]), torch.ones(2, 2))
    export(network, example, path, list(INPUTS), ("scores",))
