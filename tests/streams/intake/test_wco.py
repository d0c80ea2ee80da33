"""The WCO's XML → declarations, amendments, cancellations, or the place of what is wrong."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.records import GoodsItem, ImageReference, Party
from streams.intake.wco import Kind, understand, version_of
from streams.intake.xml_document import parse
from tests.streams.intake.messages import element, item, message, pointed

PARTIES = (
    element("Declarant", element("ID", "GB1")),
    element(
        "Exporter",
        element("Name", "Clipper"),
        element("Address", element("CityName", "New York"), element("CountryCode", "US")),
    ),
)
HEADER = "".join(
    (
        element("DeclarationOfficeID", "BEBRU000"),
        element(
            "AcceptanceDateTime",
            '<p:DateTimeString xmlns:p="urn:p" formatCode="304">20260413221100+02</p:DateTimeString>',
        ),
        element("BorderTransportMeans", element("ModeCode", "4")),
        *PARTIES,
    )
)
SHIPMENT = "".join(
    (
        element("ExportCountry", element("ID", "US")),
        element("Importer", element("ID", "BE2"), element("Name", " Big \n Shop ")),
        element("Seller", element("Name", "Web shop")),
    )
)


def declared(*items, **given):
    """Return an original as a declaration."""
    return version_of(understand(message(*items, **given)), None)


def test_every_field_of_an_original():
    """Exactly this declaration."""
    photo = element("AdditionalDocument", element("URIID", "s3://goods-photos/a.jpg"))
    result = declared(item(additional=("2501",), extra=photo), header=HEADER, shipment=SHIPMENT)
    assert (result.declaration_id, result.version, result.data_set) == ("LRN1", 1, "H1")
    assert result.acceptance_time == datetime(2026, 4, 13, 20, 11, tzinfo=UTC)
    assert result.declaration_office == "BEBRU000"
    assert result.declarant == Party(identification="GB1")
    assert result.exporter == Party(name="Clipper", country="US")
    assert result.importer == Party(identification="BE2", name="Big Shop")
    assert result.seller == Party(name="Web shop")
    assert (result.country_of_dispatch, result.mode_of_transport, result.procedure) == (
        "US",
        "4",
        "4000",
    )
    assert result.goods_items == (
        GoodsItem(
            sequence_number=1,
            commodity_code="85109000002501",
            description="Electric shavers",
            country_of_origin="US",
            net_mass=Decimal("100.000000"),
            gross_mass=Decimal("150.000000"),
            item_amount=Decimal("1000.00"),
            item_currency="GBP",
            preference="100",
            images=(ImageReference(uri="s3://goods-photos/a.jpg"),),
        ),
    )


def test_the_movement_reference_is_the_id_where_there_is_one():
    """Customs' own number, rather than the trader's."""
    assert declared(item(), mrn="26GB1").declaration_id == "26GB1"


@pytest.mark.parametrize(
    ("code", "taric", "additional", "expected"),
    [
        ("", "", (), ""),
        ("851090", "", (), "851090"),
        ("85109000", "", (), "85109000"),
        ("85109000", "", ("2501",), "85109000"),
        ("85109000", "00", ("2501", "A900", "B1", "1234"), None),
        ("85109000", "00", ("2501", "A900", "1234", "9999"), "85109000002501A9001234"),
        ("8510 90 00", "00", (), "8510900000"),
        ("shavers", "", (), None),
    ],
)
def test_codes_are_joined_from_their_parts(code, taric, additional, expected):
    """Additional codes only after ten digits; nonsense is refused by the contract's rules."""
    if expected is None:
        with pytest.raises(Undecodable):
            declared(item(code=code, taric=taric, additional=additional))
    else:
        result = declared(item(code=code, taric=taric, additional=additional))
        assert result.goods_items[0].commodity_code == expected


