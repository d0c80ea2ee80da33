"""Customs messages made by code: the WCO Data Model's form, nobody's data."""

from xml.sax.saxutils import escape

WCO = "urn:wco:datamodel:WCO:DEC-DMS:2"
METADATA = "urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"


def element(name, *content, **attributes):
    """Return an element of text or of other elements."""
    given = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{''.join(content)}</{name}>"


def item(number=1, *, code="85109000", taric="00", additional=(), amount="1000", extra="", **said):
    """Return a goods item; `said` replaces description, net, gross, unit, currency."""
    said = {"description": "Electric shavers", "net": "100", "gross": "150"} | said
    parts = [(code, "TSP"), (taric, "TRC"), *((one, "TRA") for one in additional)]
    classes = "".join(
        element("Classification", element("ID", id_), element("IdentificationTypeCode", kind))
        for id_, kind in parts
        if id_
    )
    unit = {"unitCode": said["unit"]} if "unit" in said else {}
    commodity = element(
        "Commodity",
        element("Description", escape(said["description"])),
        classes,
        element("DutyTaxFee", element("DutyRegimeCode", "100"), element("TypeCode", "A00")),
        element(
            "GoodsMeasure",
            element("GrossMassMeasure", said["gross"], **unit),
            element("NetNetWeightMeasure", said["net"], **unit),
        ),
        element(
            "InvoiceLine",
            element("ItemChargeAmount", amount, currencyID=said.get("currency", "GBP")),
        ),
    )
    return element(
        "GovernmentAgencyGoodsItem",
        element("SequenceNumeric", str(number)),
        commodity,
        element("GovernmentProcedure", element("CurrentCode", "000")),
        element("GovernmentProcedure", element("CurrentCode", "40"), element("PreviousCode", "00")),
        element("Origin", element("CountryCode", "FR"), element("TypeCode", "2")),
        element("Origin", element("CountryCode", "US"), element("TypeCode", "1")),
        extra,
    )


def pointed(*places):
    """Return an amendment's pointers, each class id, number and perhaps attribute."""
    pointers = (
        element(
            "Pointer",
            element("SequenceNumeric", str(number)),
            element("DocumentSectionCode", class_),
            *(element("TagID", tag) for tag in tags),
        )
        for class_, number, *tags in places
    )
    return element("Amendment", element("ChangeReasonCode", "28"), *pointers)


def message(*items, function="9", type_="IMA", lrn="LRN1", mrn="", header="", shipment=""):
    """Return a message in its envelope, as bytes."""
    declaration = element(
        "Declaration",
        element("FunctionCode", function),
        element("FunctionalReferenceID", lrn) if lrn else "",
        element("ID", mrn) if mrn else "",
        element("TypeCode", type_),
        header,
        element("GoodsShipment", shipment, *items) if items or shipment else "",
        xmlns=WCO,
    )
    text = element(
        "md:MetaData", element("md:WCOTypeName", "DEC"), declaration, **{"xmlns:md": METADATA}
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
