"""Words in every field that people write: where each may be found, and whether it is."""

import base64
import hashlib
from dataclasses import fields, is_dataclass, replace

from schemas.generate import is_record

NOWHERE = frozenset()
ASSESSED = frozenset({"assessments", "alerts", "console"})
ALERTED = frozenset({"alerts", "console"})
"""Who decides on an alert must see what is alerted, so the console's database holds it too."""
IDENTIFIED = frozenset({"assessments", "alerts", "explanations", "outcomes", "console", "redis"})
"""The identification by which customs knows a declaration. In Redis a later declaration with the same
photo finds which one it was of; keys hold its keyed hash."""

FIELDS = {
    "declaration_id": IDENTIFIED,
    "data_set": NOWHERE,
    "declaration_office": ASSESSED,
    **{
        f"{party}.{field}": NOWHERE
        for party in ("declarant", "importer", "exporter", "seller")
        for field in ("identification", "name", "country")
    },
    "country_of_dispatch": ALERTED,
    "mode_of_transport": ALERTED,
    "procedure": NOWHERE,
    "goods_items.commodity_code": NOWHERE,  # what is no code; one that is none of a person
    "goods_items.description": ALERTED | {"explanations"},  # its words
    "goods_items.country_of_origin": ALERTED,
    "goods_items.item_currency": ALERTED,
    "goods_items.images.uri": ALERTED,
    "goods_items.images.sha256": NOWHERE,
    "goods_items.images.media_type": NOWHERE,
    "goods_items.product_title": NOWHERE,
    "goods_items.product_url": NOWHERE,
}
"""Each string field of a declaration → where it is found, besides the topic of declarations and the
values of dead letters, which are events as they were received. Never in logs, metrics, the object
storage, or in headers of what we make."""
OTHERS = {
    "header ce_id": frozenset({"assessments", "console", "dead-letter headers"}),
    "header of the sender": frozenset({"dead-letter headers"}),
    "header traceparent": NOWHERE,
    "no declaration": NOWHERE,
    "inspector": frozenset({"console"}),
    "note": frozenset({"console"}),
    "note on the decision": frozenset({"console", "outcomes"}),
    "outcome that fails": frozenset({"outcomes", "console"}),
}
"""What else people write. Headers of a dead letter repeat those of its event; an inspector's name is
in the console alone, and a pseudonym in the outcome."""


def string_fields(schema):
    """Yield the path of each string field of a schema."""
    known = {}

    def walk(node, path):
        if isinstance(node, list):
            for branch in node:
                yield from walk(branch, path)
        elif node == "string":
            yield ".".join(path)
        elif isinstance(node, str):
            if node in known:
                yield from walk(known[node], path)
        elif node["type"] == "array":
            yield from walk(node["items"], path)
        elif is_record(node):
            known[f"redlane.{node['name']}"] = node
            for field in node["fields"]:
                yield from walk(field["type"], (*path, field["name"]))

    return walk(schema, ())


class Canaries:
    """A word for each field and source, that occurs nowhere else."""

    def __init__(self, dice):
        self.words = {
            name: f"kq{number:02d}{''.join(dice.choices('bcdfghjklmnpqrstvwxz', k=8))}"
            for number, name in enumerate([*FIELDS, *OTHERS])
        }

    def __getitem__(self, name):
        return self.words[name]

    def filled(self, record, path=()):
        """Return a record with the canary of each string field in it."""
        values = {field.name: getattr(record, field.name) for field in fields(record)}
        for name, value in values.items():
            place = (*path, name)
            if isinstance(value, str):
                values[name] = self[".".join(place)]
            elif is_dataclass(value):
                values[name] = self.filled(value, place)
            elif isinstance(value, tuple):
                values[name] = tuple(self.filled(each, place) for each in value)
        return replace(record, **values)

    def found(self, data):
        """Return the fields whose canary is in some bytes: as it is, in other codes, or as its hash."""
        data = data.lower()
        return {
            name
            for name, word in self.words.items()
            if any(form in data for form in self._forms(word))
        }

    @staticmethod
    def _forms(word):
        plain = word.encode()
        yield plain
        yield plain.hex().encode()
        for written in (word, word.upper()):
            yield base64.b64encode(written.encode()).rstrip(b"=")[:-1].lower()
            yield hashlib.sha256(written.encode()).hexdigest().encode()
            yield hashlib.md5(written.encode(), usedforsecurity=False).hexdigest().encode()
