"""A table of a tariff (CSV) → tariff measures, and the lines that cannot be read.

Two forms: our own, to which extracts of a TARIC map column by column, and the US Harmonized Tariff
Schedule as the USITC publishes it, known by its columns.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from models.risk.duty_expression import MASS, UNITS, Unreadable, parse, unit_code
from models.risk.tariff import problem
from schemas.records import EPOCH, TariffMeasure

REQUIRED: Final = ("commodity_code", "duty")
OPTIONAL: Final = (
    "measure_id",
    "country_of_origin",
    "measure_type",
    "programme",
    "additional_code",
    "supplementary_unit",
    "valid_from",
    "valid_until",
    "source",
)
US_COLUMNS: Final = ("hts_number", "unit", "general", "special", "column2")
COLUMN_2: Final = ("BY", "CU", "KP", "RU")
"""Countries of rates of duty column 2: US HTS 2025, General Note 3(b)."""
AGREEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        country: (country,)
        for country in [
            "AU",
            "BH",
            "CL",
            "CO",
            "IL",
            "JO",
            "JP",
            "KR",
            "MA",
            "NP",
            "OM",
            "PA",
            "PE",
            "SG",
        ]
    },
    "S": ("CA", "MX"),
    "P": ("CR", "DO", "GT", "HN", "NI", "SV"),
}
"""Symbol of the special column → countries, where it names them (US HTS 2025, General Note 3(c)).
The others name programmes, which must be claimed."""
SPECIAL: Final = re.compile(r"([^()]+)\(([^()]*)\)")
FIRST_LINE: Final = 2
"""Of the file, after its header."""


class BadTable(ValueError):  # noqa: N818 - says what it is
    """The file is no table of a tariff; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A cell that gave no measure."""

    line: int
    """Of the file, from 1."""
    commodity_code: str
    column: str
    text: str
    reason: str


Rows = Iterator[TariffMeasure | Unread]


def read(
    path: Path, *, source: str = "", valid_from: datetime = EPOCH
) -> tuple[list[TariffMeasure], list[Unread]]:
    """Read a table.

    Args:
        path: of the file; UTF-8.
        source: of measures whose line names none.
        valid_from: of measures whose line says no time.

    Raises:
        BadTable: it lacks a column, or is no CSV in UTF-8.
    """
    common = TariffMeasure(source=source or path.name, valid_from=valid_from)
    measures: dict[str, TariffMeasure] = {}
    unread: list[Unread] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            measures_of = _form(path, reader.fieldnames or ())
            for row in reader:
                line = reader.line_num
                for one in measures_of({k: v or "" for k, v in row.items() if k}, line, common):
                    if isinstance(one, Unread):
                        unread.append(one)
                    elif one.measure_id in measures:
                        code = one.commodity_code
                        unread.append(Unread(line, code, "", "", "an earlier line has its id"))
                    else:
                        measures[one.measure_id] = one
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadTable(f"{path}: no CSV in UTF-8: {error}") from error
    return list(measures.values()), unread


def _form(path: Path, columns: object) -> Callable[[Mapping[str, str], int, TariffMeasure], Rows]:
    names = set(columns) if isinstance(columns, list | tuple) else set()
    if names.issuperset(US_COLUMNS):
        return _us_measures
    if missing := [name for name in REQUIRED if name not in names]:
        raise BadTable(
            f"{path}: there is no column {' and no column '.join(missing)}. Columns are "
            f"{', '.join((*REQUIRED, *OPTIONAL))}, or {', '.join(US_COLUMNS)}."
        )
    return _own_measures


def _own_measures(row: Mapping[str, str], line: int, common: TariffMeasure) -> Rows:
    said: dict[str, Any] = {name: row.get(name, "").strip() for name in (*REQUIRED, *OPTIONAL)}
    code, duty = said.pop("commodity_code"), said.pop("duty")
    times: dict[str, Any] = {}
    for name in ("valid_from", "valid_until"):
        text = said.pop(name)
        try:
            times[name] = _time(text) if text else getattr(common, name)
        except ValueError:
            yield Unread(line, code, name, text, "it is no time of ISO 8601")
            return
    origins = said.pop("country_of_origin").replace(",", " ").upper().split()
    many = len(origins) > 1
    unit = said.pop("supplementary_unit")
    measure = replace(
        common,
        commodity_code=code,
        duty_expression=duty,
        country_of_origin="" if many else "".join(origins),
        origins=tuple(origins) if many else (),
        supplementary_unit=unit_code(unit) or unit,
        **times,
        **{name: value for name, value in said.items() if value},
    )
    named = measure if measure.measure_id else replace(measure, measure_id=_id(measure))
    yield from _checked(named, line, "duty", duty)


def _id(measure: TariffMeasure) -> str:
    """Return the id of a measure whose table gives none: what it holds for, and since when."""
    since = f"{measure.valid_from:%Y%m%d}" if measure.valid_from > EPOCH else ""
    parts = (
        measure.commodity_code,
        measure.measure_type or "third_country",
        "+".join(measure.origins) or measure.country_of_origin or "all",
        measure.programme,
        measure.additional_code,
        since,
    )
    return "-".join(part for part in parts if part)


def _us_measures(row: Mapping[str, str], line: int, common: TariffMeasure) -> Rows:
    code = row["hts_number"].replace(".", "").strip()
    unit = _supplementary_unit(row["unit"])
    base = replace(common, commodity_code=code, supplementary_unit=unit)

    def measure(name: str, duty: str, **more: Any) -> TariffMeasure:
        id_ = f"US-{code}-{name}"
        return replace(base, measure_id=id_, duty_expression=duty.strip(), **more)

    general, column2, special = row["general"], row["column2"], row["special"].strip()
    yield from _checked(measure("general", general), line, "general", general)
    if column2.strip():
        measure2 = measure("column2", column2, origins=COLUMN_2)
        yield from _checked(measure2, line, "column2", column2)
    if special and not SPECIAL.search(special):
        yield Unread(line, code, "special", special, "it names no programme")
    for number, (duty, symbols) in enumerate(SPECIAL.findall(special), 1):
        claimed = sorted(part.strip() for part in symbols.split(",") if part.strip())
        for is_agreement, names in groupby(sorted(claimed, key=_is_agreement), key=_is_agreement):
            if is_agreement:
                countries = tuple(country for name in names for country in AGREEMENTS[name])
                one = measure(
                    f"special{number}", duty, measure_type="preference", origins=countries
                )
                yield from _checked(one, line, "special", duty)
                continue
            for name in names:
                one = measure(
                    f"special{number}-{name}", duty, measure_type="preference", programme=name
                )
                yield from _checked(one, line, "special", duty)


def _is_agreement(symbol: str) -> bool:
    return symbol in AGREEMENTS


def _supplementary_unit(printed: str) -> str:
    """Return the first unit that is no mass; the table lists units as JSON."""
    try:
        units = json.loads(printed or "[]")
    except ValueError:
        units = [printed]
    codes = [unit_code(str(unit)) for unit in units] if isinstance(units, list) else []
    return next((code for code in codes if code and UNITS[code][0] != MASS), "")


def _checked(measure: TariffMeasure, line: int, column: str, text: str) -> Rows:
    """Yield a measure that workers would take, else why they would not."""
    try:
        parse(measure.duty_expression)
    except Unreadable as error:
        yield Unread(line, measure.commodity_code, column, text.strip(), str(error))
        return
    reason = problem(measure)
    if reason:
        yield Unread(line, measure.commodity_code, column, text.strip(), reason)
    else:
        yield measure


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
