"""A folder of goods: goods.csv and photos. What training, evaluation and `redlane send` read.

goods.csv has the columns item_id, image (path of the photo in the folder), description (empty where
there is only the photo) and hs6; title, price_eur, net_mass_kg, origin, lower_duty_hs6 (under which
the goods would be declared to pay less duty), source and split are optional.
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUIRED: Final = ("item_id", "image", "description", "hs6")
HS6: Final = re.compile(r"\d{6}", re.ASCII)


NO_PHOTO: Final = Path(os.devnull)


class BadCatalogue(Exception):  # noqa: N818 - says what it is
    """A folder that is no catalogue of goods; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Goods:
    """One kind of goods."""

    item_id: str
    image: Path
    """Photo; NO_PHOTO for goods of which there is only a text."""
    description: str
    """Empty for goods of which there is only a photo."""
    hs6: str
    title: str = ""
    price_eur: float | None = None
    net_mass_kg: float | None = None
    origin: str = ""
    lower_duty_hs6: str = ""
    source: str = ""
    split: str = ""

    @property
    def has_text(self) -> bool:
        """Whether the goods are described, not only photographed."""
        return bool(self.description.strip())


def read(
    directory: Path, split: str | None = None, *, described: bool = False
) -> tuple[Goods, ...]:
    """Read a folder, or one split of it.

    Args:
        directory: the folder.
        split: of it; None for all.
        described: leave out goods of which there is only a photo.

    Raises:
        BadCatalogue: with the file and line; or nothing is left.
    """
    table = directory / "goods.csv"
    columns, rows = _rows(table)
    if missing := [name for name in REQUIRED if name not in columns]:
        raise BadCatalogue(f"{table} lacks the columns {', '.join(missing)}.")
    which = "" if split is None else f" of split {split!r}"
    if split is not None:
        if "split" not in columns:
            raise BadCatalogue(f"{table} has no column split, so there is no split {split!r}.")
        names = ", ".join(sorted({row["split"] for _, row in rows if row["split"]}))
        rows = [(line, row) for line, row in rows if row["split"] == split]
        if not rows:
            raise BadCatalogue(f"{table} has no goods{which}; it has the splits: {names or '-'}.")
    goods = tuple(_goods(table, line, row) for line, row in rows)
    if described:
        goods = tuple(item for item in goods if item.has_text)
        which += " with a description"
    if not goods:
        raise BadCatalogue(f"{table} has no goods{which}.")
    return goods


def split_or_test(directory: Path, split: str | None) -> str | None:
    """Return the split to measure on: the one named, else `test`, else None in a folder of none.

    Raises:
        BadCatalogue: the folder cannot be read.
    """
    columns, _ = _rows(directory / "goods.csv")
    return split or ("test" if "split" in columns else None)


def _rows(table: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns, and each row with its line."""
    if not table.exists():
        raise BadCatalogue(f"{table} does not exist: a catalogue is a folder with goods.csv.")
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            return reader.fieldnames or (), [(reader.line_num, row) for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadCatalogue(f"{table}, after line {reader.line_num}: {error}.") from error


def _goods(table: Path, line: int, row: Mapping[str, str]) -> Goods:
    where = f"{table}, line {line}"
    if any(row[name] is None for name in REQUIRED):
        raise BadCatalogue(f"{where}: has fewer fields than the header.")
    image = table.parent / row["image"]
    if not HS6.fullmatch(row["hs6"]):
        raise BadCatalogue(f"{where}: hs6 {row['hs6']!r} is not six digits.")
    if not image.is_file():
        raise BadCatalogue(f"{where}: there is no photo {image}.")
    try:
        price, mass = (float(row.get(name) or "nan") for name in ("price_eur", "net_mass_kg"))
    except ValueError as error:
        raise BadCatalogue(f"{where}: {error}") from error
    return Goods(
        item_id=row["item_id"],
        image=image,
        description=row["description"],
        hs6=row["hs6"],
        title=row.get("title") or "",
        price_eur=price if price > 0 else None,
        net_mass_kg=mass if mass > 0 else None,
        origin=row.get("origin") or "",
        lower_duty_hs6=row.get("lower_duty_hs6") or "",
        source=row.get("source") or "",
        split=row.get("split") or "",
    )
