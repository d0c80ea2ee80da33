"""An exported encoder, run by ONNX Runtime: CUDA where there is a GPU, else the CPU."""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

ERROR = 3
"""Least severe level that ONNX Runtime logs."""


class Backend(Protocol):
    """Runs one encoder. Thread safe."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Embed a batch: arrays (B, …) → (B, D)."""


def gpu_usable() -> bool:
    """Return whether the runtime supports CUDA and an NVIDIA driver is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


class OnnxBackend:
    """An encoder as ONNX. Kernels choose their arithmetic by the shape of a batch.

    So the other data of a batch could change a bit of the result: what is scored runs alone, with a
    batch of 1.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load an encoder.

        Args:
            path: of the ONNX file.
            threads: of one run. Several busy-wait for work, and so take the core that another
                session runs on (docs/decisions/0013-threads.md).
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERROR
        options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        if gpu_usable():
            providers.insert(0, "CUDAExecutionProvider")
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Embed a batch: arrays (B, …) → (B, D)."""
        embeddings: NDArray[np.float32]
        (embeddings,) = self._session.run(None, dict(inputs))
        return embeddings
