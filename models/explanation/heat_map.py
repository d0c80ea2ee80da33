"""Which regions of a photo speak against the declared heading? A grid of scores, and its picture.

The image encoder's embedding is the mean of what it sees in each cell of a grid, so a cell is
taken out of the mean exactly: one run of the encoder is enough for all cells. That is a class
activation map (Zhou et al., CVPR 2016) by leaving out, and needs no gradient. An encoder that does
not expose its grid runs again for each cell, covered with the photo's mean colour
(Zeiler & Fergus, ECCV 2014): 49 runs instead of one.
"""

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.encoding.backends import OnnxBackend
from models.encoding.image import PHOTO_SIZE, normalised
from models.vectors import Array

GRID: Final = 7
"""Cells in a row and in a column."""
GRIDS: Final = tuple(f"/{tail}/Clip_output_0" for tail in ("pretrained", "tuned"))
"""The exported encoder's tensors before its mean, each (1, 1280, GRID, GRID)."""
COLOURS: Final = np.array(
    [
        (0, 0, 4),
        (51, 10, 95),
        (120, 28, 109),
        (186, 54, 85),
        (237, 105, 37),
        (251, 180, 26),
        (252, 255, 164),
    ],
    np.float64,
)
"""Inferno, whose lightness grows evenly (Smith & van der Walt, SciPy 2015, CC0)."""
OPAQUE: Final = 0.75
"""Opacity of the hottest region; the coldest is transparent."""
PLAIN: Final = 0.1
"""What a region must add to be drawn in full colour, so that a photo that fits stays pale: in 60
such photos the hottest cell added 0.05 in the median, in 60 with other goods in them 0.33. Unit:
nats."""


class Regions:
    """Embeds a photo with each cell of the grid left out. Thread safe."""

    def __init__(self, encoder: Path, *, threads: int = 1) -> None:
        """Load the image encoder of a bundle once more, with its grid as an output."""
        model = encoder.read_bytes()
        self._has_grid = True
        try:
            with_grid = model + b"".join(map(_as_output, GRIDS))
            self._encoder = OnnxBackend(with_grid, threads=threads, outputs=GRIDS, gpu=False)
        except Exception:  # noqa: BLE001 - the runtime raises several for no such tensor
            self._has_grid = False
            self._encoder = OnnxBackend(model, threads=threads, gpu=False)

    def left_out(self, photo: NDArray[np.uint8]) -> Array:
        """Return the embedding of a photo, and of it without each cell, row by row.

        Args:
            photo: as `models.encoding.image.decode` returns it.

        Returns:
            (1 + GRID², I), the whole photo first.
        """
        if not self._has_grid:
            return np.stack([self._run(view)[0][0] for view in covered(photo)])
        grid = np.concatenate([output[0] for output in self._run(photo)])
        cells = grid.reshape(len(grid), -1).T.astype(np.float32)  # (GRID², I)
        total = cells.sum(axis=0)
        return np.vstack([total / len(cells), (total - cells) / (len(cells) - 1)])

    def _run(self, photo: NDArray[np.uint8]) -> list[Array]:
        return self._encoder.run_all({"pixels": normalised(photo)[np.newaxis]})


def _as_output(tensor: str) -> bytes:
    """Return bytes that, after those of an ONNX model, make a tensor one of its outputs.

    Protocol buffers that are concatenated are merged: field 7 of the model is the graph, field 12
    of that its outputs, field 1 of those the name. So serving needs no `onnx`.
    """
    message = tensor.encode()
    for field in (1, 12, 7):
        if len(message) > 127:  # noqa: PLR2004 - then the length would take a second byte
            raise ValueError(f"The name {tensor} is too long.")
        message = bytes([field << 3 | 2, len(message)]) + message
    return message


def covered(photo: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return a photo, and it with each cell of the grid covered by its mean colour."""
    edges = np.linspace(0, PHOTO_SIZE, GRID + 1).round().astype(int)
    colour = photo.mean(axis=(0, 1)).astype(np.uint8)
    views = [photo]
    for row in range(GRID):
        for column in range(GRID):
            view = photo.copy()
            view[edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = colour
            views.append(view)
    return views


def enlarged(grid: NDArray[np.float64]) -> Array:
    """Return a map of the photo's size from its grid (GRID, GRID)."""
    small = Image.fromarray(grid.astype(np.float32))
    size = (PHOTO_SIZE, PHOTO_SIZE)
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32)


def hottest(map_: Array, share: float) -> NDArray[np.bool_]:
    """Return where a map is at its hottest: the given share of it."""
    places: NDArray[np.bool_] = map_ >= np.quantile(map_, 1 - share)
    return places


def overlay(grid: NDArray[np.float64]) -> bytes:
    """Draw a grid (GRID, GRID) as a PNG to lay over the photo, stretched to its sides.

    What speaks against the declared heading has colour, from dark to light and ever less
    transparent; what speaks for it has none. Colours are relative to the photo's hottest region,
    or to PLAIN where that is more.
    """
    heat = np.clip(enlarged(grid), 0.0, None)
    heat = heat / max(float(heat.max()), PLAIN)
    levels = np.linspace(0, 1, 256)
    places = np.linspace(0, 1, len(COLOURS))
    rgb = [np.interp(levels, places, COLOURS[:, channel]) for channel in range(3)]
    picture = Image.fromarray((heat * 255).round().astype(np.uint8), "L")
    picture.putpalette(np.stack(rgb, axis=1).round().astype(np.uint8).tobytes())
    opacity = (levels * OPAQUE * 255).round().astype(np.uint8).tobytes()
    out = io.BytesIO()
    picture.save(out, "PNG", transparency=opacity)
    return out.getvalue()
