"""Goods → declarations, some of them irregular, and the truth about each. Pure and seeded.

The events never contain the truth: a declaration differs from a clean one only in its irregularity.
"""

import hashlib
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from PIL import Image

from models.datasets.goods import Goods
from schemas.codec import PREFIX, encode
from schemas.records import Declaration, GoodsItem, ImageReference, Party

DEFAULT_SHARES: Final[Mapping[str, float]] = {
    "clean": 0.46,
    "wrong_code": 0.08,
    "wrong_photo": 0.08,
    "photo_reuse": 0.07,
    "undervaluation": 0.07,
    "splitting": 0.07,
    "vague_text": 0.04,
    "missing_photo": 0.04,
    "broken_photo": 0.05,
    "malformed": 0.04,
}
UNSEEN_SHARES: Final[Mapping[str, float]] = {
    "clean": 0.6,
    "wrong_code": 0.25,
    "vague_text": 0.15,
}
"""Of goods without photos."""
VAGUE: Final = ("PARTS", "GIFT", "ACCESSORIES", "SAMPLES", "HOUSEHOLD GOODS", "MISC ARTICLES")
OFFICES: Final = ("BEBRU000", "BEANR000", "BELGG000", "BEZAV000", "BEGNE000")
EPOCH: Final = datetime(2026, 11, 2, 8, tzinfo=UTC)
TOO_LARGE: Final = 10_000_000
PARTS: Final = (5, 6, 7, 8)
"""Numbers of parts into which a consignment is split."""
PART_EUR: Final = (90.0, 140.0)
"""Value of each part: below the de minimis value alone, above it in pairs. Unit: EUR."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is irregular about a declaration."""

    declaration_id: str
    kind: str
    item: int
    """Sequence number of the goods item; 0 for the whole event."""
    detail: str
    unseen: bool = False
    """Whether the goods are of a catalogue that the model never saw."""


@dataclass(frozen=True, slots=True)
class Consignment:
    """An event to be sent, the photos it refers to, and its truth."""

    declaration: Declaration
    value: Callable[[int], bytes | None]
    """Schema id → the event's value, damaged where the event is malformed."""
    photos: Mapping[str, bytes]
    """Object key → file."""
    truth: Truth


@dataclass(frozen=True, slots=True)
class _Item:
    """A goods item under construction."""

    goods: Goods
    record: GoodsItem
    photo: bytes


@dataclass(slots=True)
class _Split:
    """A consignment that is sent in parts."""

    goods: Goods
    importer: Party
    seller: Party
    parts: int
    sent: int = 0


