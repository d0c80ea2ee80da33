"""Members of the sets in Redis: written and read as by every version, amendments counted once."""

import pytest

from streams.evidence.members import (
    ConsignmentMember,
    PhotoMember,
    PriceMember,
    decoded,
    latest_of_others,
)

A, B, S, I = (letter * 24 for letter in "abde")  # noqa: E741 - an importer
CONSIGNMENT = ConsignmentMember(A, 1, 89.9)
PRICE = PriceMember(A, 1, S, I, 2.302585092994046)
PHOTO = PhotoMember(A, 2, 0x00FF, S, I, -0.5, "6404", "26BE1")


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (CONSIGNMENT, f"{A}|1|89.9"),
        (CONSIGNMENT._replace(version=3, value=0.0), f"{A}|3|0.0"),
        (PRICE, f"{A}|1|{S}|{I}|2.302585092994046"),
        (PHOTO, f"{A}|2|00000000000000ff|{S}|{I}|-0.5|6404|26BE1"),
        (PHOTO._replace(log_price=None), f"{A}|2|00000000000000ff|{S}|{I}||6404|26BE1"),
        (PHOTO._replace(log_price=0.0), f"{A}|2|00000000000000ff|{S}|{I}|0.0|6404|26BE1"),
    ],
)
def test_a_member_is_written_as_ever_and_read_back(member, expected):
    """A running installation keeps what it observed."""
    assert member.encode() == expected
    assert decoded(type(member), expected.encode()) == member


def test_a_separator_in_declared_text_does_not_shift_the_fields():
    """Whoever declares cannot write another field."""
    odd = PHOTO._replace(heading="64|4", declaration_id="D|1|2")
    assert PhotoMember.decode(odd.encode().encode()) == PHOTO._replace(
        heading="64_4", declaration_id="D_1_2"
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"a|b|c|d|e|f|g|h|i",
        f"{A}|1".encode(),
        f"{A}|1|89.90".encode(),
        f"{A}|01|89.9".encode(),
        f"{A}|1|nan".encode(),
        f"{A}|1|inf".encode(),
        f"{A[1:]}|1|89.9".encode(),
        f"{A}|1|{S}|{I}|nan".encode(),
        f"{A}|1|{S}|x|2.0".encode(),
        f"{A}|2|ff|{S}|{I}|-0.5|6404|26BE1".encode(),
        f"{A}|2|{'f' * 17}|{S}|{I}|-0.5|6404|26BE1".encode(),
        f"{A}|1|2|{S}|{I}|-0.5|6404|26BE1".encode(),
    ],
)
def test_what_is_not_as_it_is_written_is_no_member(text):
    """Whoever wrote it: another version, a person, or a fault."""
    for kind in (ConsignmentMember, PriceMember, PhotoMember):
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever could not be read
            decoded(kind, text)


def test_of_each_declaration_the_highest_version_is_left():
    """In the order in which they came; a declaration is not compared with itself."""
    members = [
        PHOTO._replace(declaration=B, version=1),
        PHOTO._replace(version=9),
        PHOTO._replace(declaration=B, version=3, heading="6109"),
        PHOTO._replace(declaration=B, version=3),
        PHOTO._replace(declaration=B, version=2),
    ]
    assert latest_of_others(members, declaration=A) == members[2:4]
