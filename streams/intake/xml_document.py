"""Bytes of a sender whom nobody vouches for → an XML tree, within bounds, or the reason why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from lxml import etree

from schemas.codec import Undecodable
from schemas.reasons import Reason

MAX_BYTES: Final = 16 << 20
"""Of a message; a declaration of 999 items with every element has about 8 MB."""
MAX_DEPTH: Final = 64
"""Of elements in one another; the WCO's schema has 12."""
MAX_ELEMENTS: Final = 400_000
"""Of a message; 999 items with every element of the WCO's schema have about 250,000."""
MAX_ATTRIBUTES: Final = 32
"""Of one element."""


def parse(value: bytes) -> etree._Element:
    """Return the root of an XML message, without its comments.

    A first pass that builds nothing refuses what could cost more than its size: document types, and
    so entities, and what is too deep or too much. Only then is a tree built.

    Raises:
        Undecodable: VALUE_EMPTY, VALUE_TOO_LARGE, or MESSAGE_NOT_XML with line and column.
    """
    if not value.strip():
        raise Undecodable(Reason.VALUE_EMPTY, "the message is empty")
    if len(value) > MAX_BYTES:
        raise Undecodable(Reason.VALUE_TOO_LARGE, f"the message has more than {MAX_BYTES} bytes")
    _check(value)
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(value, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Undecodable(Reason.MESSAGE_NOT_XML, "the two parsers disagree on it") from error


def _check(value: bytes) -> None:
    parser = expat.ParserCreate()
    depth = count = 0

    def refuse(why: str) -> None:
        place = f"line {parser.CurrentLineNumber}, column {parser.CurrentColumnNumber + 1}"
        raise Undecodable(Reason.MESSAGE_NOT_XML, f"{place}: {why}")

    def start(_: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH:
            refuse(f"more than {MAX_DEPTH} elements in one another")
        if count > MAX_ELEMENTS:
            refuse(f"more than {MAX_ELEMENTS} elements")
        if len(attributes) > MAX_ATTRIBUTES:
            refuse(f"more than {MAX_ATTRIBUTES} attributes")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = lambda *_: refuse("a document type is refused")
    try:
        parser.Parse(value, True)  # noqa: FBT003 - nothing follows
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise Undecodable(
            Reason.MESSAGE_NOT_XML, f"{place}: {expat.ErrorString(error.code)}"
        ) from error
    except (LookupError, UnicodeError, ValueError) as error:  # of an encoding that Python lacks
        raise Undecodable(Reason.MESSAGE_NOT_XML, "its encoding is unknown") from error


def name(element: etree._Element) -> str:
    """Return an element's name without its namespace."""
    return str(etree.QName(element).localname)


def children(element: etree._Element, child: str) -> Iterator[etree._Element]:
    """Yield an element's children of a name, in the element's own namespace."""
    namespace = etree.QName(element).namespace
    tag = f"{{{namespace}}}{child}" if namespace else child
    yield from element.iterchildren(tag)


def xpath(element: etree._Element) -> str:
    """Return where an element stands: its ancestors' names, without namespaces.

    A number follows where there are several of a name: /Declaration/GoodsShipment/Item[2].
    """
    steps = []
    for step in [element, *element.iterancestors()]:
        before = sum(1 for _ in step.itersiblings(step.tag, preceding=True))
        after = next(step.itersiblings(step.tag), None) is not None
        steps.append(f"{name(step)}[{before + 1}]" if before or after else name(step))
    return "/" + "/".join(reversed(steps))


class XmlSchema:
    """XML schemas (XSD) that a message must follow."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        """Read the schemas, and those beside them that they import.

        Raises:
            ValueError: a file is no XML schema, or imports what is not there.
        """
        parser = etree.XMLParser(no_network=True, resolve_entities=False)
        root = etree.Element("{http://www.w3.org/2001/XMLSchema}schema")
        try:
            for file in files:
                target = etree.parse(file, parser).getroot().get("targetNamespace")
                place = {"schemaLocation": file.absolute().as_uri()}
                if target:
                    place["namespace"] = target
                kind = "import" if target else "include"
                etree.SubElement(root, f"{{http://www.w3.org/2001/XMLSchema}}{kind}", place)
            self._schema = etree.XMLSchema(etree.fromstring(etree.tostring(root), parser))
        except (etree.XMLSyntaxError, etree.XMLSchemaParseError) as error:
            raise ValueError(f"{', '.join(map(str, files))}: {error}") from error

    def check(self, element: etree._Element) -> None:
        """Check an element against the schemas.

        Raises:
            Undecodable: MESSAGE_INVALID, with the place and the rule that is broken.
        """
        if self._schema.validate(element):
            return
        error: Any = self._schema.error_log[0]
        # libxml2's sentence quotes the value, which may be personal: only the rule is named.
        places = element.getroottree().xpath(error.path) if error.path else []
        place = xpath(places[0]) if places else f"line {error.line}"
        rule = error.type_name.removeprefix("SCHEMAV_").lower()
        raise Undecodable(Reason.MESSAGE_INVALID, f"{place}: against the XML schema ({rule})")
