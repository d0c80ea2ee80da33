"""A torch module → ONNX."""

import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
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
        warnings.simplefilter("ignore")  # the tracer warns of constants that are constants
        torch.onnx.export(
            model.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    exported = onnx.load(path)
    _expand_softmax(exported.graph)
    onnx.checker.check_model(exported)
    onnx.save(exported, path)


def _expand_softmax(graph: onnx.GraphProto) -> None:
    """Replace each softmax over the last axis by its definition.

    ONNX Runtime's own adds the exponentials in an order that depends on the width of the
    processor's registers; every other operator of our networks gives equal bits with AVX2 and with
    AVX-512 (docs/decisions/0014-one-arithmetic.md).
    """
    nodes = []
    for node in graph.node:
        if node.op_type != "Softmax":
            nodes.append(node)
            continue
        (given,), (result,) = node.input, node.output
        names = {part: f"{node.name}/{part}" for part in ("axis", "max", "less", "exp", "sum")}
        last = numpy_helper.from_array(np.array([-1], np.int64), names["axis"])
        graph.initializer.append(last)
        nodes += [
            helper.make_node("ReduceMax", [given], [names["max"]], axes=[-1]),
            helper.make_node("Sub", [given, names["max"]], [names["less"]]),
            helper.make_node("Exp", [names["less"]], [names["exp"]]),
            helper.make_node("ReduceSum", [names["exp"], names["axis"]], [names["sum"]]),
            helper.make_node("Div", [names["exp"], names["sum"]], [result]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
