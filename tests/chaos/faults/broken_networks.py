"""Networks that fail inside a worker's process, and a GPU that is the processor in truth.

A test passes `injected(break_networks, …)` to `start_worker(bug=…)`. The product has no switches for them.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from models.encoding import backends
from models.encoding.backends import CPU, CUDA
from models.encoding.text import normalise, tokenizer

POISON = "a parcel of indivisible zeros"
"""The text encoder answers NaN to it, wherever it runs."""


def break_networks(*, gpu_lost_after=None, broken_after=None, gives="an error"):
    """Let networks fail.

    Args:
        gpu_lost_after: rows that each network does on a GPU, then every run fails, as after an error
            in a kernel; without it there is no GPU.
        broken_after: rows that each network does on the processor, then every run fails; all of them
            without it.
        gives: what a broken network answers: "an error", or a number.
    """
    tokens = tokenizer(Path(os.environ["REDLANE_BUNDLE"]) / "text.tokens.json")
    poison = [tokens.encode(normalise(POISON)).ids]
    works_for = {CUDA: gpu_lost_after, CPU: broken_after}

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model, options, *, providers, **more):
            super().__init__(model, options, providers=[CPU], **more)
            self.provider, self.rows = providers[0], 0

        def get_providers(self):
            return [self.provider]

        def run(self, names, inputs, *more):
            self.rows += len(next(iter(inputs.values())))
            most = works_for[self.provider]
            broken = most is not None and self.rows > most
            if broken and (gives == "an error" or self.provider == CUDA):
                raise Fail("CUDA failure 700: an illegal memory access was encountered")
            outputs = super().run(names, inputs, *more)
            if broken:
                return [np.full_like(output, float(gives)) for output in outputs]
            if np.array_equal(inputs.get("input_ids"), poison):
                return [np.full_like(output, np.nan) for output in outputs]
            if self.provider == CUDA:  # whose last bits are its own
                return [np.nextafter(output, np.float32(0)) for output in outputs]
            return outputs

    onnxruntime.InferenceSession = Session
    backends.gpu_usable = lambda: gpu_lost_after is not None
