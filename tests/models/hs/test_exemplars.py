"""Past goods: which are nearest, with and without a text, before and after they are stored."""

from dataclasses import replace

import numpy as np
import pytest

from models.hs.exemplars import ExemplarIndex, Projection, from_whole, share_of_others, whole

DICE = np.random.default_rng(0)


def vectors(*shape):
    return DICE.normal(size=shape).astype(np.float32)


@pytest.fixture
def index():
    texts, photos = vectors(6, 16), vectors(6, 20)
    codes = np.array([3, 1, 1, 2, 3, 3])
    return (
        ExemplarIndex.of(
            codes, texts, photos, Projection.fitted(texts, 4), Projection.fitted(photos, 5)
        ),
        texts,
        photos,
        codes,
    )


def test_goods_are_nearest_to_themselves(index):
    """By text, by photo and by both."""
    index, texts, photos, codes = index
    for text, photo, code in zip(texts, photos, codes, strict=True):
        for evidence in ((text, None), (None, photo), (text, photo)):
            found = index.neighbours(*evidence)
            assert found.nearest == pytest.approx(1, abs=0.02)
            assert found.places[found.best.argmax()] == code


def test_goods_of_a_new_code_need_no_training(index):
    """Indexed beside the others by the same projections, they are nearest; the others stay."""
    index, texts, photos, codes = index
    text, photo = vectors(1, 16), vectors(1, 20)
    larger = ExemplarIndex.of(
        np.append(codes, 9),
        np.concatenate([texts, text]),
        np.concatenate([photos, photo]),
        index.text_projection,
        index.photo_projection,
    )
    nearest = larger.neighbours(text[0], photo[0])
    assert nearest.places[nearest.best.argmax()] == 9
    others = share_of_others(nearest, np.array([1, 2, 3]), 20.0)
    assert others[nearest.places == 9] > 0.5
    assert others.sum() == others[nearest.places == 9]
    assert (
        larger.neighbours(texts[0], photos[0]).nearest
        == index.neighbours(texts[0], photos[0]).nearest
    )
    assert larger.without(np.array([9])).codes.tolist() == index.codes.tolist()


def test_stored_vectors_are_those_searched(index):
    """Storing an index changes no bit of what it says."""
    index, texts, photos, _ = index
    stored = replace(
        index, texts=from_whole(whole(index.texts)), photos=from_whole(whole(index.photos))
    )
    assert (
        stored.similarities(texts[0], photos[0]).tobytes()
        == index.similarities(texts[0], photos[0]).tobytes()
    )


# Goods of which there is only a photo


@pytest.fixture
def photo_only(index):
    """The same past goods, the first and the fourth without a text; their places in the index."""
    index, texts, photos, codes = index
    bare = texts.copy()
    bare[[0, 3]] = 0
    fewer = ExemplarIndex.of(codes, bare, photos, index.text_projection, index.photo_projection)
    order = np.argsort(codes, kind="stable")
    return fewer, texts, photos, np.isin(order, [0, 3])


def test_which_past_goods_are_described(index, photo_only):
    assert index[0].described.all()
    fewer, _, _, bare = photo_only
    assert (fewer.described == ~bare).all()
    assert not fewer.texts[bare].any()
    assert np.isfinite(fewer.texts).all()


def test_goods_without_a_text_are_compared_by_their_photo_alone(index, photo_only):
    """By text they are as far as can be; by both, as by the photo; the others stay as they were."""
    fewer, texts, photos, bare = photo_only
    text, photo = texts[0], photos[0]
    assert (fewer.similarities(text, None)[bare] == -1).all()
    both, by_photo = fewer.similarities(text, photo), fewer.similarities(None, photo)
    np.testing.assert_array_equal(both[bare], by_photo[bare])
    for evidence in ((text, None), (None, photo), (text, photo)):
        np.testing.assert_array_equal(
            fewer.similarities(*evidence)[~bare], index[0].similarities(*evidence)[~bare]
        )


def test_which_are_described_survives_storing(photo_only, tmp_path):
    fewer, texts, photos, _ = photo_only
    fewer.save(tmp_path / "exemplars.safetensors")
    again = ExemplarIndex.load(tmp_path / "exemplars.safetensors")
    assert again.described.tolist() == fewer.described.tolist()
    for evidence in ((texts, None), (texts, photos)):
        np.testing.assert_allclose(
            again.similarities(*evidence), fewer.similarities(*evidence), atol=1e-6
        )


def test_several_goods_are_compared_as_each_alone(photo_only):
    fewer, texts, photos, _ = photo_only
    together = fewer.neighbours(texts, photos)
    for row, (text, photo) in enumerate(zip(texts, photos, strict=True)):
        alone = fewer.neighbours(text, photo)
        np.testing.assert_allclose(together.best[row], alone.best, atol=1e-6)
        assert together.nearest[row] == pytest.approx(alone.nearest, abs=1e-6)
