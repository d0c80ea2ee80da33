"""The ledger of a declaration: versions, what waits, and the same again for what comes twice."""

import pytest

from schemas.codec import Undecodable
from schemas.reasons import Reason
from streams.intake import ledger as ledgers
from streams.intake.ledger import EXPIRY, MAX_MESSAGES, Ledger, Received, UnknownFormat
from streams.intake.wco import understand
from tests.streams.intake.messages import element, item, message, pointed

ORIGINAL = message(item())
CANCELLATION = message(function="13", type_="INV")


def amendment(description="Combs"):
    """Return a message that changes the description of goods item 1."""
    changed = element(
        "GovernmentAgencyGoodsItem",
        element("SequenceNumeric", "1"),
        element("Commodity", element("Description", description)),
    )
    pointers = pointed(("42A", 1), ("67A", 1), ("68A", 1), ("23A", 1, "137"))
    return message(changed, function="13", type_="COR", header=pointers)


def take(ledger, event, value, *, at=1.0):
    """Return the ledger after a message, as the stage enters it."""
    received = Received(event, "customs-messages", 1, 2, b"LRN1", value, at, (("ce_id", b"x"),))
    return ledger.take(received, understand(value)).release(event, understand)


def versions(ledger, event):
    """Return version, status and goods of what is published with an event."""
    return [
        (
            step.declaration.version,
            step.declaration.status,
            step.declaration.goods_items[0].description,
        )
        if step.declaration
        else step.reason
        for step in ledger.published_with(event)
    ]


def test_versions_in_their_order():
    """An original, its amendments, a cancellation; a second original is one more version."""
    ledger = Ledger()
    for event, value in {"a": ORIGINAL, "b": amendment(), "c": CANCELLATION, "d": ORIGINAL}.items():
        ledger = take(ledger, event, value)
    assert versions(ledger, "a") == [(1, "", "Electric shavers")]
    assert versions(ledger, "b") == [(2, "", "Combs")]
    assert versions(ledger, "c") == [(3, "cancelled", "Combs")]
    assert versions(ledger, "d") == [(4, "", "Electric shavers")]
    assert len({step.declaration.declaration_id for step in ledger.steps}) == 1


def test_what_comes_twice_changes_nothing():
    """And is published as it was the first time."""
    ledger = take(take(take(Ledger(), "b", amendment()), "a", ORIGINAL), "c", amendment("Brushes"))
    for event, value in {"a": ORIGINAL, "b": amendment(), "c": amendment("Brushes")}.items():
        assert take(ledger, event, value) is ledger
    waiting = take(Ledger(), "b", amendment())
    assert take(waiting, "b", amendment()) is waiting


def test_an_amendment_waits_for_its_original():
    """Both are published with it, in the order in which they came."""
    ledger = take(take(Ledger(), "b", amendment()), "c", CANCELLATION)
    assert (ledger.steps, len(ledger.waiting)) == ((), 2)
    ledger = take(ledger, "a", ORIGINAL)
    assert versions(ledger, "a") == [
        (1, "", "Electric shavers"),
        (2, "", "Combs"),
        (3, "cancelled", "Combs"),
    ]
    assert ledger.waiting == ()
    assert versions(ledger, "b") == []


def test_a_waiting_amendment_that_makes_no_version():
    """It ends as a dead letter; those after it apply."""
    emptied = message(
        function="13", type_="COR", header=pointed(("42A", 1), ("67A", 1), ("68A", 1))
    )
    ledger = take(take(Ledger(), "b", emptied), "c", amendment())
    ledger = take(ledger, "a", ORIGINAL)
    assert versions(ledger, "a") == [
        (1, "", "Electric shavers"),
        "declaration_invalid",
        (2, "", "Combs"),
    ]
    assert ledger.steps[1].received.inbound().value == emptied


def test_what_waits_too_long_fails():
    """What came later goes on waiting; an original that comes then makes its version."""
    ledger = take(take(Ledger(), "b", amendment(), at=10.0), "c", CANCELLATION, at=20.0)
    assert ledger.expire(10.0) is ledger
    ledger = ledger.expire(15.0)
    assert versions(ledger, EXPIRY) == ["amendment_unmatched"]
    assert [one.event for one in ledger.waiting] == ["c"]
    assert take(ledger, "b", amendment()) is ledger
    ledger = take(ledger, "a", ORIGINAL)
    assert [step.event for step in ledger.published_with("a")] == ["a", "c"]


def test_a_declaration_has_so_many_messages():
    """Each is read and written with the next."""
    ledger = take(Ledger(), "0", ORIGINAL)
    for number in range(1, MAX_MESSAGES):
        ledger = take(ledger, str(number), amendment())
    with pytest.raises(Undecodable) as refused:
        take(ledger, "one more", amendment())
    assert refused.value.reason is Reason.MESSAGE_INVALID
    assert take(ledger, "5", amendment()) is ledger


def test_it_is_read_as_it_was_written():
    """Steps of every kind, and what waits."""
    ledger = take(Ledger(), "b", amendment(), at=10.0).expire(11.0)
    ledger = take(take(ledger, "a", ORIGINAL), "c", amendment())
    waiting = take(Ledger(), "b", amendment())
    for one in (Ledger(), ledger, waiting):
        assert ledgers.read(ledgers.write(one)) == one


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"format": 2, "steps": [], "waiting": []}',
        b'{"format": 1, "steps": [1], "waiting": []}',
        b'{"format": 1, "steps": [], "waiting": [{"event": "a"}]}',
        b"\xff",
    ],
)
def test_what_is_none_of_ours(value):
    """Never taken for an empty one: versions would begin anew."""
    with pytest.raises(UnknownFormat):
        ledgers.read(value)
