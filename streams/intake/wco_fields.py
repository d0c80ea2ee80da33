"""Where each field of a declaration stands in the WCO Data Model 3: the one table of the mapping.

Facts of the WCO Data Model: names of classes and attributes, and their ids (42A, 137 …), by which
an amendment points at what it changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any, Final

from lxml import etree

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams.intake.xml_document import children, xpath

CLASSES: Final[Mapping[str, str]] = {
    "02A": "AdditionalDocument",
    "04A": "Address",
    "09B": "Seller",
    "15A": "BorderTransportMeans",
    "21A": "Classification",
    "23A": "Commodity",
    "42A": "Declaration",
    "50A": "DutyTaxFee",
    "57A": "Exporter",
    "57B": "Declarant",
    "65A": "GoodsMeasure",
    "67A": "GoodsShipment",
    "68A": "GovernmentAgencyGoodsItem",
    "70A": "GovernmentProcedure",
    "74A": "Importer",
    "79A": "InvoiceLine",
    "92A": "Origin",
    "95B": "ExportCountry",
}
"""WCO id → class, of those that the table names."""
KILOGRAMS: Final = {
    "": Decimal(1),
    "KGM": Decimal(1),
    "GRM": Decimal("0.001"),
    "TNE": Decimal(1000),
    "DTN": Decimal(100),
    "LBR": Decimal("0.45359237"),
}
"""Unit of a mass (UN/ECE Recommendation 20) → kg; kg where none is said."""
DATE_FORMATS: Final = {"102": 8, "203": 12, "204": 14, "304": 14}
"""Format of a date (UN/EDIFACT 2379) → its digits; 304 has the time zone's hours after them."""
EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation, Overflow])
"""Computes exactly or not at all."""
MAX_AMOUNT_DIGITS: Final = 16
ADDITIONAL_CODES: Final = 3
"""Of a declared code, at most (schemas/rules.py)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the contract and its place in the message."""

    name: str
    """In the record; `importer.name` for a part of a part."""
    path: str
    """Below the declaration, or below the goods item; / between classes."""
    attribute: str
    """WCO id of the attribute, as an amendment names it; empty for a whole class."""
    read: Callable[[list[etree._Element]], Mapping[str, Any]]
    """Elements at the place → values by field. Nothing where the elements say nothing."""


def refuse(element: etree._Element, why: str) -> Undecodable:
    """Return the error of an element, whose value it does not repeat: it may be personal."""
    return Undecodable(Reason.MESSAGE_INVALID, f"{xpath(element)}: {why}")


def text_of(element: etree._Element | None) -> str:
    """Return an element's text, blanks joined; empty where there is none."""
    return " ".join((element.text or "").split()) if element is not None else ""


def at(element: etree._Element, path: str) -> list[etree._Element]:
    """Return the elements at a path below an element; the element itself for an empty one."""
    places = [element]
    for step in path.split("/") if path else ():
        places = [child for place in places for child in children(place, step)]
    return places


def _text(field: str) -> Callable[[list[etree._Element]], Mapping[str, Any]]:
    return lambda elements: {field: text_of(elements[0])}


def _decimal(element: etree._Element, *, scale: int, factor: Decimal = Decimal(1)) -> Decimal:
    text = text_of(element)
    try:
        number = EXACT.multiply(Decimal(text), factor)
        written = number.quantize(Decimal(1).scaleb(-scale))
    except (ArithmeticError, ValueError) as error:
        raise refuse(element, "is no number, or too large a one") from error
    if number.is_nan() or "_" in text or not text.isascii():
        raise refuse(element, "is no number")
    if written != number or abs(written.scaleb(scale)) >= 10**MAX_AMOUNT_DIGITS:
        raise refuse(element, f"has more than {scale} digits after the point, or is too large")
    return written


def _mass(field: str) -> Callable[[list[etree._Element]], Mapping[str, Any]]:
    def read(elements: list[etree._Element]) -> Mapping[str, Any]:
        unit = elements[0].get("unitCode", "").partition("#")[0]
        if unit not in KILOGRAMS:
            raise refuse(elements[0], f"its unit is none of {', '.join(filter(None, KILOGRAMS))}")
        return {field: _decimal(elements[0], scale=6, factor=KILOGRAMS[unit])}

    return read


def _quantity(elements: list[etree._Element]) -> Mapping[str, Any]:
    return {"supplementary_quantity": _decimal(elements[0], scale=6)}


def _amount(elements: list[etree._Element]) -> Mapping[str, Any]:
    return {
        "item_amount": _decimal(elements[0], scale=2),
        "item_currency": elements[0].get("currencyID", ""),
    }


def _time(elements: list[etree._Element]) -> Mapping[str, Any]:
    stamp = next(elements[0].iterchildren("{*}DateTimeString", "{*}DateTime"), elements[0])
    text, format_ = text_of(stamp), stamp.get("formatCode", "")
    try:
        if not format_:
            time = datetime.fromisoformat(text)
            return {"acceptance_time": time if time.tzinfo else time.replace(tzinfo=UTC)}
        digits, zone = text[: DATE_FORMATS[format_]], text[DATE_FORMATS[format_] :]
        if not digits.isdecimal() or not digits.isascii() or len(digits) < DATE_FORMATS[format_]:
            raise ValueError  # noqa: TRY301 - reported like a date that is none
        offset = timedelta(0) if zone in {"", "Z"} else timedelta(hours=int(zone))
        written = f"{digits:0<14}"
        time = datetime.strptime(written, "%Y%m%d%H%M%S").replace(tzinfo=timezone(offset))
        return {"acceptance_time": time.astimezone(UTC)}
    except KeyError as error:
        raise refuse(stamp, f"its format is none of {', '.join(DATE_FORMATS)}") from error
    except (ValueError, OverflowError) as error:
        raise refuse(stamp, "is no time") from error


