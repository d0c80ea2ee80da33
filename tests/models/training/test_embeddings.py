"""Embeddings to train on: of goods with and without a text, of texts alone, and their cache."""

import numpy as np
import pytest
from PIL import Image

from models.datasets.goods import Goods
from models.datasets.texts import GoodsText
from models.encoding.text import NGRAMS
from models.training.embeddings import VIEWS, Embedded, Embedder

SIZE, PHOTO = NGRAMS + 4, 6


class FakeEncoders:
    """Texts by their length, photos by their first pixel; counts what it was asked."""

    def __init__(self):
        self.texts, self.photos = [], 0

    def embed_texts(self, texts):
        self.texts += texts
        return [np.full(SIZE, len(text), np.float32) for text in texts]

    def embed_photos(self, photos):
        self.photos += len(photos)
        return [np.full(PHOTO, 1.0 + photo[0, 0, 0], np.float32) for photo in photos]


def quiet(*_):
    """Say nothing."""


@pytest.fixture
def embedder(tmp_path, monkeypatch):
    monkeypatch.setenv("REDLANE_CACHE", str(tmp_path / "cache"))
    return Embedder(FakeEncoders(), "text", "photo", quiet)


@pytest.fixture
def goods(tmp_path):
    """The second has no text."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", (256, 256), (40, 0, 0)).save(photo)
    return [
        Goods("a", photo, "shoes", "640411"),
        Goods("b", photo, " ", "940161"),
        Goods("c", photo, "a sofa", "940161"),
    ]


def test_what_is_missing_is_zero_and_none(embedder):
    """In arrays zero, in pairs None."""
    texts, photos = np.ones((3, SIZE), np.float32), np.ones((3, PHOTO), np.float32)
    texts[1], photos[2] = 0, 0
    embedded = Embedded(np.array(["1", "2", "3"]), texts, photos)
    assert embedded.described.tolist() == [True, False, True]
    assert embedded.meanings.shape == (3, SIZE - NGRAMS)
    present = [(text is not None, photo is not None) for text, photo in embedded.pairs()]
    assert present == [(True, True), (False, True), (True, False)]


def test_goods_of_which_there_is_only_a_photo_have_no_text(embedder, goods):
    """The encoder is not asked: it would find something in nothing."""
    embedded = embedder.embedded(goods)
    assert embedded.codes.tolist() == ["640411", "940161", "940161"]
    assert embedded.described.tolist() == [True, False, True]
    assert embedded.texts[:, 0].tolist() == [5, 0, 6]
    assert embedded.photos.shape == (3, PHOTO)
    assert embedded.photos.all()
    assert " " not in embedder.encoders.texts


def test_texts_alone_have_no_photo(embedder):
    rows = [GoodsText(str(n), "parcels", "en", "shoe" * n, "640411") for n in (1, 2)]
    embedded = embedder.embedded_texts(rows)
    assert embedded.texts[:, 0].tolist() == [4, 8]
    assert embedded.photos.shape == (2, PHOTO)
    assert [photo for _, photo in embedded.pairs()] == [None, None]


def test_the_same_goods_are_embedded_once(embedder, goods):
    """By the same encoders; other goods, texts and encoders are embedded anew."""
    once = embedder.embedded(goods)
    asked = embedder.encoders.photos
    again = embedder.embedded(goods)
    assert embedder.encoders.photos == asked
    assert again.texts.tobytes() == once.texts.tobytes()
    embedder.embedded(goods[:2])
    assert embedder.encoders.photos == asked + 2
    Embedder(embedder.encoders, "text", "other", quiet).embedded(goods)
    assert embedder.encoders.photos == asked + 5


def test_variants_are_of_meanings_and_keep_missing_texts_missing(embedder, goods):
    """The original first; in half precision."""
    texts, photos = embedder.variants(goods, seed=1)
    assert texts.shape == (1 + VIEWS, 3, SIZE - NGRAMS)
    assert photos.shape == (1 + VIEWS, 3, PHOTO)
    assert (texts.dtype, photos.dtype) == (np.float16, np.float16)
    assert texts[0, :, 0].tolist() == [5, 0, 6]
    assert not texts[:, 1].any()
    assert texts[:, [0, 2]].all()
