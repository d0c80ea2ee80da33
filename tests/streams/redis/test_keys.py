"""Keys in Redis: a running installation finds what it wrote before an upgrade."""

import pytest

from models.risk.attributes import Attributes
from schemas.examples import examples
from streams.redis.keys import SignalKeys, capacity_key, embedding_key, inspection_keys

KEYS = SignalKeys(b"key")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (embedding_key("text-1", "ab"), "embedding:text-1:ab"),
        (capacity_key("risks", "DE001", 498145), "capacity:risks:DE001:498145"),
        (KEYS.record("event-1"), "signals:1:record:event-1"),
        (KEYS.importer("I1"), "signals:1:importer:3256cf44c42d3cc4a225aeb0"),
        (KEYS.seller("S1"), "signals:1:seller:19c633f9e3ff56e7ab482693"),
        (KEYS.pair("I1", "S1"), "signals:1:pair:4d3b3253f28f5a3d22a16206"),
        (KEYS.prices("640411"), "signals:1:price:536266dd7f5502f0a92cb4d5"),
        (KEYS.prices("640411", "CN"), "signals:1:price:1cc555cbe1d86017f2fd52b9"),
        (KEYS.inspected("D1"), "signals:1:declaration:2aed26a66a7f977a27a0783c"),
        (KEYS.learned("D1"), "signals:1:learned:2aed26a66a7f977a27a0783c"),
        (KEYS.decided("D1"), "signals:1:decided:2aed26a66a7f977a27a0783c"),
        (KEYS.photo_bands(0x8F3A_55C0_1234_BEEF)[0], "signals:1:photo:e4c2aceca16c474809070b91"),
        (KEYS.photo_bands(0x8F3A_55C0_1234_BEEF)[3], "signals:1:photo:7cabc351b2106cb6e9017c1a"),
        (inspection_keys("all:x"), ("signals:1:inspected:all:x", "signals:1:irregular:all:x")),
    ],
)  # fmt: skip
def test_no_key_ever_changes(key, expected):
    """Else an upgrade would lose what lies under the old ones."""
    assert key == expected


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
