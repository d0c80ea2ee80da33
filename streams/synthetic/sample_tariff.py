"""The sample's tariff: a table of our own → tariff measures."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from models.risk import tariff
from schemas.records import TariffMeasure

TARIFF: Final = Path(__file__).parent / "sample" / "tariff.csv"
"""Of the sample catalogue."""
TARIFF_2024: Final = datetime(2024, 1, 1, tzinfo=UTC)


def load_tariff_csv(path: Path) -> list[TariffMeasure]:
    """Return measures for all origins, open-ended, from a table with columns hs6 and duty_rate.

    sample/tariff.csv is such a table, of our own: indicative third-country rates (percent) for the
    codes of sample/products.csv, after the conventional duties of the Common Customs Tariff,
    Commission Implementing Regulation (EU) 2023/2364. Where several rates lie below an HS6
    code, it has one of them.

    Raises:
        ValueError: a row is no measure; the message has the line.
    """
    measures = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                measure = TariffMeasure(
                    measure_id=f"{row['hs6']}-erga-omnes",
                    commodity_code=row["hs6"],
                    duty_rate=float(row["duty_rate"]),
                    valid_from=TARIFF_2024,
                    source="Commission Implementing Regulation (EU) 2023/2364, indicative",
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {line}: not hs6 and duty_rate") from error
            if reason := tariff.problem(measure):
                raise ValueError(f"{path}, line {line}: {reason}")
            measures.append(measure)
    return measures
