"""A CSV file of goods texts whose codes are known → `GoodsText`. What measuring HS naming reads.

The columns are id, source, lang, text and hs6; others are ignored. A code may be outside the
nomenclature, as in real data: who scores the texts decides what becomes of them.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.datasets.goods import HS6

COLUMNS: Final = ("id", "source", "lang", "text", "hs6")


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
