"""Exported encoders in fp32 → int8 for CPUs, fp16 for GPUs. Runs when a bundle is built."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.encoders import TEXT_ENCODERS
from models.image import normalised

RANGES: Final = "ranges.json"
"""Ranges of the image encoder's activations on goods, which int8 needs."""


class Precision(StrEnum):
    """Of an encoder's arithmetic."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"


class Photos(CalibrationDataReader):  # type: ignore[misc]
    """Hands photos to the quantiser, one at a time."""

    def __init__(self, photos: Sequence[NDArray[np.uint8]]) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(photos)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next photo as the encoder reads it; None after the last."""
        photo = next(self._left, None)
        return None if photo is None else {"pixels": normalised(photo)[np.newaxis]}


def convert(directory: Path, precision: Precision, ranges: Path) -> None:
    """Convert the encoders of a bundle in place.

    Args:
        directory: of the bundle.
        precision: wanted.
        ranges: as `measure_ranges` wrote them; without, the image encoder stays as it is in int8.
    """
    if precision is Precision.INT8:
        for name in TEXT_ENCODERS:
            text = directory / f"{name}.onnx"
            with _quiet():
                quantize_dynamic(text, text, weight_type=QuantType.QInt8, per_channel=True)
        if ranges.exists():
            _int8_image(directory / "image.onnx", directory / "image.onnx", None, ranges)
    elif precision is Precision.FP16:
        for name in (*TEXT_ENCODERS, "image"):
            file = directory / f"{name}.onnx"
            onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), file)


def measure_ranges(image: Path, photos: Sequence[NDArray[np.uint8]], ranges: Path) -> None:
    """Measure the ranges of the image encoder's activations on photos, and write them as JSON."""
    ranges.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        _int8_image(image, Path(directory) / "image.onnx", Photos(photos), ranges)


def _int8_image(image: Path, out: Path, photos: Photos | None, ranges: Path) -> None:
    with tempfile.TemporaryDirectory() as directory, _quiet():
        inferred = Path(directory) / "image.onnx"
        quant_pre_process(image, inferred, skip_symbolic_shape=True)
        quantize_static(
            inferred,
            out,
            photos,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibration_cache_path=ranges,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser from warning of each number that is a shape and stays as it is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
