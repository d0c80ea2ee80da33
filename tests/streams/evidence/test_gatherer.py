"""Evidence of a micro-batch: each goods item gets its own photos and text, in order."""

import io
import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import obstore
import pytest
from fakeredis import FakeAsyncRedis
from PIL import Image

from models.encoding.image import decode
from models.risk.exchange import ExchangeRates
from models.risk.tariff import Tariff
from models.selection.profiles import Matcher
from schemas.examples import examples
from schemas.reasons import Reason
from schemas.records import ExchangeRate, ImageReference
from streams.evidence.embedding import EmbeddedPhoto, Embedder
from streams.evidence.embedding_cache import EmbeddingCache
from streams.evidence.gatherer import SLICE, Gatherer
from streams.evidence.photos import NoPhoto, Photo, Photos
from streams.kafka.heartbeat import Heartbeat
from streams.reference.state import Snapshot
from tests.fakes import NOW, FakeScorer, MemoryBucket, inbound, vector

LOW = dict(examples("declaration"))["declaration/low-value"]
COLOURS = ("red", "green", "blue")


def jpeg(colour):
    out = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(out, "JPEG")
    return out.getvalue()


class CountingPhotos(Photos):
    """Counts what is fetched."""

    fetched = 0

    async def fetch(self, reference):
        self.fetched += 1
        return await super().fetch(reference)


@pytest.fixture
def photos():
    store = MemoryBucket()
    for colour in COLOURS:
        obstore.put(store, colour, jpeg(colour))
    return CountingPhotos({"goods-photos": store}, concurrency=4, deadline_s=5, max_bytes=10_000)


@pytest.fixture
def gatherer(photos):
    cache = EmbeddingCache(FakeAsyncRedis(), ttl=timedelta(days=1), pause_s=1)
    embedder = Embedder(FakeScorer(), cache, ThreadPoolExecutor(1))
    return Gatherer(
        photos=photos, embedder=embedder, signals=None, photos_per_item=2, now=lambda: NOW
    )


def item(number, description, *names):
    images = tuple(ImageReference(uri=f"s3://goods-photos/{name}") for name in names)
    return replace(
        LOW.goods_items[0],
        sequence_number=number,
        description=description,
        images=images,
        product_title="",
    )


def declared(*items):
    return replace(LOW, goods_items=items)


def photo_vector(colour):
    return vector(decode(jpeg(colour)).tobytes(), FakeScorer.image_dimension).tolist()


async def test_each_goods_item_gets_its_own_photos_and_text(gatherer):
    """Whatever is missing of the others."""
    declarations = [
        declared(item(1, "red shoes", "red", "gone", "blue"), item(2, " ", "green")),
        declared(item(1, "no photo"), item(2, "blue shoes", "gone", "blue")),
    ]
    first, second = await gatherer.embed(declarations, {})
    assert [embedded.item for embedded in (*first, *second)] == [
        goods_item for declaration in declarations for goods_item in declaration.goods_items
    ]
    assert [
        [photo.vector.tolist() for photo in embedded.embedded_photos]
        for embedded in (*first, *second)
    ] == [[photo_vector("red")], [photo_vector("green")], [], [photo_vector("blue")]]
    texts = [
        None if embedded.text is None else embedded.text.tolist() for embedded in (*first, *second)
    ]
    expected = [
        vector(text.encode(), FakeScorer.text_dimension).tolist()
        for text in ("red shoes", "no photo", "blue shoes")
    ]
    assert texts == [expected[0], None, expected[1], expected[2]]
    assert [degradation.code for degradation in first[0].degradations()] == [
        Reason.PHOTO_NOT_FOUND,
        Reason.PHOTOS_TOO_MANY,
    ]
    assert [degradation.code for degradation in first[1].degradations()] == [Reason.TEXT_ABSENT]
    assert [degradation.code for degradation in second[0].degradations()] == [Reason.PHOTO_ABSENT]


@pytest.mark.parametrize(
    ("texts", "read", "reasons"),
    [
        (("red shoes", ""), ("red shoes", None), []),
        (("red shoes", "Sneaker"), ("red shoes", "Sneaker"), []),
        (("red shoes", "gift"), ("red shoes", None), []),
        (("red shoes", "<b>Red</b> shoes"), ("red shoes", None), []),
        (("clothing", "Sneaker"), ("clothing", "Sneaker"), []),
        (("gift", ""), (None, None), []),
        (("gift", "Sneaker"), ("Sneaker", None), [Reason.TITLE_READ_INSTEAD]),
        (("\u200b\u200b", ""), (None, None), [Reason.TEXT_ABSENT]),
        (("<br>&nbsp;", "\ufeff"), (None, None), [Reason.TEXT_ABSENT]),
        (("", "Sneaker"), ("Sneaker", None), [Reason.TEXT_ABSENT, Reason.TITLE_READ_INSTEAD]),
    ],
)
async def test_texts_that_name_no_goods_are_not_read(gatherer, texts, read, reasons):
    """The title is read beside the description, or in its place."""
    description, title = texts
    goods_item = replace(item(1, description, "red"), product_title=title)
    ((embedded,),) = await gatherer.embed([declared(goods_item)], {})
    vectors = [
        None if text is None else vector(text.encode(), FakeScorer.text_dimension).tolist()
        for text in read
    ]
    evidence = (embedded.text, embedded.title)
    assert [None if one is None else one.tolist() for one in evidence] == vectors
    assert [missing.code for missing in embedded.degradations()] == reasons


