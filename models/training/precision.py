"""Exported encoders in fp32, for any processor, → fp16 for GPUs. Runs when a bundle is built."""

from enum import StrEnum
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


class Precision(StrEnum):
    """Of an encoder's arithmetic. Why there is no int8: docs/decisions/0014-one-arithmetic.md."""

    FP32 = "fp32"
    FP16 = "fp16"


def convert(directory: Path, precision: Precision) -> None:
    """Convert the encoders of a bundle, which are in fp32, in place."""
    if precision is Precision.FP32:
        return
    for name in ("text", "image"):
        file = directory / f"{name}.onnx"
        onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), file)
