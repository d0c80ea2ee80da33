"""Consignments: seeded, in their shares, and nothing of the truth in the events."""

import csv
from collections import Counter
from dataclasses import replace

import pytest

from models.datasets.goods import BadCatalogue, read
from models.encoding.image import decode
from models.encoding.photo_file import BadPhoto
from models.hs.nomenclature import lines
from schemas import rules
from schemas.codec import Undecodable, schema
from schemas.codec import decode as decode_value
from schemas.records import Declaration
from streams.synthetic.irregularities import DEFAULT_SHARES, UNSEEN_SHARES, Irregularities, bomb
from streams.synthetic.sample_catalogue import TABLE, unseen

SCHEMA_ID = 7


@pytest.fixture(scope="module")
def goods(goods_folder):
    return read(goods_folder)


def make(goods, seed=7, count=100, **shares):
    source = Irregularities(goods, bucket="b", run="R", seed=seed, shares=shares or DEFAULT_SHARES)
    return list(source.consignments(count))


def test_equal_seeds_give_equal_events(goods):
    """The demo can be repeated to the byte; another seed is another stream."""
    first, same, other = (make(goods, seed) for seed in (7, 7, 8))
    values = [[c.value(SCHEMA_ID) for c in consignments] for consignments in (first, same, other)]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_the_kinds_come_in_their_shares(goods):
    """A hundred declarations: as many of each kind as its share says."""
    counts = Counter(c.truth.kind for c in make(goods))
    assert counts == {kind: round(share * 100) for kind, share in DEFAULT_SHARES.items()}


def test_every_declaration_but_the_malformed_keeps_the_contract(goods):
    """Irregular is not invalid: only malformed events are refused."""
    refused = set()
    for consignment in make(goods, count=200):
        key = consignment.declaration.declaration_id.encode()
        try:
            decoded = decode_value(
                consignment.value(SCHEMA_ID), Declaration, {SCHEMA_ID: schema("declaration")}
            )
            rules.check(decoded, key)
        except Undecodable:
            refused.add(consignment.truth.kind)
            continue
        assert consignment.truth.kind != "malformed"
        assert decoded == consignment.declaration
    assert refused == {"malformed"}


def test_a_wrong_code_lowers_the_duty_and_changes_nothing_else(goods):
    """Only the truth contains the goods' own code."""
    false_codes = {each.lower_duty_hs6 for each in goods if each.lower_duty_hs6}
    for consignment in make(goods, wrong_code=1.0, count=30):
        item = consignment.declaration.goods_items[consignment.truth.item - 1]
        assert item.commodity_code in false_codes
        assert consignment.truth.detail.endswith(f"declared as {item.commodity_code}")
        assert consignment.photos.keys() >= {image.sha256 for image in item.images}


def test_the_truth_is_in_no_field(goods):
    """No event names its kind."""
    for consignment in make(goods, count=100):
        text = repr(consignment.declaration)
        assert not any(kind in text for kind in DEFAULT_SHARES if kind != "clean")


def test_unknown_kinds_are_refused(goods):
    """The message lists those that exist."""
    with pytest.raises(ValueError, match=r"Unknown kinds smuggling; there are clean, wrong_code"):
        make(goods, smuggling=1.0)


def test_the_bomb_is_small_and_is_refused():
    """A few bytes that claim 900 million pixels."""
    assert len(bomb()) < 2000
    with pytest.raises(BadPhoto):
        decode(bomb())


def test_the_products_codes_exist_and_their_false_ones_cost_less():
    """Each code of our table is in the nomenclature; each false code's duty is lower."""
    codes = {line.hs6 for line in lines()}
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 54
    for row in rows:
        assert row["hs6"] in codes, row
        if row["lower_duty_hs6"]:
            assert row["lower_duty_hs6"] in codes, row
            assert row["lower_duty_hs6"][:4] != row["hs6"][:4], row
            assert float(row["lower_duty_percent"]) < float(row["duty_percent"]), row


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "does not exist"),
        ("item_id,image\n", "lacks the columns description, hs6"),
        ("item_id,image,description,hs6\n", "has no goods"),
        ("item_id,image,description,hs6\n1,a.jpg,shoes,64041\n", "line 2: hs6 '64041' is not six digits"),
        ("item_id,image,description,hs6\n1,a.jpg,shoes,640411\n", "line 2: there is no photo"),
    ],
)  # fmt: skip
def test_a_bad_catalogue_says_what_to_mend(tmp_path, table, message):
    """File, line and fault."""
    if table is not None:
        (tmp_path / "goods.csv").write_text(table)
    with pytest.raises(BadCatalogue, match=message):
        read(tmp_path)


def test_a_catalogue_without_duties_still_has_wrong_codes(goods):
    """Any folder will do: the false code is then another heading of the catalogue."""
    plain = [replace(each, lower_duty_hs6="") for each in goods]
    for consignment in make(plain, wrong_code=1.0, count=10):
        true, _, false = consignment.truth.detail.partition(" declared as ")
        assert true[:4] != false[:4]


def test_goods_without_photos_have_none():
    """Each of its own code of the nomenclature; the events keep the contract."""
    goods = unseen()
    codes = {line.hs6 for line in lines()}
    assert {item.hs6 for item in goods} <= codes
    assert len({item.description for item in goods}) == len(goods) > 60
    for consignment in make(goods, **UNSEEN_SHARES):
        assert not consignment.photos
        for item in consignment.declaration.goods_items:
            assert not item.images
            assert item.description
        rules.check(consignment.declaration, consignment.declaration.declaration_id.encode())
