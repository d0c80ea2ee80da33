"""A torch module → ONNX."""

import logging
import warnings
from pathlib import Path
from typing import Final

import torch
from torch import nn

OPSET: Final = 17


def export(
    model: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: tuple[str, ...] = ("embedding",),
) -> None:
    """Write a module; the batch is free, and so is the length of a sequence of tokens.

    Args:
        model: its weights may be folded by this; load it anew for anything else.
        example: of the inputs; matrices of whole numbers are tokens.
        path: of the file.
        inputs: names.
        outputs: names.
    """
    axes = {name: {0: "batch"} for name in (*inputs, *outputs)}
    for name, tensor in zip(inputs, example, strict=True):
        if not tensor.is_floating_point():
            axes[name][1] = "tokens"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer tells of constants that are constants
        torch.onnx.export(
            model.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
