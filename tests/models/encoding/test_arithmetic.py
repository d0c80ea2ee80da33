"""Equal bits on every x86-64 processor with AVX2 (docs/decisions/0014-one-arithmetic.md)."""

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_info

from models.arithmetic import KERNELS, THREADS
from models.encoding.backends import OnnxBackend
from models.encoding.encoders import PROBE_PHOTO, PROBE_TEXT, Encoders

LARGEST = 255
"""Of a byte; the products of two, with weights of 127, do not fit into 16 bits."""

VERDICT = """
import hashlib, json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from models.scoring.scorer import Scorer
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from schemas.examples import examples

bundle, vectors = map(Path, sys.argv[1:])
scorer = Scorer.load(bundle, threads=1)
low = dict(examples("declaration"))["declaration/low-value"]
found = np.load(vectors)
# Not both in one item: what many texts are near to would be gigaflops for an emulator.
items = (
    ItemEvidence(low.goods_items[0], found["text"], ()),
    ItemEvidence(replace(low.goods_items[0], sequence_number=2), None, (found["photo"],)),
)
declaration = replace(low, goods_items=tuple(one.item for one in items))
verdict = scorer.score([DeclarationEvidence(declaration, items)])
print(json.dumps([scorer.arithmetic, repr(verdict)]))
"""


def run(*command, **environment):
    """What a program says, started without what this process has pinned."""
    clean = {name: value for name, value in os.environ.items() if name not in KERNELS}
    done = subprocess.run(
        command, env=clean | environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def network(path, node, weights, shape):
    """One operator with its weights, as an encoder's backend runs it."""
    graph = helper.make_graph(
        [node],
        "one operator",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return OnnxBackend(path, threads=1)


def extremes(dice, shape, choices):
    return dice.choice(np.array(choices), shape).astype(np.int64)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_products_of_extreme_whole_numbers_are_exact(tmp_path, rows):
    """Where kernels for bytes saturate: ours must give what exact arithmetic does."""
    dice = np.random.default_rng(rows)
    given = extremes(dice, (rows, 512), (0, LARGEST - 1, LARGEST))
    weights = extremes(dice, (512, 96), (-128, -127, 127))
    given[0], weights[:, 0] = LARGEST, 127
    backend = network(tmp_path / "m.onnx", helper.make_node("MatMul", ["x", "w"], ["y"]), weights, given.shape)  # fmt: skip
    found = backend.run({"x": given.astype(np.float32)})
    assert np.array_equal(found, given @ weights)
    assert found[0, 0] == LARGEST * 127 * 512


@pytest.mark.parametrize(("groups", "side"), [(1, 1), (1, 3), (32, 3), (32, 5)])
def test_convolutions_of_extreme_whole_numbers_are_exact(tmp_path, groups, side):
    """Pointwise, dense and depthwise, as the image encoder has them."""
    dice = np.random.default_rng(side)
    given = extremes(dice, (1, 32, 9, 9), (0, LARGEST - 1, LARGEST))
    weights = extremes(dice, (32, 32 // groups, side, side), (-128, -127, 127))
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups)
    found = network(tmp_path / "c.onnx", node, weights, given.shape).run(
        {"x": given.astype(np.float32)}
    )
    windows = np.lib.stride_tricks.sliding_window_view(given, (side, side), axis=(2, 3))[0]
    if groups == 1:
        expected = np.einsum("cyxij,ocij->oyx", windows, weights)
    else:
        expected = np.einsum("cyxij,cij->cyx", windows, weights[:, 0])
    assert np.array_equal(found[0], expected)


def test_no_network_of_the_bundle_has_an_operator_that_differs_between_processors(bundle):
    """None on bytes, whose kernels saturate on some, and no softmax, whose sums differ."""
    refused = {"Softmax", "LogSoftmax", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"}
    files = sorted(bundle.glob("*.onnx"))
    assert {file.stem for file in files} >= {"text", "image", "fusion"}
    for file in files:
        used = {node.op_type for node in onnx.load(file).graph.node}
        assert not {name for name in used if name in refused or name.startswith("QLinear")}, file


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there is nothing to pin")
@pytest.mark.parametrize("module", ["models.scoring.scorer", "streams.app", "streams.cli"])
def test_numpy_and_its_products_are_kept_to_avx2(module):
    """By whatever a process starts with; on any processor that has it."""
    blas, threads, features = run(
        sys.executable,
        "-c",
        f"import {module}, json, numpy, threadpoolctl;"
        "from numpy._core._multiarray_umath import __cpu_features__ as features;"
        "blas = [one['architecture'] for one in threadpoolctl.threadpool_info()"
        "        if one['user_api'] == 'blas'];"
        "threads = [one['num_threads'] for one in threadpoolctl.threadpool_info()"
        "           if one['user_api'] == 'blas'];"
        "print(json.dumps([blas, threads, [name for name, there in features.items() if there]]))",
    )
    if "AVX2" in features:
        assert set(blas) == {"Haswell"}
        assert set(threads) == {1}
    assert {"X86_V4", "AVX512_ICL", "AVX512_SPR"}.isdisjoint(features)


def test_the_tests_reckon_as_a_worker_does():
    """Whatever they load first: else no verdict could be compared with a worker's."""
    assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {1}


def test_the_users_choice_of_kernels_stays():
    """Who sets the variables knows why."""
    chosen = {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3",
        "OPENBLAS_NUM_THREADS": "2",
    }
    code = f"import models, json, os; print(json.dumps([os.environ[n] for n in {[*chosen]}]))"
    assert run(sys.executable, "-c", code, **chosen) == [*chosen.values()]
    assert chosen.keys() == {*KERNELS, *THREADS}


def test_embeddings_of_another_arithmetic_are_told_apart(bundle, monkeypatch):
    """One bit of one embedding is another arithmetic; a second process has the same."""
    encoders = Encoders(bundle, threads=1)
    assert encoders.arithmetic == Encoders(bundle, threads=2).arithmetic
    other = Encoders(bundle, threads=1)
    (text,) = encoders.embed_texts([PROBE_TEXT])
    text[-1] = np.nextafter(text[-1], np.float32(2))
    monkeypatch.setattr(other, "embed_texts", lambda _: [text])
    assert other.arithmetic != encoders.arithmetic


def test_a_processor_without_avx512_gives_the_same_verdict(bundle, tmp_path):
    """Embeddings and all published figures, under an emulated Haswell and on this processor."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        assert "CI" not in os.environ, "CI must have qemu: apt-get install qemu-user"
        pytest.skip("there is no qemu-x86_64: apt-get install qemu-user")
    encoders = Encoders(bundle, threads=1)
    (text,), (photo,) = encoders.embed_texts([PROBE_TEXT]), encoders.embed_photos([PROBE_PHOTO])
    vectors = tmp_path / "vectors.npz"
    np.savez(vectors, text=text, photo=photo)
    command = (sys.executable, "-c", VERDICT, str(bundle), str(vectors))
    here = run(*command)
    assert run(emulator, "-cpu", "Haswell", *command) == here
    assert here[0] == encoders.arithmetic
