"""An exported network, run by ONNX Runtime: CUDA where there is a GPU, else the CPU.

The one place where networks run, so the one place that knows what to do when that fails: see
`OnnxBackend.run_all`.
"""

import ctypes
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.vectors import Array

ERROR = 3
"""Least severe level that ONNX Runtime logs."""
CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"

HALVED: Final = "halved"
ROW_ON_CPU: Final = "row_on_cpu"
CPU_FOR_GOOD: Final = "cpu_for_good"
NONE: Final = "none"
"""Remedies of a run that failed, as `observe_faults` tells them."""


class InferenceFailed(Exception):  # noqa: N818 - says what happened
    """A network gives no finite result for a row, on the CPU either."""


class NotFinite(Exception):  # noqa: N818 - says what it is
    """A result holds NaN or an infinite number."""


def _log_fault(remedy: str, error: Exception) -> None:
    logging.getLogger(__name__).warning("inference failed: %s, %s", type(error).__name__, remedy)


_observers: list[Callable[[str, Exception], None]] = [_log_fault]


def observe_faults(observer: Callable[[str, Exception], None]) -> None:
    """Have every fault of this process told to `observer`: its remedy, and what was raised."""
    _observers[:] = [observer]


def _tell(remedy: str, error: Exception) -> None:
    for observer in _observers:
        observer(remedy, error)


class Backend(Protocol):
    """Runs one network. Thread safe."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Embed a batch: arrays (B, …) → (B, D)."""


def gpu_usable() -> bool:
    """Return whether the runtime supports CUDA and an NVIDIA driver is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return CUDA in onnxruntime.get_available_providers()


class OnnxBackend:
    """A network as ONNX. Kernels choose their arithmetic by the shape of a batch.

    So the other data of a batch could change a bit of the result: what is scored runs alone, with a
    batch of 1.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        outputs: Sequence[str] = (),
        gpu: bool = True,
    ) -> None:
        """Load a network.

        Args:
            model: path of the ONNX file, or what it contains.
            threads: of one run. Several busy-wait for work, and so take the core that another
                session runs on (docs/decisions/0013-threads.md).
            outputs: names of those that are wanted; all by default.
            gpu: use one if there is one.
        """
        self._model = model
        self._threads = threads
        self._outputs = list(outputs) or None
        self._lock = threading.Lock()
        self._cpu: onnxruntime.InferenceSession | None = None
        self._run_by_cuda: Mapping[str, NDArray[Any]] | None = None
        """The last row that CUDA ran."""
        self._session = self._first_session(gpu=gpu)

    @property
    def provider(self) -> str:
        """CUDA or CPU: what runs the network as of now."""
        return CPU if self._session is self._cpu else CUDA

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Embed a batch: arrays (B, …) → (B, D); see `run_all`."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: Mapping[str, NDArray[Any]]) -> list[Array]:
        """Run a batch: arrays (B, …) → each output (B, …), all finite.

        A batch that fails is halved, down to single rows: less fits into the memory that is left,
        and one row fails no others. A row that fails on CUDA runs on the CPU. If CUDA then fails on
        the last row that it ran before, it is lost, as it is after an error in a kernel: all that
        comes runs on the CPU.

        Raises:
            InferenceFailed: a row fails on the CPU too, or its result there is not finite.
        """
        session = self._session
        try:
            outputs = self._finite(session, inputs)
        except Exception as error:  # noqa: BLE001 - the runtime raises many; told, and raised below
            return self._after_fault(session, inputs, error)
        if session is not self._cpu:
            self._run_by_cuda = {name: rows[:1] for name, rows in inputs.items()}
        return outputs

    def _after_fault(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Mapping[str, NDArray[Any]],
        error: Exception,
    ) -> list[Array]:
        middle = len(next(iter(inputs.values()))) // 2
        if middle:
            _tell(HALVED, error)
            halves = [
                self.run_all({name: rows[half] for name, rows in inputs.items()})
                for half in (slice(middle), slice(middle, None))
            ]
            return [np.concatenate(parts) for parts in zip(*halves, strict=True)]
        if session is self._cpu:
            _tell(NONE, error)
            raise InferenceFailed(type(error).__name__) from error
        try:
            cpu = self._cpu_session()
            outputs = self._finite(cpu, inputs)
        except Exception as on_cpu:
            _tell(NONE, on_cpu)
            raise InferenceFailed(type(on_cpu).__name__) from on_cpu
        if self._is_lost(session):
            with self._lock:
                reported, self._session = self._session is cpu, cpu
            if not reported:
                _tell(CPU_FOR_GOOD, error)
        else:
            _tell(ROW_ON_CPU, error)
        return outputs

    def _is_lost(self, session: onnxruntime.InferenceSession) -> bool:
        """Whether CUDA does not run any more what it ran before."""
        if self._run_by_cuda is None:
            return True
        try:
            self._finite(session, self._run_by_cuda)
        except Exception:  # noqa: BLE001 - that is the question
            return True
        return False

    def _finite(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]]
    ) -> list[Array]:
        outputs: list[Array] = session.run(self._outputs, dict(inputs))
        if not all(np.isfinite(output).all() for output in outputs):
            raise NotFinite
        return outputs

    def _first_session(self, *, gpu: bool) -> onnxruntime.InferenceSession:
        if gpu and gpu_usable():
            try:
                session = self._opened(CUDA, CPU)
            except Exception as error:  # noqa: BLE001 - told; the CPU remains
                _tell(CPU_FOR_GOOD, error)
            else:
                # Without CUDA's libraries the runtime goes on with what is left.
                if CUDA in session.get_providers():
                    return session
        return self._cpu_session()

    def _cpu_session(self) -> onnxruntime.InferenceSession:
        """Return the session on the CPU, opened the first time."""
        with self._lock:
            if self._cpu is None:
                self._cpu = self._opened(CPU)
            return self._cpu

    def _opened(self, *providers: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERROR
        options.intra_op_num_threads = self._threads
        return onnxruntime.InferenceSession(
            self._model,
            options,
            providers=list(providers),
            enable_fallback=0,  # the runtime's own prints, and never tells
        )
