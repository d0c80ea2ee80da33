"""A folder of labelled declarations → attributes and outcomes, in the order of time.

The columns are those of the Customs Declaration Datasets (Jeong et al., 2022, arXiv 2208.02484).
"""

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from models.risk.attributes import Attributes

COLUMNS: Final = (
    "Date",
    "Office ID",
    "Import Use",
    "Mode of Transport",
    "Declarant ID",
    "Importer ID",
    "Seller ID",
    "HS6 Code",
    "Country of Departure",
    "Country of Origin",
    "Tax Rate",
    "Tax Type",
    "Net Mass",
    "Item Price",
    "Fraud",
)


class BadDeclarations(Exception):  # noqa: N818 - says what it is
    """A folder of declarations that cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A declaration of one goods item, and the outcome of its inspection."""

    day: date
    attributes: Attributes
    irregular: bool

    @property
    def revenue(self) -> float:
        """Duty on the declared value: a proxy for the cost of fraud, which no column gives.

        Unit: the currency of the amount.
        """
        return (self.attributes.amount or 0.0) * (self.attributes.duty_rate or 0.0) / 100


def read(folder: Path, name: str) -> list[Labelled]:
    """Read FOLDER/NAME.csv, sorted by date.

    Raises:
        BadDeclarations: the file or a column is missing, or a value is no number or date.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise BadDeclarations(f"{path} is missing: give a folder with train.csv and valid.csv.")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise BadDeclarations(f"{path} lacks the columns {', '.join(missing)}.")
        try:
            rows = [_labelled(row) for row in reader]
        except ValueError as error:
            raise BadDeclarations(f"{path}, line {reader.line_num}: {error}.") from error
    if not rows:
        raise BadDeclarations(f"{path} has no rows.")
    return sorted(rows, key=lambda row: row.day)


def _labelled(row: dict[str, str]) -> Labelled:
    return Labelled(
        date.fromisoformat(row["Date"]),
        Attributes(
            office=row["Office ID"],
            declarant=row["Declarant ID"],
            importer=row["Importer ID"],
            seller=row["Seller ID"],
            hs6=row["HS6 Code"],
            origin=row["Country of Origin"],
            dispatch=row["Country of Departure"],
            mode=row["Mode of Transport"],
            procedure=row["Import Use"],
            regime=row["Tax Type"],
            duty_rate=_number(row["Tax Rate"]),
            net_mass=_number(row["Net Mass"]),
            amount=_number(row["Item Price"]),
        ),
        row["Fraud"] == "1",
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
