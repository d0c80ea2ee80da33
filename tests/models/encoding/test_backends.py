"""Runs that fail: a batch is halved, the CPU takes over from CUDA, and nothing is ever NaN."""

import logging

import numpy as np
import onnxruntime
import pytest

from models.encoding import backends
from models.encoding.backends import CPU, CUDA, InferenceFailed, OnnxBackend
from models.encoding.encoders import Encoders


class FakeSession:
    """Doubles its input; fails as `faults` says: provider → what it does to a batch (B, 1)."""

    def __init__(self, model, options, *, providers, **_):
        (self.provider, *_) = providers
        if "load" in self.faults.get(self.provider, ()):
            raise RuntimeError("no memory to load into")
        self.opened.append(self.provider)

    def get_providers(self):
        return [self.provider]

    def run(self, names, inputs):
        rows = inputs["x"]
        self.ran.append((self.provider, rows[:, 0].tolist()))
        fault = self.faults.get(self.provider, {})
        if len(rows) > fault.get("most_rows", 1_000) or fault.get("broken"):
            raise onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException("CUDA error")
        if set(rows[:, 0]) & set(fault.get("rows", ())):
            return [np.where(rows == 0, np.float32(fault["gives"]), 2 * rows)]
        return [2 * rows]


@pytest.fixture
def told():
    """What was told of faults, in order."""
    remedies = []
    backends.observe_faults(lambda remedy, _: remedies.append(remedy))
    yield remedies
    backends.observe_faults(backends._log_fault)


@pytest.fixture
def backend(monkeypatch, told):
    """Makes a backend on fake sessions, with a GPU unless told otherwise."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(FakeSession, "opened", [], raising=False)
    monkeypatch.setattr(FakeSession, "ran", [], raising=False)

    def make(*, gpu=True, **faults):
        monkeypatch.setattr(backends, "gpu_usable", lambda: gpu)
        monkeypatch.setattr(FakeSession, "faults", faults, raising=False)
        return OnnxBackend(b"model")

    return make


def rows(*values):
    return {"x": np.array(values, np.float32)[:, np.newaxis]}


def ran(backend, *values):
    return backend.run(rows(*values))[:, 0].tolist()


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_a_batch_that_does_not_fit_is_halved(backend, told, gpu, count):
    """Down to what fits; the rows keep their order, and the GPU is kept."""
    provider = CUDA if gpu else CPU
    network = backend(gpu=gpu, **{provider: {"most_rows": 3}})
    assert ran(network, *range(count)) == [2.0 * n for n in range(count)]
    assert set(told) <= {"halved"}
    assert (count > 3) == bool(told)
    assert network.provider == provider


def test_a_row_that_cuda_cannot_runs_on_the_cpu(backend, told):
    """CUDA stays, for all others: no single datum takes the GPU away."""
    network = backend(**{CUDA: {"rows": [0], "gives": np.inf}})
    assert ran(network, 1) == [2.0]
    for _ in range(5):
        assert ran(network, 0) == [0.0]
    assert ran(network, 3, 0, 5) == [6.0, 0.0, 10.0]
    assert network.provider == CUDA
    assert told == ["row_on_cpu"] * 5 + ["halved", "halved", "row_on_cpu"]
    assert FakeSession.opened == [CUDA, CPU]


def test_cuda_that_goes_on_failing_is_left_once_and_for_good(backend, told):
    """An error in a kernel sticks: CUDA answers nothing more, and is not asked for ever."""
    network = backend()
    assert ran(network, 1) == [2.0]
    FakeSession.faults = {CUDA: {"broken": True}}
    assert ran(network, 2, 3) == [4.0, 6.0]
    assert ran(network, 4) == [8.0]
    assert told == ["halved", "cpu_for_good"]
    assert network.provider == CPU
    assert [values for provider, values in FakeSession.ran if provider == CUDA] == [
        [1.0],  # works
        [2.0, 3.0],
        [2.0],
        [1.0],  # what it ran before
    ]


def test_a_gpu_that_the_network_cannot_be_loaded_into_is_left(backend, told):
    """Its memory may be another process's."""
    network = backend(**{CUDA: {"load": True}})
    assert ran(network, 1) == [2.0]
    assert told == ["cpu_for_good"]


@pytest.mark.parametrize("gives", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("gpu", [True, False])
def test_what_is_not_finite_is_never_returned(backend, told, gives, gpu):
    """One row fails no others; the GPU is not to blame where the CPU fails too."""
    fault = {"rows": [0], "gives": gives}
    network = backend(gpu=gpu, **{CUDA: fault, CPU: fault})
    assert ran(network, 1) == [2.0]
    with pytest.raises(InferenceFailed, match=r"^NotFinite$"):
        network.run(rows(0))
    with pytest.raises(InferenceFailed):
        network.run(rows(1, 2, 0))
    assert ran(network, 1, 2) == [2.0, 4.0]
    assert network.provider == (CUDA if gpu else CPU)
    assert told == ["none", "halved", "halved", "none"]


def test_a_broken_session_says_so_at_every_row(backend, told):
    """No end of attempts, and the error of the runtime, which may quote data, is not repeated."""
    network = backend(gpu=False, **{CPU: {"broken": True}})
    with pytest.raises(InferenceFailed, match=r"^RuntimeException$"):
        network.run(rows(1))
    assert FakeSession.ran == [(CPU, [1.0])]


def test_faults_are_told_where_nobody_observes_them(backend, caplog):
    """In the log of whatever program runs the network."""
    backends.observe_faults(backends._log_fault)
    with caplog.at_level(logging.WARNING), pytest.raises(InferenceFailed):
        backend(gpu=False, **{CPU: {"broken": True}}).run(rows(1))
    assert caplog.messages == ["inference failed: RuntimeException, none"]


def test_embeddings_of_a_lost_gpu_are_told_apart(monkeypatch, bundle):
    """The CPU's differ in the last bits, so they may not lie under the same keys."""
    encoders = Encoders(bundle)
    before = encoders.arithmetic
    embed = encoders.embed_texts
    monkeypatch.setattr(encoders, "embed_texts", lambda texts: [2 * v for v in embed(texts)])
    assert encoders.arithmetic == before
    monkeypatch.setattr(OnnxBackend, "provider", property(lambda _: CUDA))
    assert encoders.arithmetic != before