@pytest.mark.parametrize(
    ("unit", "kg"),
    [("KGM", "2.5"), ("KGM#G", "2.5"), ("GRM", "0.0025"), ("TNE", "2500"), ("LBR", None)],
)
def test_masses_in_kilograms(unit, kg):
    """A pound has more digits than the contract holds."""
    if kg is None:
        with pytest.raises(Undecodable, match="digits after the point"):
            declared(item(net="2.5", unit=unit))
    else:
        assert declared(item(net="2.5", unit=unit)).goods_items[0].net_mass == Decimal(kg)


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"amount": "a lot"}, "InvoiceLine/ItemChargeAmount"),
        ({"amount": "NaN"}, "InvoiceLine/ItemChargeAmount"),
        ({"amount": "1e999999999"}, "InvoiceLine/ItemChargeAmount"),
        ({"net": "1e-999999999"}, "GoodsMeasure/NetNetWeightMeasure"),
        ({"net": "1e999999999"}, "GoodsMeasure/NetNetWeightMeasure"),
        ({"amount": "1e400"}, "InvoiceLine/ItemChargeAmount"),
        ({"amount": "1_000"}, "InvoiceLine/ItemChargeAmount"),
        ({"amount": "1.005"}, "InvoiceLine/ItemChargeAmount"),
        ({"amount": ""}, "InvoiceLine/ItemChargeAmount"),
        ({"net": "１２"}, "GoodsMeasure/NetNetWeightMeasure"),
        ({"unit": "LTR"}, "GoodsMeasure/NetNetWeightMeasure"),
    ],
)
def test_what_cannot_be_understood_says_where(broken, place):
    """And never repeats the value."""
    with pytest.raises(Undecodable) as refused:
        understand(message(item(), item(2, **broken)))
    assert refused.value.reason is Reason.MESSAGE_INVALID
    path = "/MetaData/Declaration/GoodsShipment/GovernmentAgencyGoodsItem[2]/Commodity/"
    assert refused.value.detail.startswith(f"{path}{place}: ")


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"function": "5"}, "/MetaData/Declaration/FunctionCode: "),
        ({"lrn": ""}, "/MetaData/Declaration: has neither"),
    ],
)
def test_a_message_that_says_too_little(broken, place):
    """Its declaration could be no other's version."""
    with pytest.raises(Undecodable) as refused:
        understand(message(item(), **broken))
    assert refused.value.detail.startswith(place)


@pytest.mark.parametrize(
    "items", [(item(1), item(1)), (item("x"),), (item("-1"),), (item(10**9),), (item(""),)]
)
def test_goods_items_have_numbers_of_their_own(items):
    """From 1 and distinct."""
    with pytest.raises(Undecodable) as refused:
        understand(message(*items))
    assert refused.value.reason is Reason.MESSAGE_INVALID


def test_goods_item_0_is_none():
    """The contract counts from 1."""
    with pytest.raises(Undecodable) as refused:
        declared(item(0))
    assert refused.value.reason is Reason.DECLARATION_INVALID


@pytest.mark.parametrize(
    "value",
    [b"<a/>", b'<Declaration xmlns="urn:other"/>', b'<MetaData xmlns="urn:wco:datamodel:WCO:x"/>'],
)
def test_xml_without_a_declaration(value):
    """Well-formed, and not ours."""
    with pytest.raises(Undecodable) as refused:
        understand(value)
    assert refused.value.reason is Reason.MESSAGE_UNKNOWN


def test_two_declarations_in_a_message():
    """Which one is meant cannot be known."""
    inner = message(item()).split(b"?>", 1)[1]
    with pytest.raises(Undecodable) as refused:
        understand(b"<all>" + inner + inner + b"</all>")
    assert refused.value.reason is Reason.MESSAGE_INVALID


def test_an_envelope_of_another_namespace():
    """As services wrap messages."""
    inner = message(item()).split(b"?>", 1)[1]
    result = understand(b'<v1:request xmlns:v1="urn:v1"><v1:d>' + inner + b"</v1:d></v1:request>")
    assert version_of(result, None) == declared(item())


def test_an_amendment_changes_what_it_carries():
    """All else stands; one version more."""
    original = declared(item(1), item(2), header=HEADER, shipment=SHIPMENT)
    amendment = understand(
        message(
            element(
                "GovernmentAgencyGoodsItem",
                element("SequenceNumeric", "2"),
                element(
                    "Commodity",
                    element("GoodsMeasure", element("NetNetWeightMeasure", "2.1")),
                ),
            ),
            function="13",
            type_="COR",
            mrn="26GB1",
            header=element("Exporter", element("Name", "Trimmer"))
            + pointed(("42A", 1), ("67A", 1), ("68A", 2), ("23A", 1), ("65A", 1, "128")),
        )
    )
    assert amendment.kind is Kind.AMENDMENT
    result = version_of(amendment, original)
    assert (result.version, result.declaration_id, result.data_set) == (2, "LRN1", "H1")
    assert result.exporter == Party(name="Trimmer", country="US")
    assert result.goods_items[0] == original.goods_items[0]
    assert result.goods_items[1].net_mass == Decimal("2.100000")
    assert result.goods_items[1].gross_mass == Decimal("150.000000")


