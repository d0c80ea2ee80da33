"""Where encoders come from: the packaged ones, as tuned here, or any model of transformers.

Needs torch: to train and to build a bundle, never to serve.
"""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from models.encoding.image import PHOTO_SIZE
from models.networks.image_encoder import ImageEncoder
from models.networks.onnx_export import export
from models.networks.text_encoder import TextEncoder, packaged_tokenizer

PACKAGED: Final = "packaged"
TUNED_TEXT: Final = "text.safetensors"
TUNED_IMAGE: Final = "image.safetensors"


class BadEncoder(Exception):  # noqa: N818 - says what it is
    """A model that cannot be loaded; the message says what to do."""


class TransformersText(nn.Module):
    """Any text model of transformers: mean of the last hidden states, of length 1."""

    def __init__(self, name: str, tuned: Path | None = None) -> None:
        super().__init__()
        self.model = _loaded(AutoModel, name)
        if tuned is not None:
            self.load_state_dict({name: value.float() for name, value in load_file(tuned).items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed tokens: (B, T), (B, T) → (B, D)."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B, D)
        return functional.normalize(mean, dim=1)


class TransformersImage(nn.Module):
    """Any vision model of transformers, beside the packaged tail that gives the words."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.packaged = ImageEncoder()
        self.model = _loaded(AutoModel, name)
        processor = _loaded(AutoImageProcessor, name)
        self.size: int = getattr(self.model.config, "image_size", PHOTO_SIZE)
        self.mean = nn.Parameter(torch.tensor(processor.image_mean).view(1, 3, 1, 1))
        self.std = nn.Parameter(torch.tensor(processor.image_std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed photos: (B, 3, 224, 224) as the packaged encoder reads them → (B, 1280 + D)."""
        words = self.packaged.pretrained(self.packaged.middle(pixels))
        shares = (pixels * 128.0 + 127.0) / 255.0
        sized = functional.interpolate(shares, size=(self.size, self.size), mode="bilinear")
        output = self.model(pixel_values=(sized - self.mean) / self.std)
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            states = output.last_hidden_state
            pooled = states.flatten(2).mean(2) if states.dim() == 4 else states.mean(1)  # noqa: PLR2004
        return torch.cat([words, pooled.flatten(1)], dim=1)


def text_encoder(name: str, tuned: Path | None = None) -> tuple[nn.Module, Tokenizer]:
    """Load an encoder of texts, and what cuts them into its tokens.

    Args:
        name: PACKAGED, a directory of a transformers model, or its id on the hub.
        tuned: file of tuned weights, as `tuned_state` returns them; as published without.

    Raises:
        BadEncoder: the model cannot be loaded.
    """
    if name == PACKAGED:
        return TextEncoder(tuned), packaged_tokenizer()
    model, tokenizer = TransformersText(name, tuned), _tokenizer(name)
    tokenizer.no_padding()
    return model, tokenizer


def tuned_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the weights that are tuned, in half precision."""
    return {name: value.detach().half().contiguous() for name, value in encoder.named_parameters()}


def export_text(name: str, tuned: Path, directory: Path) -> None:
    """Write text.onnx and its tokens.

    Args:
        name: as `text_encoder` takes it.
        tuned: directory of the tuned weights; they may be missing.
        directory: where the files go.

    Raises:
        BadEncoder: the model cannot be loaded.
    """
    file = tuned / TUNED_TEXT
    model, tokenizer = text_encoder(name, file if file.exists() else None)
    tokens = torch.ones(2, 8, dtype=torch.long)
    inputs = ["input_ids", "attention_mask"]
    export(model, (tokens, tokens.clone()), directory / "text.onnx", inputs)
    tokenizer.save(str(directory / "text.tokens.json"))


def _tokenizer(name: str) -> Tokenizer:
    tokenizer = _loaded(AutoTokenizer, name).backend_tokenizer
    assert isinstance(tokenizer, Tokenizer)  # noqa: S101 - for the type checker
    return tokenizer


def export_image(name: str, tuned: Path, directory: Path) -> None:
    """Write image.onnx; see `export_text`."""
    if name == PACKAGED:
        file = tuned / TUNED_IMAGE
        model: nn.Module = ImageEncoder(file if file.exists() else None)
    else:
        model = TransformersImage(name)
    pixels = torch.zeros(2, 3, PHOTO_SIZE, PHOTO_SIZE)
    export(model, (pixels,), directory / "image.onnx", ["pixels"])


def _loaded(kind: Any, name: str) -> Any:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        loaded = kind.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise BadEncoder(
            f"{name!r} is neither a directory of a transformers model nor to be had from the hub: "
            f"{error}"
        ) from error
    return loaded.eval() if isinstance(loaded, nn.Module) else loaded