class Irregularities:
    """Makes consignments of a catalogue's goods. Equal seed and run give equal consignments."""

    def __init__(
        self,
        goods: Sequence[Goods],
        *,
        bucket: str,
        run: str,
        seed: int,
        shares: Mapping[str, float] = DEFAULT_SHARES,
        start: datetime = EPOCH,
        unseen: bool = False,
    ) -> None:
        """Take the goods.

        Args:
            goods: of a catalogue.
            bucket: where the photos will lie.
            run: part of every id, so that two runs have different ones; letters and digits.
            seed: of every random choice.
            shares: kind → its share of the declarations.
            start: acceptance time of the first; then one each second.
            unseen: whether these are goods that the model never saw.

        Raises:
            ValueError: a kind is unknown.
        """
        if unknown := sorted(shares.keys() - DEFAULT_SHARES.keys()):
            kinds = ", ".join(DEFAULT_SHARES)
            raise ValueError(f"Unknown kinds {', '.join(unknown)}; there are {kinds}.")
        self._goods = goods
        self._bucket = bucket
        self._run = run
        self._random = random.Random(seed)  # noqa: S311 - seeded on purpose
        self._shares = shares
        self._start = start
        self._unseen = unseen
        self._photos: dict[str, bytes] = {}
        self._used: list[Goods] = []
        self._split: _Split | None = None
        self._turn = 0

    def consignments(self, count: int) -> Iterator[Consignment]:
        """Yield consignments: the kinds in their shares, their order shuffled."""
        kinds = [kind for kind, share in self._shares.items() for _ in range(round(share * count))]
        kinds = (kinds + ["clean"] * count)[:count]
        self._random.shuffle(kinds)
        for number, kind in enumerate(kinds):
            yield self._consignment(number, kind)

    def _consignment(self, number: int, kind: str) -> Consignment:
        dice = self._random
        id_ = f"26BE{self._run}{number:07d}"
        extra = 0 if kind == "splitting" else _extra(dice)
        goods = [self._pick(kind), *(dice.choice(self._goods) for _ in range(extra))]
        items = [self._item(each, place) for place, each in enumerate(goods, 1)]
        at = dice.randrange(len(items)) if kind != "wrong_code" else 0
        damage = getattr(self, f"_{kind}")
        items[at], detail = damage(items[at])
        if kind == "clean":
            self._used += goods
        declaration = self._declaration(id_, number, tuple(item.record for item in items))
        if kind == "splitting" and self._split is not None:
            split, self._split.sent = self._split, self._split.sent + 1
            declaration = replace(declaration, importer=split.importer, seller=split.seller)
        value: Callable[[int], bytes | None] = lambda schema_id: encode(declaration, schema_id)  # noqa: E731
        if kind == "malformed":
            value, detail = self._malformed_value(declaration)
        return Consignment(
            declaration,
            value,
            {hashlib.sha256(item.photo).hexdigest(): item.photo for item in items if item.photo},
            Truth(id_, kind, 0 if kind in {"clean", "malformed"} else at + 1, detail, self._unseen),
        )

    def _pick(self, kind: str) -> Goods:
        if kind == "splitting":
            return self._next_part().goods
        if kind != "wrong_code":
            return self._random.choice(self._goods)
        dutiable = [goods for goods in self._goods if goods.lower_duty_hs6]
        return self._random.choice(dutiable or self._goods)

    def _item(self, goods: Goods, place: int) -> _Item:
        dice = self._random
        pieces = dice.choice((1, 1, 1, 2, 5))
        mass = (goods.net_mass_kg or dice.uniform(0.2, 3)) * pieces
        price = (goods.price_eur or dice.uniform(5, 80)) * pieces * dice.uniform(0.88, 1.12)
        text = " ".join(goods.description.split()[: dice.randint(4, 8)])
        photo = self._photo(goods)
        record = GoodsItem(
            sequence_number=place,
            commodity_code=goods.hs6 + dice.choice(("", "00")),
            description=text.upper() if dice.random() < 0.5 else text,  # noqa: PLR2004
            country_of_origin=goods.origin or "CN",
            net_mass=_decimal(mass, 6),
            gross_mass=_decimal(mass * dice.uniform(1.05, 1.3), 6),
            supplementary_quantity=_decimal(pieces, 6),
            item_amount=_decimal(price, 2),
            item_currency="EUR",
            images=(self._reference(photo),) if photo else (),
            product_title=goods.title if dice.random() < 0.5 else "",  # noqa: PLR2004
        )
        return _Item(goods, record, photo)

    def _declaration(self, id_: str, number: int, items: tuple[GoodsItem, ...]) -> Declaration:
        dice = self._random
        origin = items[0].country_of_origin
        return Declaration(
            declaration_id=id_,
            version=1,
            data_set="H7" if len(items) == 1 and (items[0].item_amount or 0) <= 150 else "H1",  # noqa: PLR2004
            acceptance_time=self._start + timedelta(seconds=number),
            declaration_office=dice.choice(OFFICES),
            declarant=self._party("BE", 30),
            importer=self._party("BE", 3000),
            seller=self._party(origin, 200),
            country_of_dispatch=origin,
            mode_of_transport=dice.choice("1445"),
            procedure="4000",
            goods_items=items,
        )

    def _party(self, country: str, traders: int) -> Party:
        # Each run has its own traders, so its consignments are no further parts of another run's.
        number = zlib.crc32(self._run.encode()) % 900_000_000 + self._random.randrange(traders)
        return Party(identification=f"{country}{number:09d}", country=country)

    def _next_part(self) -> _Split:
        """Return the consignment whose next part is due; a new one once the last is complete."""
        if self._split is None or self._split.sent == self._split.parts:
            cheap = [g for g in self._goods if (g.price_eur or PART_EUR[1]) <= PART_EUR[1]]
            goods = self._random.choice(cheap or self._goods)
            seller = self._party(goods.origin or "CN", 200)
            parts = self._random.choice(PARTS)
            self._split = _Split(goods, self._party("BE", 3000), seller, parts)
        return self._split

    def _photo(self, goods: Goods) -> bytes:
        if goods.item_id not in self._photos:
            self._photos[goods.item_id] = goods.image.read_bytes()
        return self._photos[goods.item_id]

    def _reference(self, photo: bytes) -> ImageReference:
        sha256 = hashlib.sha256(photo).hexdigest()
        return ImageReference(
            uri=f"s3://{self._bucket}/{sha256}", sha256=sha256, media_type="image/jpeg"
        )

    # Each kind: a goods item → the item with that irregularity, and what was done.

    def _clean(self, item: _Item) -> tuple[_Item, str]:
        return item, ""

    def _malformed(self, item: _Item) -> tuple[_Item, str]:
        return item, ""

    def _wrong_code(self, item: _Item) -> tuple[_Item, str]:
        true = item.goods.hs6
        elsewhere = [g.hs6 for g in self._goods if g.hs6[:4] != true[:4]]
        same_chapter = [hs6 for hs6 in elsewhere if hs6[:2] == true[:2]]
        code = item.goods.lower_duty_hs6 or self._random.choice(same_chapter or elsewhere)
        return _changed(item, commodity_code=code), f"{true} declared as {code}"

    def _wrong_photo(self, item: _Item) -> tuple[_Item, str]:
        others = [g for g in self._goods if g.hs6[:2] != item.goods.hs6[:2]]
        other = self._random.choice(others)
        return self._with_photo(item, self._photo(other)), f"photo of {other.item_id}"

    def _photo_reuse(self, item: _Item) -> tuple[_Item, str]:
        heading = item.goods.hs6[:4]
        used = [g for g in self._used if g.hs6[:4] != heading]
        other = self._random.choice(used or [g for g in self._goods if g.hs6[:4] != heading])
        return self._with_photo(item, encoded_again(self._photo(other), self._random)), (
            f"photo of {other.item_id}, used before, encoded again"
        )

    def _splitting(self, item: _Item) -> tuple[_Item, str]:
        """Make it one part: its value below the de minimis value, at the usual unit price."""
        value = self._random.uniform(*PART_EUR)
        share = value / float(item.record.item_amount or value)
        changed = _changed(
            item,
            item_amount=_decimal(value, 2),
            net_mass=_decimal(float(item.record.net_mass or 0) * share, 6),
            gross_mass=_decimal(float(item.record.gross_mass or 0) * share, 6),
        )
        part = self._next_part()
        return changed, f"part {part.sent + 1} of {part.parts}"

    def _undervaluation(self, item: _Item) -> tuple[_Item, str]:
        share = self._random.uniform(0.10, 0.35)
        amount = _decimal(float(item.record.item_amount or 0) * share, 2)
        return _changed(item, item_amount=amount), f"{share:.0%} of the price"

    def _vague_text(self, item: _Item) -> tuple[_Item, str]:
        text = self._random.choice(VAGUE)
        return _changed(item, description=text, product_title=""), text

    def _missing_photo(self, item: _Item) -> tuple[_Item, str]:
        if self._next() % 2:
            return replace(_changed(item, images=()), photo=b""), "no reference"
        gone = self._reference(self._random.randbytes(32))
        return replace(_changed(item, images=(gone,)), photo=b""), "no such object"

    def _broken_photo(self, item: _Item) -> tuple[_Item, str]:
        photo = item.photo
        reference = item.record.images[0]
        turn = self._next() % 6
        if turn == 0:
            return self._with_photo(item, photo[: len(photo) // 2]), "truncated JPEG"
        if turn == 1:
            return self._with_photo(item, b"<html>no image</html>"), "not an image"
        if turn == 2:  # noqa: PLR2004 - the third of six
            return self._with_photo(item, bomb()), "decompression bomb"
        moved, detail = (
            (replace(reference, sha256="0" * 64), "another hash"),
            (replace(reference, uri=f"s3://other-bucket/{reference.sha256}"), "other bucket"),
            (replace(reference, uri="http://example.org/photo.jpg"), "not in object storage"),
        )[turn - 3]
        return _changed(item, images=(moved,)), detail

    def _with_photo(self, item: _Item, photo: bytes) -> _Item:
        return replace(_changed(item, images=(self._reference(photo),)), photo=photo)

    def _malformed_value(
        self, declaration: Declaration
    ) -> tuple[Callable[[int], bytes | None], str]:
        empty = replace(declaration, goods_items=())
        ways: tuple[tuple[Callable[[int], bytes | None], str], ...] = (
            (lambda _: b'{"declaration_id": "as JSON"}', "not Avro"),
            (lambda _: encode(declaration, 999_999), "unknown schema id"),
            (lambda id_: encode(declaration, id_)[:-40], "truncated"),
            (lambda id_: PREFIX.pack(0, id_) + bytes(TOO_LARGE), "10 MB"),
            (lambda id_: encode(empty, id_), "no goods items"),
            (lambda _: None, "no value"),
        )
        return ways[self._next() % len(ways)]

    def _next(self) -> int:
        self._turn += 1
        return self._turn


def bomb() -> bytes:
    """Return a PNG of a few bytes that claims to be 30,000 × 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def encoded_again(photo: bytes, dice: random.Random) -> bytes:
    """Return the photo a little smaller and of another quality: other bytes, the same picture."""
    with Image.open(io.BytesIO(photo)) as image:
        scale = dice.uniform(0.7, 0.95)
        small = image.convert("RGB").resize((int(image.width * scale), int(image.height * scale)))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=dice.randint(60, 85))
    return out.getvalue()


def _changed(item: _Item, **fields: object) -> _Item:
    return replace(item, record=replace(item.record, **fields))  # type: ignore[arg-type]


def _decimal(value: float, scale: int) -> Decimal:
    return Decimal(f"{value:.{scale}f}")


def _extra(dice: random.Random) -> int:
    return dice.choice((0, 0, 0, 0, 1, 2))
