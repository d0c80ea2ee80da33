"""A declaration as JSON, alone or as a CloudEvent in structured mode → a version of it.

It says everything, its version too, so that nothing of earlier messages is needed. Checked by the
JSON Schemas that schemas/json-schema publishes; errors name the place, never a value or a name of
the sender's own: they may be personal.
"""

import codecs
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

import schemas
from schemas import json_form, rules
from schemas.codec import Undecodable
from schemas.json_form import Malformed
from schemas.reasons import Reason
from schemas.records import Declaration
from streams.intake.ledger import CANCELLED
from streams.intake.wco import Kind
from streams.kafka.events import Inbound, bounded_headers

MAX_BYTES: Final = 4 << 20
"""Of a message; 999 goods items with every field have about 1 MB."""
MAX_PARTS: Final = 200_000
"""Members of lists and objects, counted before they are built: each takes some hundred bytes."""
STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
SCHEMAS: Final = Path(schemas.__file__).parent / "json-schema"
RULES: Final[Mapping[str, str]] = {
    "type": "is not of type {}",
    "const": "is not {}",
    "pattern": "does not match {}",
    "minLength": "is empty",
    "minimum": "is below {}",
    "maximum": "is above {}",
    "exclusiveMinimum": "is not above {}",
    "exclusiveMaximum": "is not below {}",
    "minItems": "has fewer than {} members",
    "maxItems": "has more than {} members",
}
"""Keyword of JSON Schema → what is wrong, with the keyword's value."""


@dataclass(frozen=True, slots=True)
class JsonMessage:
    """A message that is JSON; whether it is a declaration too, `declaration` finds out."""

    content: Any
    in_envelope: bool
    """It is a CloudEvent in structured mode."""

    def identified(self, cause: Inbound) -> Inbound:
        """Return the event with the identity that the envelope gives it, and its trace.

        The envelope's id and source stand for the header ce_id; an event that has neither keeps
        its own.
        """
        if not self.in_envelope:
            return cause
        id_, source, trace = (self.content.get(name) for name in ("id", "source", "traceparent"))
        headers: list[tuple[str, bytes]] = []
        if isinstance(id_, str) and isinstance(source, str) and id_ and source:
            headers.append(("ce_id", f"{source}#{id_}".encode(errors="replace")))
        if isinstance(trace, str) and not cause.header("traceparent"):
            headers.append(("traceparent", trace.encode(errors="replace")))
        return replace(cause, headers=bounded_headers([*headers, *cause.headers]))

    def declaration(self, key: bytes | None = None) -> Declaration:
        """Return the declaration.

        Args:
            key: of the event; None where there is no event, but a file.

        Raises:
            Undecodable: MESSAGE_INVALID with the place, or DECLARATION_INVALID with the rule.
        """
        kind = "cloud-event" if self.in_envelope else "declaration"
        try:
            error = next(_validator(kind).iter_errors(self.content), None)
            if error is not None:
                raise Undecodable(Reason.MESSAGE_INVALID, _described(error))
            data = self.content["data"] if self.in_envelope else self.content
            declaration = json_form.record_of(data, Declaration)
        except Malformed as malformed:
            place = "data: " if self.in_envelope else ""
            raise Undecodable(Reason.MESSAGE_INVALID, f"{place}{malformed}") from malformed
        except RecursionError as deep:
            raise Undecodable(Reason.MESSAGE_NOT_JSON, "it is nested too deeply") from deep
        own = declaration.declaration_id.encode()
        return rules.check(declaration, own if key is None else key)


def kind_of(declaration: Declaration) -> Kind:
    """Return what a message made of its declaration, by what it says itself."""
    if declaration.status == CANCELLED:
        return Kind.CANCELLATION
    return Kind.DECLARATION if declaration.version == 1 else Kind.AMENDMENT


def is_json(value: bytes, content_type: str | None) -> bool:
    """Whether a message is JSON: as its content type says, else by how it begins."""
    media_type = _media_type(content_type)
    if media_type.endswith("json"):
        return True
    if media_type.endswith("xml"):
        return False
    return value.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"


def parse(value: bytes, content_type: str | None = None) -> JsonMessage:
    """Read a message that is JSON in UTF-8.

    Args:
        value: a CloudEvent in structured mode, which has a specversion, or a declaration.
        content_type: as its header says; None for none.

    Raises:
        Undecodable: VALUE_EMPTY, VALUE_TOO_LARGE, MESSAGE_NOT_JSON or MESSAGE_INVALID.
    """
    if not value.strip():
        raise Undecodable(Reason.VALUE_EMPTY, "the message is empty")
    if len(value) > MAX_BYTES:
        raise Undecodable(Reason.VALUE_TOO_LARGE, f"the message has more than {MAX_BYTES} bytes")
    if sum(map(value.count, (b"{", b"[", b","))) > MAX_PARTS:
        raise Undecodable(Reason.VALUE_TOO_LARGE, f"the message has more than {MAX_PARTS} members")
    media_type = _media_type(content_type)
    if media_type == BATCH:
        raise Undecodable(Reason.MESSAGE_INVALID, "it is a batch: send each event as a message")
    try:
        content = json_form.parse(value.decode("utf-8-sig"), _names())
    except UnicodeDecodeError as error:
        raise Undecodable(
            Reason.MESSAGE_NOT_JSON, f"it is no UTF-8, from byte {error.start + 1}"
        ) from error
    except Malformed as error:
        raise Undecodable(Reason.MESSAGE_NOT_JSON, str(error).removeprefix("no JSON: ")) from error
    if not isinstance(content, dict):
        raise Undecodable(Reason.MESSAGE_INVALID, "the message is no object")
    return JsonMessage(content, media_type == STRUCTURED or "specversion" in content)


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


@cache
def _validator(kind: str) -> Draft7Validator:
    return Draft7Validator(json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8")))


@cache
def _names() -> frozenset[str]:
    """Return the names that a message may have, which errors may repeat."""
    envelope = _validator("cloud-event").schema["properties"]
    return json_form.field_names(Declaration) | frozenset(envelope)


def _described(error: ValidationError) -> str:
    """Return where a message is not as its schema says, and how."""
    return f"{_place(error.absolute_path)} {_problem(error)}"


def _problem(error: ValidationError) -> str:
    keyword, wanted = str(error.validator), error.validator_value
    if keyword == "required":
        missing = next(name for name in wanted if name not in error.instance)
        return f"has no {missing}"
    if keyword == "additionalProperties":
        declared = error.schema["properties"]
        number, name = next(
            (number, name) for number, name in enumerate(error.instance, 1) if name not in declared
        )
        close = difflib.get_close_matches(name[:80], declared, n=1)
        hint = f"; {close[0]} is meant?" if close else ""
        return f"has a field that there is none of, its {number}.{hint}"
    if keyword == "pattern" and "examples" in error.schema:
        return f"is not written like {error.schema['examples'][0]}"
    text = " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    return RULES[keyword].format(text)


def _place(path: Sequence[str | int]) -> str:
    """Return a path as in data.goods_items[0].net_mass; names of the sender's own are left out."""
    place = ""
    for step in path:
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            place += f".{step if step in _names() else '…'}"
    return place.removeprefix(".") or "the message"
