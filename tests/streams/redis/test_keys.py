"""Keys in Redis: a running installation finds what it wrote before an upgrade."""

import pytest

from models.risk.attributes import Attributes
from schemas.examples import examples
from streams.redis.keys import (
    SHARDS,
    SignalKeys,
    capacity_key,
    contents_of,
    embedding_key,
    inspection_keys,
    shard,
    trader_inspections,
)

KEYS = SignalKeys(b"key")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (embedding_key("text-1", "ab"), "embedding:2:text-1:ab"),
        (capacity_key("risks", "DE001", 498145), "capacity:2:risks:DE001:498145"),
        (KEYS.record("event-1"), "signals:2:record:event-1"),
        (KEYS.importer("I1"), "signals:2:importer:3256cf44c42d3cc4a225aeb0"),
        (KEYS.seller("S1"), "signals:2:seller:19c633f9e3ff56e7ab482693"),
        (KEYS.pair("I1", "S1")[2], "signals:2:pair:4d3b3253f28f5a3d22a16206:2"),
        (KEYS.prices("640411")[0], "signals:2:price:536266dd7f5502f0a92cb4d5:0"),
        (KEYS.prices("640411", "CN")[3], "signals:2:price:1cc555cbe1d86017f2fd52b9:3"),
        (KEYS.inspected("D1"), "signals:2:declaration:2aed26a66a7f977a27a0783c"),
        (KEYS.learned("D1"), "signals:2:learned:2aed26a66a7f977a27a0783c"),
        (KEYS.decided("D1"), "signals:2:decided:2aed26a66a7f977a27a0783c"),
        (KEYS.photo_bands(0x8F3A_55C0_1234_BEEF)[0][0], "signals:2:photo:e4c2aceca16c474809070b91:0"),
        (KEYS.photo_bands(0x8F3A_55C0_1234_BEEF)[3][1], "signals:2:photo:7cabc351b2106cb6e9017c1a:1"),
        (trader_inspections("all:x", "ab"), "signals:2:trader:all:x:ab"),
        (inspection_keys("all:x"), ("signals:2:inspected:all:x", "signals:2:irregular:all:x")),
    ],
)  # fmt: skip
def test_no_key_ever_changes(key, expected):
    """Else an upgrade would lose what lies under the old ones."""
    assert key == expected


@pytest.mark.parametrize(
    ("key", "contents"),
    [
        (embedding_key("text-1", "ab"), "embedding"),
        (capacity_key("risks", "DE001", 498145), "capacity risks"),
        (KEYS.importer("I1").encode(), "signals importer"),
        (KEYS.prices("640411")[2], "signals price"),
        ("x", "x"),
    ],
)
def test_a_key_says_what_lies_there_without_any_value(key, contents):
    """For metrics and logs."""
    assert contents_of(key) == contents


def test_a_trader_is_in_one_shard_and_traders_are_in_all():
    """So nobody fills a set alone."""
    shards = KEYS.prices("640411")
    of_traders = [shard(shards, KEYS.digest(f"S{number}")) for number in range(40)]
    assert set(of_traders) == set(shards)
    assert len(shards) == SHARDS
    assert of_traders == [shard(shards, KEYS.digest(f"S{number}")) for number in range(40)]


def test_values_are_not_run_together():
    """Neither an importer's end nor a seller's beginning can be moved from one to the other."""
    assert KEYS.pair("a", "bc") != KEYS.pair("ab", "c")
    assert KEYS.importer("a") != KEYS.seller("a")


def test_histories_have_a_name_and_a_hash():
    """Nobody has none."""
    declaration = dict(examples("declaration"))["declaration/low-value"]
    attributes = Attributes.of(declaration, declaration.goods_items[0])
    ends = KEYS.histories(attributes)
    assert all(end == f"{name}:{end[-24:]}" for name, end in ends.items())
    assert len(set(ends.values())) == len(ends)