def _code(elements: list[etree._Element]) -> Mapping[str, Any]:
    """Join the code's parts: 8 digits, two of TARIC, then additional codes of four characters."""
    parts: dict[str, list[str]] = {}
    for element in elements:
        kind = text_of(next(children(element, "IdentificationTypeCode"), None))
        parts.setdefault(kind, []).append(text_of(next(children(element, "ID"), None)))
    base = "".join(parts.get("TSP", parts.get("HS", parts.get("", [])))[:1])
    code = base + "".join(parts.get("TRC", [])[:1])
    additional = [*parts.get("TRA", []), *parts.get("GN", [])][:ADDITIONAL_CODES]
    # Without ten digits before them, additional codes would be read as digits of the code.
    complete = len(code) == len("0000000000")
    return {"commodity_code": code + "".join(additional) if complete else code}


def _origin(elements: list[etree._Element]) -> Mapping[str, Any]:
    """Read the country of origin; where several are declared, that of type 1, not preferential."""

    def value(element: etree._Element, child: str) -> str:
        return text_of(next(children(element, child), None))

    ordinary = [one for one in elements if value(one, "TypeCode") == "1"]
    countries = [value(one, "CountryCode") for one in [*ordinary, *elements]]
    return {"country_of_origin": next(filter(None, countries), "")}


def _photos(elements: list[etree._Element]) -> Mapping[str, Any]:
    uris = [text_of(uri) for one in elements for uri in one.iterchildren("{*}URI", "{*}URIID")]
    photos = [uri for uri in uris if uri.startswith("s3://")]
    return {"images": photos} if photos else {}


def _procedure(elements: list[etree._Element]) -> Mapping[str, Any]:
    """Join the requested and the previous procedure; without that, the first one counts alone."""

    def code(element: etree._Element, child: str) -> str:
        return text_of(next(children(element, child), None))

    whole = [one for one in elements if next(children(one, "PreviousCode"), None) is not None]
    # Of several the last; the additional procedures, which stand beside it, have no previous one.
    element = whole[-1] if whole else elements[0]
    return {"procedure": code(element, "CurrentCode") + code(element, "PreviousCode")}


def _party(party: str, path: str, *, name: str, identification: str) -> tuple[Field, ...]:
    return (
        Field(f"{party}.identification", f"{path}/ID", identification, _text("identification")),
        Field(f"{party}.name", f"{path}/Name", name, _text("name")),
        Field(f"{party}.country", f"{path}/Address/CountryCode", "242", _text("country")),
    )


HEADER: Final = (
    Field("declaration_office", "DeclarationOfficeID", "065", _text("declaration_office")),
    Field("acceptance_time", "AcceptanceDateTime", "023", _time),
    *_party("declarant", "Declarant", name="R124", identification="R123"),
    *_party("importer", "GoodsShipment/Importer", name="R037", identification="R038"),
    *_party("exporter", "Exporter", name="R031", identification="R032"),
    *_party("seller", "GoodsShipment/Seller", name="R050", identification="R051"),
    Field(
        "country_of_dispatch", "GoodsShipment/ExportCountry/ID", "062", _text("country_of_dispatch")
    ),
    Field("mode_of_transport", "BorderTransportMeans/ModeCode", "T022", _text("mode_of_transport")),
)
"""Fields of the declaration; its id, version, data set and procedure are derived (wco.py)."""
ITEM_PATH: Final = "GoodsShipment/GovernmentAgencyGoodsItem"
ITEM: Final = (
    Field("commodity_code", "Commodity/Classification", "", _code),
    Field("description", "Commodity/Description", "137", _text("description")),
    Field("country_of_origin", "Origin", "", _origin),
    Field("net_mass", "Commodity/GoodsMeasure/NetNetWeightMeasure", "128", _mass("net_mass")),
    Field("gross_mass", "Commodity/GoodsMeasure/GrossMassMeasure", "126", _mass("gross_mass")),
    Field("supplementary_quantity", "Commodity/GoodsMeasure/TariffQuantity", "130", _quantity),
    Field("item_amount", "Commodity/InvoiceLine/ItemChargeAmount", "112", _amount),
    Field("images", "AdditionalDocument", "", _photos),
    Field("preference", "Commodity/DutyTaxFee/DutyRegimeCode", "164", _text("preference")),
    Field("procedure", "GovernmentProcedure", "", _procedure),
    Field("country_of_dispatch", "ExportCountry/ID", "062", _text("country_of_dispatch")),
    *_party("seller", "Seller", name="R050", identification="R051"),
)
"""Fields of a goods item. The last ones are the declaration's where all items agree on them."""


def read(element: etree._Element, fields: Iterable[Field]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field that an element has something for.

    Raises:
        Undecodable: MESSAGE_INVALID, with the place.
    """
    for field in fields:
        if elements := at(element, field.path):
            prefix = field.name.rpartition(".")[0]
            for name, value in field.read(elements).items():
                yield (f"{prefix}.{name}" if prefix else name), value
