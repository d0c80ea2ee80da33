"""A chain shows what was altered, removed, swapped or cut off, and names the first such entry."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas import codec
from schemas.records import DecisionLogEntry
from streams.audit.anchors import Anchor, BadAnchors, by_chain, read_anchors
from streams.audit.chain import Check, Head, Placed, hash_of, netstrings

CHAIN = "assessments/3"
LENGTH = 8


def event(number):
    """What the log says of an event; every third offset is a marker of a transaction."""
    return DecisionLogEntry(
        chain=CHAIN,
        source_offset=number + number // 3,
        source_time=datetime(2026, 11, 2, 9, 30, number, 1000, UTC),
        kind="assessment",
        event_id=f"event-{number}",
        subject=f"D{number}",
        decision="green by risk",
        value_sha256=f"{number:064}",
        headers_sha256="0" * 64,
    )


def chained(events):
    """The entries of events."""
    entries, head = [], Head()
    for each in events:
        entries.append(head.next(each))
        head = Head.of(entries[-1])
    return entries


@pytest.fixture
def entries():
    return chained(event(number) for number in range(LENGTH))


def checked(entries, anchored=None):
    check = Check(CHAIN, anchored or {})
    return check, list(check.entries(Placed(offset, each) for offset, each in enumerate(entries)))


def found(entries, anchored=None):
    problem = checked(entries, anchored)[0].problem
    return problem and (problem.kind, problem.sequence)


def test_an_untouched_chain_has_no_problem(entries):
    """Also after a trip over the wire, and where the next writer goes on from the last entry."""
    writers = {7: codec.schema("decision-log-entry")}
    read = [codec.decode(codec.encode(entry, 7), DecisionLogEntry, writers) for entry in entries]
    check, linked = checked(read)
    assert (check.problem, check.begins, check.head) == (None, 1, Head.of(entries[-1]))
    assert linked == entries
    following = Head.of(read[-1]).next(event(LENGTH))
    assert found([*read, following]) is None


@pytest.mark.parametrize("number", range(LENGTH))
@pytest.mark.parametrize(
    "change",
    [{"decision": "red by risk"}, {"value_sha256": "f" * 64}, {"subject": "D99"}, {"event_id": ""}, {"source_offset": 99}, {"headers_sha256": ""}, {"kind": "risk-profile"}, {"source_time": datetime(2026, 1, 1, tzinfo=UTC)}, {"format": 2}, {"hash": "0" * 64}, {"sequence": 99}, {"previous_hash": "f" * 64}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_altered_entry_is_named(entries, number, change):
    """Whatever field it is."""
    entries[number] = replace(entries[number], **change)
    assert found(entries) == ("altered", number + 1)


@pytest.mark.parametrize("number", range(LENGTH - 1))
def test_an_altered_entry_with_a_new_hash_is_named(entries, number):
    """What follows was linked to another one."""
    changed = replace(entries[number], decision="red by risk")
    entries[number] = replace(changed, hash=hash_of(changed))
    assert found(entries) == ("altered", number + 1)


def test_a_chain_that_was_written_anew_is_found_by_an_anchor(entries):
    """Its entries fit together: only what was kept elsewhere tells."""
    anchored = {6: entries[5].hash}
    forged = chained(replace(event(n), decision="red by risk" if n == 2 else "green by risk") for n in range(LENGTH))  # fmt: skip
    assert found(forged) is None
    assert found(forged, anchored) == ("altered", 6)
    assert checked(entries, anchored)[0].confirmed == 1


@pytest.mark.parametrize("number", range(1, LENGTH - 1))
def test_a_missing_entry_is_named(entries, number):
    """One that is nowhere else either."""
    del entries[number]
    assert found(entries) == ("missing", number + 1)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 5), (6, 7)])
def test_swapped_entries_are_named(entries, one, other):
    """The first that is not where it should be."""
    entries[one], entries[other] = entries[other], entries[one]
    assert found(entries) == ("reordered", one + 1)


def test_events_in_another_order_are_found():
    """Even if whoever swapped them linked the entries anew."""
    events = [event(number) for number in range(LENGTH)]
    events[2], events[3] = events[3], events[2]
    assert found(chained(events)) == ("reordered", 4)


def test_a_repeated_entry_breaks_nothing(entries):
    """An entry depends on no writer: the same twice is one."""
    check, linked = checked([*entries[:5], *entries[3:5], *entries[5:]])
    assert (check.problem, check.repeated, check.head.length) == (None, 2, LENGTH)
    assert linked == entries


def test_a_second_entry_under_a_number_is_no_repetition(entries):
    """Two writers that saw different events, or a forgery."""
    other = Head.of(entries[3]).next(replace(event(4), decision="red by risk"))
    assert found([*entries[:6], other, *entries[6:]]) == ("altered", 5)


@pytest.mark.parametrize("left", [0, 1, LENGTH - 1])
def test_an_end_that_was_cut_off_is_found_by_an_anchor(entries, left):
    """The chain alone does not tell where it should end."""
    anchored = {LENGTH: entries[-1].hash}
    assert found(entries[:left]) is None
    assert found(entries[:left], anchored) == ("truncated", left + 1)


def test_a_beginning_that_is_no_longer_kept_is_told(entries):
    """Retention removes it after years."""
    check, _ = checked(entries[3:])
    assert (check.problem, check.begins) == (None, 4)


def test_what_is_no_entry_is_named(entries):
    """Somebody else wrote into the log."""
    assert found([*entries[:2], None, *entries[2:]]) == ("altered", 3)
    other = replace(entries[2], chain="assessments/4")
    assert found([*entries[:2], replace(other, hash=hash_of(other))]) == ("altered", 3)


def test_no_two_entries_have_one_hash_by_shifting_text():
    """Lengths stand before the texts."""
    assert netstrings(["ab", "c"]) != netstrings(["a", "bc"])
    assert netstrings(["é", b"\0,"]) == b"2:\xc3\xa9,2:\0,,"


def test_the_hash_of_an_entry_never_changes():
    """Logs of years depend on it."""
    assert (
        chained([event(0)])[0].hash
        == "a38dadb2914b407bdbd846b9ade9d7e52823d3a3b39aab602429656193e6aab3"
    )


def test_anchors_survive_their_line():
    """As `redlane audit anchor` prints them."""
    anchor = Anchor.of(CHAIN, Head(3, "f" * 64, 7), datetime(2026, 11, 2, tzinfo=UTC))
    assert read_anchors(f"{anchor.line()}\n\n{anchor.line()}\n") == [anchor] * 2
    assert by_chain([anchor]) == {CHAIN: {3: "f" * 64}}
    with pytest.raises(BadAnchors, match="Line 1"):
        read_anchors('{"chain": 1}')
    with pytest.raises(BadAnchors, match=f"entry 3 of {CHAIN}"):
        by_chain([anchor, replace(anchor, hash="0" * 64)])
