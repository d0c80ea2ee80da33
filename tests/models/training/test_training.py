"""A short course of training: it runs through, is seeded, and its files are loaded again."""

import numpy as np
import pytest
import torch

from models.datasets.goods import read
from models.networks.image_encoder import FEATURES, ImageEncoder
from models.training import image_encoder
from models.training.embeddings import pixels


@pytest.fixture(scope="module")
def some(goods_folder):
    return read(goods_folder)[:48]


def quiet(*_):
    """Say nothing."""


def test_the_image_encoders_second_tail_is_tuned(some, tmp_path, monkeypatch):
    """The first tail, whose words stay, is as before; the second is not."""
    monkeypatch.setattr("shutil.which", lambda _: None)  # compiling takes longer than tuning
    monkeypatch.setattr(image_encoder, "BATCH", 16)
    photos, labels = pixels(some), np.arange(len(some)) % 4
    path = tmp_path / "image.safetensors"
    held = (photos[:4], labels[:4])
    image_encoder.tune(photos, labels, held, path, seed=1, epochs=1, say=quiet)
    photo = image_encoder.to_pixels(photos[:1])
    with torch.no_grad():
        before, after = ImageEncoder()(photo), ImageEncoder(path)(photo)
    half = FEATURES
    assert torch.equal(before[:, :half], after[:, :half])
    assert not torch.allclose(before[:, half:], after[:, half:], atol=1e-3)
