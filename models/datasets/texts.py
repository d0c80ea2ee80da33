"""A CSV file of goods texts whose codes are known → `GoodsText`.

HS naming is learned from such texts and measured on them. The columns are id, source, lang, text
and hs6; others are ignored. A code may be outside the nomenclature, as in real data: who scores the
texts decides what becomes of them.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from models.datasets.goods import HS6, Goods

COLUMNS: Final = ("id", "source", "lang", "text", "hs6")
OPEN_SOURCES: Final = frozenset(
    {"us_hts2025", "taric10", "cn2023", "uk_fpo", "uk_index", "grocery"}
)
"""Sources of texts and goods whose licence allows any use; all others are for research alone."""
CHOSEN_ON: Final = 4
"""So many in a hundred texts of files are not learned from, but chosen on: trust, sets, risk."""
MEASURED_ON: Final = 4
"""So many more are neither, to measure on them."""
HELD_SPLITS: Final = frozenset({"valid", "test"})
"""The same of goods."""
CLASS_TITLES: Final = frozenset({"grocery"})
"""Sources of goods whose titles are names of classes, which would give the code away."""


class BadTexts(Exception):  # noqa: N818 - says what it is
    """A file that holds no goods texts; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class GoodsText:
    """A goods text and the code of the goods."""

    id: str
    source: str
    lang: str
    text: str
    hs6: str


Licensed = TypeVar("Licensed", GoodsText, Goods)


def files(path: Path) -> tuple[Path, ...]:
    """Return a file, or the CSV files of a folder by name.

    Raises:
        BadTexts: there is none.
    """
    if path.is_dir():
        found = tuple(sorted(path.glob("*.csv")))
        if not found:
            raise BadTexts(f"{path} has no CSV file.")
        return found
    if not path.is_file():
        raise BadTexts(f"{path} does not exist: name a CSV file, or a folder of them.")
    return (path,)


def read(file: Path) -> tuple[GoodsText, ...]:
    """Read a file, whole or not at all.

    Raises:
        BadTexts: with the file and line.
    """
    with file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened)
        try:
            texts = tuple(_texts(file, reader))
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadTexts(f"{file}, after line {reader.line_num}: {error}.") from error
    if not texts:
        raise BadTexts(f"{file} has no texts.")
    return texts


def of_goods(goods: Iterable[Goods]) -> tuple[GoodsText, ...]:
    """Return the descriptions of goods, and their titles, which are in English.

    Goods of which there is only a photo have none.
    """
    return tuple(text for item in goods if item.has_text for text in _texts_of(item))


def to_learn_from(texts: Iterable[GoodsText], goods: Iterable[Goods]) -> tuple[GoodsText, ...]:
    """Return the texts of files and of goods that are neither chosen nor measured on."""
    learned = [item for item in goods if item.split not in HELD_SPLITS]
    inside = (text for text in texts if _hundredth(text) >= CHOSEN_ON + MEASURED_ON)
    return (*inside, *of_goods(learned))


def to_choose_on(texts: Iterable[GoodsText]) -> tuple[GoodsText, ...]:
    """Return the texts of files that trust, sets and risk are chosen on."""
    return tuple(text for text in texts if _hundredth(text) < CHOSEN_ON)


def to_measure_on(texts: Iterable[GoodsText]) -> tuple[GoodsText, ...]:
    """Return the texts of files that nothing is learned from."""
    return tuple(text for text in texts if CHOSEN_ON <= _hundredth(text) < CHOSEN_ON + MEASURED_ON)


def _hundredth(text: GoodsText) -> int:
    """Return the hundredth of all texts, of 0 to 99, that a text is in; equal texts share one."""
    digest = hashlib.sha256(text.text.lower().encode()).hexdigest()
    return int(digest[:8], 16) % 100


def openly_licensed(rows: Iterable[Licensed]) -> tuple[Licensed, ...]:
    """Return the texts or goods whose source allows any use."""
    return tuple(row for row in rows if row.source in OPEN_SOURCES)


def _texts_of(item: Goods) -> Iterator[GoodsText]:
    yield GoodsText(item.item_id, item.source, "en", item.description, item.hs6)
    if item.title.strip() and item.source not in CLASS_TITLES:
        yield GoodsText(f"{item.item_id}-title", item.source, "en", item.title, item.hs6)


def _texts(file: Path, reader: "csv.DictReader[str]") -> Iterator[GoodsText]:
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise BadTexts(f"{file}, line 1: lacks the columns {', '.join(missing)}.")
    for row in reader:
        where = f"{file}, line {reader.line_num}"
        if any(row[name] is None for name in COLUMNS):
            raise BadTexts(f"{where}: has fewer fields than the header.")
        if not HS6.fullmatch(row["hs6"]):
            raise BadTexts(f"{where}: hs6 {row['hs6']!r} is not six digits.")
        if not row["text"].strip():
            raise BadTexts(f"{where}: text is empty.")
        yield GoodsText(*(row[name] for name in COLUMNS))
