"""The sample's tariff: a table of our own → tariff measures."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from models.datasets.tariff_table import read
from schemas.records import TariffMeasure

TARIFF: Final = Path(__file__).parent / "sample" / "tariff.csv"
"""Of the sample catalogue: indicative third-country rates for the codes of sample/products.csv,
after the conventional duties of the Common Customs Tariff. Where several rates lie below an HS6
code, it has one of them."""
SOURCE: Final = "Commission Implementing Regulation (EU) 2023/2364, indicative"
TARIFF_2024: Final = datetime(2024, 1, 1, tzinfo=UTC)


def sample_tariff() -> list[TariffMeasure]:
    """Return the measures, for all origins and open-ended."""
    measures, _ = read(TARIFF, source=SOURCE, valid_from=TARIFF_2024)
    return measures
