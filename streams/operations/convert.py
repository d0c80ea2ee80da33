"""Files of customs messages → declarations, without any service."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas import json_form
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import Declaration
from streams.intake import json_message
from streams.intake.folder import CONTENT_TYPES, is_message
from streams.intake.wco import Kind, Message, understand, version_of
from streams.intake.xml_document import MAX_BYTES, XmlSchema

DEAD_LETTER: Final = "dead_letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What became of a file."""

    file: str
    """Its name; U+FFFD stands for bytes that are no UTF-8."""
    outcome: str
    """A Kind of message, or DEAD_LETTER."""
    reason: str = ""
    """Reason code and place in the document; why an amendment has no declaration."""
    declaration: Declaration | None = None
    """As it stands after the message."""

    def to_json(self) -> dict[str, Any]:
        """Return the line that `redlane convert --json` prints."""
        return {
            "file": self.file,
            "outcome": self.outcome,
            "reason": self.reason,
            "declaration": self.declaration and json.loads(json_form.write(self.declaration)),
        }


def messages(path: Path) -> list[Path]:
    """Return a file, or the XML and JSON files of a folder by name."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if is_message(file) and file.is_file())


def convert(files: Sequence[Path], schema: XmlSchema | None = None) -> list[Conversion]:
    """Convert messages, originals first: an amendment waits for its own.

    Returns:
        the conversions in the order of the files.
    """
    understood: dict[Path, Message | Declaration | Undecodable] = {}
    for file in files:
        try:
            understood[file] = _understood(file, schema)
        except Undecodable as error:
            understood[file] = error
    declared: dict[str, Declaration] = {}
    conversions: dict[Path, Conversion] = {}
    for file in sorted(files, key=lambda file: _turn(understood[file])):
        conversions[file] = _convert(file, understood[file], declared)
    return [conversions[file] for file in files]


def _understood(file: Path, schema: XmlSchema | None) -> Message | Declaration:
    """Return a message in XML, or the declaration that one in JSON states.

    Raises:
        Undecodable: it cannot be understood.
    """
    value, content_type = _content(file), CONTENT_TYPES.get(file.suffix.lower())
    if json_message.is_json(value, content_type):
        return json_message.parse(value, content_type).declaration()
    return understand(value, schema)


def _content(file: Path) -> bytes:
    """Read a file, of one that is too large only so much that it is refused."""
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _turn(message: Message | Declaration | Undecodable) -> int:
    return list(Kind).index(message.kind) if isinstance(message, Message) else 1


def _convert(
    file: Path, message: Message | Declaration | Undecodable, declared: dict[str, Declaration]
) -> Conversion:
    name = os.fsencode(file.name).decode(errors="replace")
    if isinstance(message, Declaration):
        kind = json_message.kind_of(message)
        return Conversion(file=name, outcome=kind, declaration=message)
    if isinstance(message, Undecodable):
        return Conversion(file=name, outcome=DEAD_LETTER, reason=str(message))
    references = [reference for reference in (message.lrn, message.mrn) if reference]
    original = next((declared[one] for one in references if one in declared), None)
    if message.kind is Kind.DECLARATION:
        original = None
    elif original is None:
        reason = f"{Reason.AMENDMENT_UNMATCHED}: no original has its LRN or MRN"
        return Conversion(file=name, outcome=message.kind, reason=reason)
    elif message.kind is Kind.CANCELLATION:
        return Conversion(file=name, outcome=message.kind, declaration=original)
    try:
        version = version_of(message, original)
    except Undecodable as error:
        return Conversion(file=name, outcome=DEAD_LETTER, reason=str(error))
    declared |= dict.fromkeys(references, version)
    return Conversion(file=name, outcome=message.kind, declaration=version)
