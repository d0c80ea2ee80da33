"""A folder of goods: goods.csv and photos. What training, evaluation and `redlane send` read.

goods.csv has the columns item_id, image (path of the photo in the folder), description and hs6;
title, price_eur, net_mass_kg, origin, lower_duty_hs6 (under which the goods would be declared to
pay less duty) and split are optional.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUIRED: Final = ("item_id", "image", "description", "hs6")
HS6: Final = re.compile(r"\d{6}", re.ASCII)


class BadCatalogue(Exception):  # noqa: N818 - says what it is
    """A folder that is no catalogue of goods; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Goods:
    """One kind of goods."""

    item_id: str
    image: Path
    description: str
    hs6: str
    title: str = ""
    price_eur: float | None = None
    net_mass_kg: float | None = None
    origin: str = ""
    lower_duty_hs6: str = ""


def read(directory: Path, split: str | None = None) -> tuple[Goods, ...]:
    """Read a folder, or one split of it.

    Raises:
        BadCatalogue: with the file and line.
    """
    table = directory / "goods.csv"
    if not table.exists():
        raise BadCatalogue(f"{table} does not exist: a catalogue is a folder with goods.csv.")
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
            raise BadCatalogue(f"{table} lacks the columns {', '.join(missing)}.")
        if split is not None and "split" not in (reader.fieldnames or ()):
            raise BadCatalogue(f"{table} has no column split, so there is no split {split!r}.")
        goods = tuple(_goods(table, reader, split))
    if not goods:
        raise BadCatalogue(f"{table} has no goods" + (f" of split {split!r}." if split else "."))
    return goods


def _goods(table: Path, reader: "csv.DictReader[str]", split: str | None) -> Iterator[Goods]:
    for row in reader:
        if split is not None and row["split"] != split:
            continue
        where = f"{table}, line {reader.line_num}"
        image = table.parent / row["image"]
        if not HS6.fullmatch(row["hs6"]):
            raise BadCatalogue(f"{where}: hs6 {row['hs6']!r} is not six digits.")
        if not image.is_file():
            raise BadCatalogue(f"{where}: there is no photo {image}.")
        try:
            price, mass = (float(row.get(name) or "nan") for name in ("price_eur", "net_mass_kg"))
        except ValueError as error:
            raise BadCatalogue(f"{where}: {error}") from error
        yield Goods(
            item_id=row["item_id"],
            image=image,
            description=row["description"],
            hs6=row["hs6"],
            title=row.get("title") or "",
            price_eur=price if price > 0 else None,
            net_mass_kg=mass if mass > 0 else None,
            origin=row.get("origin") or "",
            lower_duty_hs6=row.get("lower_duty_hs6") or "",
        )
