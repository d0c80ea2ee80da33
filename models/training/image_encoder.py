"""Tunes the second tail of the image encoder to distinguish goods that customs distinguishes.

The shared blocks process each augmented photo once; only the tail is trained on their output.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.encoding.image import PHOTO_SIZE
from models.networks.image_encoder import FEATURES, ImageEncoder, Tail
from models.networks.onnx_export import export
from models.progress import Say

BATCH: Final = 48
EPOCHS: Final = 12
VIEWS: Final = 6
"""Augmented variants of each photo."""
RATE: Final = 6e-4
DECAY: Final = 0.02
SMOOTHING: Final = 0.1
DROPOUT: Final = 0.2
"""Of features before the classifier, which is discarded after tuning."""


def tune(
    photos: NDArray[np.uint8],
    labels: NDArray[np.int64],
    held: tuple[NDArray[np.uint8], NDArray[np.int64]],
    out: Path,
    *,
    seed: int,
    epochs: int = EPOCHS,
    say: Say = print,
) -> None:
    """Tune the second tail to distinguish codes, and write it in half precision.

    Args:
        photos: (N, 224, 224, 3), as `models.encoding.image.decode` returns them.
        labels: (N,), each code's number.
        held: photos and labels to measure the progress on.
        out: safetensors.
        seed: of order and augmentation.
        epochs: rounds over the photos.
        say: called with the progress.
    """
    torch.manual_seed(seed)
    encoder = ImageEncoder()
    shared = _shared()
    views = []
    for view in range(VIEWS):
        views.append(_shared_features(shared, photos, augment=True))
        say("Augmenting photos", view + 1, VIEWS)
    held_features = _shared_features(shared, held[0], augment=False)
    tail = encoder.tuned.to(memory_format=torch.channels_last)
    head = nn.Linear(FEATURES, int(labels.max()) + 1)
    fast = torch.compile(tail) if shutil.which("g++") else tail
    parameters = [*tail.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    steps = epochs * (len(photos) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.1
    )
    for epoch in range(epochs):
        tail.train()
        for chosen in torch.split(torch.randperm(len(photos))[: steps // epochs * BATCH], BATCH):
            view_features = views[int(torch.randint(VIEWS, (1,)))]
            middle = view_features[chosen].float().contiguous(memory_format=torch.channels_last)
            right = torch.from_numpy(labels)[chosen]
            with torch.autocast("cpu", torch.bfloat16):
                features = functional.dropout(fast(middle).float(), DROPOUT)
            loss = functional.cross_entropy(head(features), right, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 2.0)
            optimizer.step()
            schedule.step()
        tail.eval()
        accuracy = _accuracy(tail, head, held_features, held[1])
        say(f"Tuning the image encoder: {accuracy:.1%} of valid right", epoch + 1, epochs)
        state = {k: v.half().contiguous() for k, v in tail.state_dict().items()}
        save_file({k: v for k, v in state.items() if "num_batches" not in k}, out)


def _shared_features(
    shared: Callable[[Tensor], Tensor], photos: NDArray[np.uint8], *, augment: bool
) -> Tensor:
    """Return the output of the shared blocks: (N, 80, 14, 14), in half precision."""
    batches = []
    for start in range(0, len(photos), BATCH):
        pixels = to_pixels(photos[start : start + BATCH])
        batches.append(shared(augmented(pixels) if augment else pixels).half())
    return torch.cat(batches)


def to_pixels(photos: NDArray[np.uint8]) -> Tensor:
    """Return photos (B, H, W, 3) as `models.encoding.image.normalised` does: (B, 3, H, W)."""
    pixels = torch.from_numpy(photos).permute(0, 3, 1, 2).float()
    return ((pixels - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)


def augmented(pixels: Tensor) -> Tensor:
    """Return photos as another camera might have taken them: (B, 3, H, W), same shape.

    In another frame, mirrored, tilted, in another light, less sharp, or partly covered.
    """
    count = len(pixels)
    scale = torch.empty(count).uniform_(0.65, 1.15)
    aspect = torch.empty(count).uniform_(-0.2, 0.2).exp()
    tilt = torch.empty(count).uniform_(-0.2, 0.2)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)  # noqa: PLR2004
    room = (1 - scale).abs()
    shift = torch.empty(count, 2).uniform_(-1, 1) * room[:, None]
    matrix = torch.stack(
        [
            torch.stack(
                [scale * aspect * mirror * tilt.cos(), -scale * tilt.sin(), shift[:, 0]], 1
            ),
            torch.stack([scale * mirror * tilt.sin(), scale / aspect * tilt.cos(), shift[:, 1]], 1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
    photos = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)

    def each(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high)

    grey = photos.mean(dim=1, keepdim=True)
    photos = grey + (photos - grey) * each(0.5, 1.5)
    middle = photos.mean(dim=(1, 2, 3), keepdim=True)
    photos = middle + (photos - middle) * each(0.7, 1.3) + each(-0.2, 0.2)
    blurred = functional.interpolate(functional.avg_pool2d(photos, 2), scale_factor=2.0)
    photos = torch.where(torch.rand(count, 1, 1, 1) < 0.2, blurred, photos)  # noqa: PLR2004
    return _covered(photos).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def variants(photos: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return one augmented variant of each photo (N, H, W, 3), to be embedded as any photo."""
    pixels = (augmented(to_pixels(photos)) * 128 + 127).round().clamp(0, 255)
    return list(pixels.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy())


def _covered(pixels: Tensor) -> Tensor:
    """Cover a rectangle of a quarter of the photos."""
    count, _, height, width = pixels.shape
    rows = torch.arange(height).view(1, 1, -1, 1) / height
    columns = torch.arange(width).view(1, 1, 1, -1) / width
    centre = torch.rand(2, count, 1, 1, 1)
    half = torch.empty(2, count, 1, 1, 1).uniform_(0.05, 0.2)
    inside = ((rows - centre[0]).abs() < half[0]) & ((columns - centre[1]).abs() < half[1])
    chosen = torch.rand(count, 1, 1, 1) < 0.25  # noqa: PLR2004
    return torch.where(inside & chosen, torch.empty(count, 3, 1, 1).uniform_(-1, 1), pixels)


@torch.no_grad()
def _accuracy(tail: Tail, head: nn.Linear, features: Tensor, labels: NDArray[np.int64]) -> float:
    right = 0
    for start in range(0, len(features), BATCH):
        predicted = head(tail(features[start : start + BATCH].float())).argmax(dim=1).numpy()
        right += int((predicted == labels[start : start + BATCH]).sum())
    return right / len(features)


class _Middle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = ImageEncoder()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder.middle(pixels)


def _shared() -> Callable[[Tensor], Tensor]:
    """Return the shared blocks, run by ONNX Runtime: ten times as fast as by torch."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shared.onnx"
        export(_Middle(), (torch.zeros(2, 3, PHOTO_SIZE, PHOTO_SIZE),), path, ["pixels"])
        session = onnxruntime.InferenceSession(path)

    def run(pixels: Tensor) -> Tensor:
        (middle,) = session.run(None, {"pixels": pixels.contiguous().numpy()})
        return torch.from_numpy(middle).contiguous(memory_format=torch.channels_last)

    return run
