"""XML of anybody: within bounds, or a reason."""

import time

import pytest
from lxml import etree

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams.intake import xml_document
from streams.intake.xml_document import XmlSchema, parse, xpath

ATTRIBUTES = " ".join(f'b{n}="1"' for n in range(50_000))
BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(10))
REFUSED = {
    "entity bomb": f"<!DOCTYPE a [{BOMB}]><a>&a9;</a>",
    "entity bomb in an attribute": f'<!DOCTYPE a [{BOMB}]><a b="&a9;"/>',
    "external entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "external document type": '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>',
    "parameter entity": '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]><a/>',
    "empty document type": "<!DOCTYPE a><a/>",
    "undeclared entity": "<a>&nbsp;</a>",
    "too deep": "<a>" * 100_000 + "</a>" * 100_000,
    "too many elements": f"<a>{'<b/>' * 500_000}</a>",
    "too many attributes": f"<a {ATTRIBUTES}/>",
    "not closed": "<a><b></a>",
    "two hyphens in a comment": "<a><!-- x -- y --></a>",
    "no XML": "declaration_id: 1",
    "JSON": '{"declaration_id": "1"}',
    "NUL": "<a>\0</a>",
    "undeclared prefix": "<x:a/>",
    "two roots": "<a/><b/>",
    "unknown encoding": '<?xml version="1.0" encoding="klingon"?><a/>',
    "wrong encoding": '<?xml version="1.0" encoding="UTF-16"?><a/>',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_costs_little(text):
    """A reason code, at once: nothing is expanded, fetched or built."""
    start = time.process_time()
    with pytest.raises(Undecodable) as refused:
        parse(text.encode())
    assert refused.value.reason is Reason.MESSAGE_NOT_XML
    assert time.process_time() - start < 2
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.VALUE_EMPTY),
        (b" \n", Reason.VALUE_EMPTY),
        (b"<a>" + b" " * xml_document.MAX_BYTES, Reason.VALUE_TOO_LARGE),
        (b"\xff\xfe\xfd", Reason.MESSAGE_NOT_XML),
    ],
    ids=["empty", "blank", "too large", "no text"],
)
def test_values_that_are_no_document(value, reason):
    """Each has its own reason."""
    with pytest.raises(Undecodable) as refused:
        parse(value)
    assert refused.value.reason is reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings_of_xml(encoding):
    """A byte order mark, or what the document says, decides."""
    declared = encoding.removesuffix("-sig")
    root = parse(f'<?xml version="1.0" encoding="{declared}"?><a>Käse</a>'.encode(encoding))
    assert root.text == "Käse"


def test_comments_and_instructions_do_not_split_texts():
    """As if they were not there."""
    assert parse(b"<a>Kn<!-- x -->it<?y z?>ted</a>").text == "Knitted"


def test_a_place_names_the_element_among_its_kind():
    """Without namespaces, counted from 1 where there are several."""
    root = parse(b'<x:a xmlns:x="urn:x"><b/><c/><b><d/></b></x:a>')
    assert [xpath(element) for element in root.iter()] == [
        "/a",
        "/a/b[1]",
        "/a/c",
        "/a/b[2]",
        "/a/b[2]/d",
    ]


SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x"
  elementFormDefault="qualified"><xs:element name="a"><xs:complexType><xs:sequence>
  <xs:element name="b" type="xs:integer" maxOccurs="9"/></xs:sequence></xs:complexType></xs:element>
</xs:schema>"""


def test_a_schema_names_the_place_and_not_the_value(tmp_path):
    """The value may be personal."""
    file = tmp_path / "a.xsd"
    file.write_text(SCHEMA)
    schema = XmlSchema((file,))
    schema.check(parse(b'<a xmlns="urn:x"><b>1</b></a>'))
    with pytest.raises(Undecodable) as refused:
        schema.check(parse(b'<a xmlns="urn:x"><b>1</b><b>Jane Doe</b></a>'))
    assert refused.value.reason is Reason.MESSAGE_INVALID
    assert refused.value.detail.startswith("/a/b[2]: ")
    assert "Jane" not in str(refused.value)


@pytest.mark.parametrize("text", ["<a/>", "no XML", SCHEMA.replace("xs:integer", "xs:nothing")])
def test_a_file_that_is_no_schema(tmp_path, text):
    """The error names the file."""
    file = tmp_path / "a.xsd"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"a\.xsd"):
        XmlSchema((file,))


def test_the_tree_is_lxml_s():
    """The gatekeeper lets what is right through."""
    assert etree.tostring(parse(b"<a><b>1</b></a>")) == b"<a><b>1</b></a>"