class NoSignals:
    """Keeps what it is given."""

    async def gather(self, observations):
        self.observations = list(observations)
        return [None] * len(observations)


async def test_prices_are_compared_in_euro_by_the_published_rate(gatherer):
    """By the model and by later declarations alike; the declaration stays as lodged."""
    gatherer._signals = signals = NoSignals()
    dollars = replace(item(1, "shoes", "red"), item_amount=Decimal(100), item_currency=" usd")
    rate = ExchangeRate(rate_id="r", currency="USD", rate=1.25)
    reference = Snapshot((), Matcher(()), Tariff(), ExchangeRates([rate]))
    lodged = declared(dollars)
    (gathered,) = await gatherer.gather([(inbound(lodged), lodged)], reference, {})
    assert gathered.declaration == lodged
    (observation,) = signals.observations
    for compared in (gathered.evidence.declaration, observation.declaration):
        assert (compared.goods_items[0].item_amount, compared.goods_items[0].item_currency) == (80, "EUR")  # fmt: skip
    assert gathered.evidence.items[0].item == gathered.evidence.declaration.goods_items[0]
    assert observation.attributes[0].amount == 80
    assert [gap.code for gap in gathered.degraded] == [Reason.SIGNALS_UNAVAILABLE]


async def test_equal_goods_items_are_fetched_once(gatherer, photos):
    """As where a declaration and its amendment come together."""
    declaration = declared(item(1, "red shoes", "red", "green"))
    first, second = await gatherer.embed([declaration, replace(declaration, version=2)], {})
    assert photos.fetched == 2
    assert [photo.vector.tolist() for photo in first[0].embedded_photos] == [
        photo.vector.tolist() for photo in second[0].embedded_photos
    ]


async def test_files_and_embeddings_stand_in_the_order_declared(gatherer):
    """A missing one keeps its place."""
    ((only,),) = await gatherer.embed([declared(item(1, "shoes", "gone", "green"))], {})
    assert only.files[0] == only.photos[0] == NoPhoto(Reason.PHOTO_NOT_FOUND)
    assert only.files[1].data == jpeg("green")


class WatchedPhoto(Photo):
    """Tells when it is gone."""


class CountedPhotos:
    """Makes photos; counts those that are in memory at a time."""

    def __init__(self):
        self.alive = 0
        self.most_alive = 0
        self.fetched = 0

    async def fetch(self, reference):
        self.fetched += 1
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        name = reference.uri.rpartition("/")[2]
        photo = WatchedPhoto(name, name.encode())
        weakref.finalize(photo, self._gone)
        return photo

    def _gone(self):
        self.alive -= 1


class CountingEmbedder:
    """Embeds a file by its name."""

    def __init__(self):
        self.embedded = []

    async def photos(self, photos):
        self.embedded += [photo.sha256 for photo in photos]
        return {photo: EmbeddedPhoto(vector(photo.data, 3), 1) for photo in photos}

    async def texts(self, texts):
        self.embedded += texts
        return {text: vector(text.encode(), 4) for text in texts}


def counting(photos, embedder):
    return Gatherer(
        photos=photos, embedder=embedder, signals=None, photos_per_item=4, now=lambda: NOW
    )


async def test_photos_and_texts_are_embedded_in_slices_and_no_file_is_kept():
    """999 goods items of four photos would not fit into memory at once; each slice is progress."""
    photos, embedder = CountedPhotos(), CountingEmbedder()
    gatherer = counting(photos, embedder)
    items = [item(n, f"text {n}", *(f"{n}-{m}" for m in range(5))) for n in range(1, 101)]
    heartbeat = Heartbeat(iter(range(10_000)).__next__)
    with heartbeat.current():
        (embedded,) = await gatherer.embed([declared(*items)], {}, keep_files=False)
    assert photos.fetched == 400
    assert photos.most_alive <= 2 * SLICE
    assert heartbeat.at == 400 / SLICE + math.ceil(100 / SLICE)
    assert gatherer.weight(declared(*items)) == 500
    assert [len(each.photos) for each in embedded] == [4] * 100
    assert [photo.vector.tolist() for photo in embedded[41].photos] == [
        vector(f"42-{m}".encode(), 3).tolist() for m in range(4)
    ]
    assert {each.files for each in embedded} == {()}


async def test_equal_texts_and_photos_of_one_declaration_are_embedded_once():
    """Under whatever reference, and in whatever slice."""
    photos, embedder = CountedPhotos(), CountingEmbedder()
    gatherer = counting(photos, embedder)
    items = [item(n, "shoes", f"copy-{n}/red", "green") for n in range(1, 101)]
    (embedded,) = await gatherer.embed([declared(*items)], {})
    assert sorted(embedder.embedded) == ["green", "red", "shoes"]
    assert photos.fetched == 101
    assert len({photo.vector.tobytes() for each in embedded for photo in each.photos}) == 2


def test_a_cached_photo_is_read_back_to_the_bit():
    """Vector and hash."""
    photo = EmbeddedPhoto(np.array([0.1, -3e-7, 5], np.float32), 0x8F3A_55C0_1234_BEEF)
    again = EmbeddedPhoto.decode(photo.encode())
    assert again.vector.tobytes() == photo.vector.tobytes()
    assert again.perceptual_hash == photo.perceptual_hash
