"""A message of the WCO Data Model 3 (XML) → a declaration, or what it changes of one.

Which field stands where: wco_fields.py. Amendments carry what changes, and point at it; a field
that they point at and do not carry is removed, and so is a goods item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from lxml import etree

from schemas import rules
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration, GoodsItem, ImageReference, Party
from streams.intake.wco_fields import (
    CLASSES,
    HEADER,
    ITEM,
    ITEM_PATH,
    Field,
    at,
    read,
    refuse,
    text_of,
)
from streams.intake.xml_document import XmlSchema, children, parse

NAMESPACE: Final = "urn:wco:datamodel:WCO:"
ORIGINAL, CHANGE, INVALIDATION = "9", "13", "INV"
"""Function codes (UN/EDIFACT 1225) of a declaration and of its change; type of a cancellation."""
SIMPLIFIED: Final = "BCEF"
"""Additional declaration types (UCC D.E. 11 02) of a simplified declaration."""
DATA_SETS: Final = {"51": "H4", "53": "H3", "71": "H2"}
"""Requested procedure → column of UCC Annex B; H1 for the others of an import."""
STANDARD: Final = "ADXYZ"
"""Additional declaration types of standard and supplementary declarations."""
ITEM_FIELDS: Final = frozenset(GoodsItem.__dataclass_fields__)
MAX_NUMBER: Final = 99_999
"""Of a goods item."""


class Kind(StrEnum):
    """What a message is."""

    DECLARATION = "declaration"
    AMENDMENT = "amendment"
    CANCELLATION = "cancellation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a message says of a declaration; an original says everything."""

    header: Mapping[str, Any]
    """Field of HEADER → value."""
    items: Mapping[int, Mapping[str, Any]]
    """Number of a goods item → field of ITEM → value."""
    removed: frozenset[tuple[int, str]] = frozenset()
    """(number of the goods item, 0 for the declaration; field) that are no longer declared."""
    removed_items: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was understood."""

    kind: Kind
    lrn: str
    """Local reference number, of the declarant."""
    mrn: str
    """Movement reference number, of customs; empty before it is given."""
    data_set: str
    """As an original has it; empty where it cannot be derived."""
    changes: Changes

    @property
    def reference(self) -> str:
        """What all messages of a declaration have in common."""
        return self.lrn or self.mrn

    @property
    def declaration_id(self) -> str:
        """The id of the declaration that an original becomes."""
        return self.mrn or self.lrn


def understand(value: bytes, schema: XmlSchema | None = None) -> Message:
    """Read a message.

    Args:
        value: an XML document; the declaration may stand in envelopes.
        schema: that the message must follow, where one is given.

    Raises:
        Undecodable: with its reason code, and the place in the document.
    """
    root = parse(value)
    declarations = [
        element
        for element in root.iter("{*}Declaration")
        if str(etree.QName(element).namespace).startswith(NAMESPACE)
    ]
    if not declarations:
        raise Undecodable(
            Reason.MESSAGE_UNKNOWN, f"there is no Declaration of a namespace {NAMESPACE}…"
        )
    if len(declarations) > 1:
        raise refuse(declarations[1], "a message has one declaration")
    declaration = declarations[0]
    if schema is not None:
        schema.check(declaration)
    return _message(declaration)


def version_of(message: Message, declared: Declaration | None) -> Declaration:
    """Return the declaration as it stands after a message.

    Args:
        message: an original, or an amendment.
        declared: as it stood; None before an original.

    Raises:
        Undecodable: DECLARATION_INVALID, the rule of the contract that the result breaks.
    """
    if declared is None:
        declared = Declaration(
            declaration_id=message.declaration_id, version=0, data_set=message.data_set
        )
    changes = message.changes
    values = _gone(changes, 0) | dict(changes.header)
    items = {item.sequence_number: item for item in declared.goods_items}
    for number in changes.removed_items:
        items.pop(number, None)
    for number, carried in changes.items.items():
        said = _gone(changes, number) | dict(carried)
        item = items.get(number, GoodsItem(sequence_number=number))
        items[number] = _with(item, {k: v for k, v in said.items() if k in ITEM_FIELDS})
    first = changes.items.get(min(items, default=0), {})
    # What the contract has once and a message may have by goods item: the first item's.
    values = {k: v for k, v in first.items() if k not in ITEM_FIELDS} | values
    version = replace(
        _with(declared, values),
        version=declared.version + 1,
        goods_items=tuple(items[number] for number in sorted(items)),
    )
    return rules.check(version, version.declaration_id.encode())


def _gone(changes: Changes, number: int) -> dict[str, Any]:
    return {name: None for place, name in changes.removed if place == number}


def _message(declaration: etree._Element) -> Message:
    function = _only(declaration, "FunctionCode")
    type_ = text_of(next(children(declaration, "TypeCode"), None))
    lrn = text_of(next(children(declaration, "FunctionalReferenceID"), None))
    mrn = text_of(next(children(declaration, "ID"), None))
    if not (lrn or mrn):
        raise refuse(declaration, "has neither a FunctionalReferenceID (LRN) nor an ID (MRN)")
    kinds = {
        ORIGINAL: Kind.DECLARATION,
        CHANGE: Kind.CANCELLATION if type_ == INVALIDATION else Kind.AMENDMENT,
    }
    kind = kinds.get(text_of(function))
    if kind is None:
        raise refuse(function, f"is neither {ORIGINAL} (original) nor {CHANGE} (change)")
    items = dict(_items(declaration))
    header = dict(read(declaration, HEADER))
    removed, removed_items = _removed(declaration, header, items)
    return Message(
        kind=kind,
        lrn=lrn,
        mrn=mrn,
        data_set=_data_set(type_, items),
        changes=Changes(header=header, items=items, removed=removed, removed_items=removed_items),
    )


def _only(element: etree._Element, name: str) -> etree._Element:
    found = list(children(element, name))
    if len(found) != 1:
        raise refuse(element, f"has {len(found)} {name}, not one")
    return found[0]


def _items(declaration: etree._Element) -> Iterator[tuple[int, Mapping[str, Any]]]:
    numbers = set()
    for element in at(declaration, ITEM_PATH):
        place = _only(element, "SequenceNumeric")
        text = text_of(place)
        if not (text.isdecimal() and text.isascii() and len(text) <= len(str(MAX_NUMBER))):
            raise refuse(place, "is no number of a goods item")
        if int(text) in numbers:
            raise refuse(place, "is the number of an earlier goods item too")
        numbers.add(int(text))
        yield int(text), dict(read(element, ITEM))


def _removed(
    declaration: etree._Element,
    header: Mapping[str, Any],
    items: Mapping[int, Mapping[str, Any]],
) -> tuple[frozenset[tuple[int, str]], frozenset[int]]:
    """Return what an amendment points at and does not carry: fields, and goods items."""
    removed: set[tuple[int, str]] = set()
    removed_items: set[int] = set()
    for amendment in children(declaration, "Amendment"):
        number, steps, tag = _pointed(amendment)
        if number and number not in items:
            if not (steps or tag):
                removed_items.add(number)
            continue
        said, fields = (items[number], ITEM) if number else (header, HEADER)
        removed.update(
            (number, field.name)
            for field in fields
            if field.name not in said and _covers(field, "/".join(steps), tag)
        )
    return frozenset(removed), frozenset(removed_items)


def _pointed(amendment: etree._Element) -> tuple[int, list[str], str]:
    """Return where an amendment points: goods item (0 for none), classes below it, attribute.

    A class that the table does not name stands by its id, so that no field of the table is meant.
    """
    number, tag = 0, ""
    steps: list[str] = []
    for pointer in children(amendment, "Pointer"):
        class_ = text_of(next(children(pointer, "DocumentSectionCode"), None))
        tag = text_of(next(children(pointer, "TagID"), None))
        sequence = text_of(next(children(pointer, "SequenceNumeric"), None))
        if class_ == "68A" and sequence.isdecimal() and len(sequence) <= len(str(MAX_NUMBER)):
            number, steps = int(sequence), []
        elif class_ != "42A":
            steps.append(CLASSES.get(class_, class_))
    return number, steps, tag


def _covers(field: Field, path: str, tag: str) -> bool:
    """Return whether a pointer means a field: the attribute, or a class that holds it."""
    if tag:
        return field.attribute == tag and field.path.rpartition("/")[0] == path
    return bool(path) and f"{field.path}/".startswith(f"{path}/")


def _with(record: Any, values: Mapping[str, Any]) -> Any:
    """Return a record with other values; None for a field's default."""
    parts: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for name, value in values.items():
        whole, _, part = name.partition(".")
        if part:
            parts.setdefault(whole, {})[part] = value
        elif name == "images":
            plain[name] = tuple(ImageReference(uri=uri) for uri in value or ())
        elif name in record.__dataclass_fields__:
            plain[name] = value
            if name == "item_amount" and value is None:
                plain["item_currency"] = None
    for whole, said in parts.items():
        plain[whole] = _with(getattr(record, whole) or Party(), said)
    defaults = {name: field.default for name, field in record.__dataclass_fields__.items()}
    return replace(record, **{k: defaults[k] if v is None else v for k, v in plain.items()})


def _data_set(type_: str, items: Mapping[int, Mapping[str, Any]]) -> str:
    """Return the column of UCC Annex B, where type and procedure say it; else empty."""
    additional = type_[2:3]
    if type_.startswith("CO"):
        return "H5" if additional and additional in STANDARD + SIMPLIFIED else ""
    if not type_.startswith("IM") or not additional:
        return ""
    if additional in SIMPLIFIED:
        return "I1"
    if additional not in STANDARD:
        return ""
    procedure = str(items[min(items)].get("procedure", "")) if items else ""
    return DATA_SETS.get(procedure[:2], "H1")
