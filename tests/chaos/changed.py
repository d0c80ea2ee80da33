"""Consignments that are changed before they are sent."""

import io
import json
from dataclasses import replace

import fastavro

from schemas import codec
from tests.chaos.other_versions import FIELD, newer_schema


def described(consignment, text):
    """Return a consignment with another goods text."""
    first, *others = consignment.declaration.goods_items
    items = (replace(first, description=text), *others)
    declaration = replace(consignment.declaration, goods_items=items)
    return replace(
        consignment, declaration=declaration, value=lambda id_: codec.encode(declaration, id_)
    )


def under_newer_schema(consignment, schema_id):
    """Return a consignment as a sender writes it who knows the newer schema."""
    value = io.BytesIO()
    value.write(codec.PREFIX.pack(0, schema_id))
    schema = fastavro.parse_schema(json.loads(newer_schema("declaration")))
    datum = consignment.declaration.to_avro() | {FIELD["name"]: "x"}
    fastavro.schemaless_writer(value, schema, datum)
    return replace(consignment, value=lambda _: value.getvalue())