def amended(original, *places, items=()):
    """Return a declaration after an amendment with these pointers."""
    pointers = "".join(pointed(("42A", 1), *place) for place in places)
    return version_of(
        understand(message(*items, function="13", type_="COR", header=pointers)), original
    )


def test_an_amendment_adds_and_removes_goods_items():
    """One that it points at and does not carry is gone."""
    original = declared(item(1), item(2))
    result = amended(original, [("67A", 1), ("68A", 1)], items=(item(3, description="Combs"),))
    assert [(one.sequence_number, one.description) for one in result.goods_items] == [
        (2, "Electric shavers"),
        (3, "Combs"),
    ]


def test_an_amendment_removes_fields():
    """An attribute, or a whole class; another's id means nothing here."""
    original = declared(item(), header=HEADER, shipment=SHIPMENT)
    bare = element("GovernmentAgencyGoodsItem", element("SequenceNumeric", "1"))
    place = [("67A", 1), ("68A", 1)]
    result = amended(
        original,
        [("57A", 1, "R031")],
        [("67A", 1), ("74A", 1)],
        [*place, ("23A", 1), ("79A", 1, "112")],
        [*place, ("23A", 1), ("65A", 1)],
        [*place, ("93A", 1, "137")],
        items=(bare,),
    )
    assert result.exporter == Party(country="US")
    assert result.importer == Party()
    goods = result.goods_items[0]
    assert (goods.item_amount, goods.item_currency, goods.net_mass, goods.gross_mass) == (
        None,
        "",
        None,
        None,
    )
    assert goods.description == "Electric shavers"


def test_an_amendment_that_removes_all_is_refused():
    """A declaration without goods is none."""
    with pytest.raises(Undecodable) as refused:
        amended(declared(item()), [("67A", 1), ("68A", 1)])
    assert refused.value.reason is Reason.DECLARATION_INVALID


def test_a_cancellation():
    """By the type of a change."""
    result = understand(message(function="13", type_="INV", mrn="26GB1"))
    assert (result.kind, result.lrn, result.mrn) == (Kind.CANCELLATION, "LRN1", "26GB1")


@pytest.mark.parametrize(
    ("type_", "procedure", "data_set"),
    [
        ("IMA", "40", "H1"),
        ("IMD", "71", "H2"),
        ("IMZ", "53", "H3"),
        ("IMY", "51", "H4"),
        ("IMC", "40", "I1"),
        ("COA", "40", "H5"),
        ("IMJ", "40", ""),
        ("EXA", "40", ""),
        ("", "40", ""),
    ],
)
def test_data_sets(type_, procedure, data_set):
    """By additional type and requested procedure; never guessed."""
    goods = item().replace(element("CurrentCode", "40"), element("CurrentCode", procedure))
    assert declared(goods, type_=type_).data_set == data_set


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        ("102", "20260413", datetime(2026, 4, 13, tzinfo=UTC)),
        ("203", "202604132211", datetime(2026, 4, 13, 22, 11, tzinfo=UTC)),
        ("304", "20260413221100Z", datetime(2026, 4, 13, 22, 11, tzinfo=UTC)),
        ("304", "20260413221100-05", datetime(2026, 4, 14, 3, 11, tzinfo=UTC)),
        ("304", "20261332", None),
        ("304", "00010101000000+14", None),
        ("999", "20260413", None),
        ("304", "", None),
    ],
)
def test_acceptance_times(format_, text, expected):
    """Of UN/EDIFACT's formats, in UTC; what is no time says so."""
    header = element("AcceptanceDateTime", element("DateTimeString", text, formatCode=format_))
    if expected is None:
        with pytest.raises(Undecodable, match="DateTimeString"):
            declared(item(), header=header)
    else:
        assert declared(item(), header=header).acceptance_time == expected


def test_as_many_goods_items_as_may_be():
    """999 in bounded time, 1,000 are refused."""
    value = message(*(item(number) for number in range(1, 1000)))
    start = time.process_time()
    assert len(version_of(understand(value), None).goods_items) == 999
    assert time.process_time() - start < 5
    with pytest.raises(Undecodable) as refused:
        declared(*(item(number) for number in range(1, 1001)))
    assert refused.value.reason is Reason.DECLARATION_INVALID


def test_the_generator_makes_xml():
    """What the tests rest on is well-formed."""
    assert parse(message(item())).tag.endswith("MetaData")
