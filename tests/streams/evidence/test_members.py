"""Members of the sets in Redis: written and read as by every version, amendments counted once."""

import pytest

from streams.evidence.members import (
    ConsignmentMember,
    PhotoMember,
    PriceMember,
    latest_of_others,
)

PHOTO = PhotoMember("aa", "1", 2, 0x00FF, "ss", -0.5, "6404", "26BE1")


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (ConsignmentMember("aa", 1, 89.9), "aa|1|89.9"),
        (ConsignmentMember("aa", 3, 0.0), "aa|3|0.0"),
        (PriceMember("aa", "12", 1, 2.302585092994046), "aa|12|1|2.302585092994046"),
        (PHOTO, "aa|1|2|00000000000000ff|ss|-0.5|6404|26BE1"),
        (PHOTO._replace(log_price=None), "aa|1|2|00000000000000ff|ss||6404|26BE1"),
        (PHOTO._replace(log_price=0.0), "aa|1|2|00000000000000ff|ss|0.0|6404|26BE1"),
    ],
)
def test_a_member_is_written_as_ever_and_read_back(member, expected):
    """A running installation keeps what it observed."""
    assert member.encode() == expected
    assert type(member).decode(expected.encode()) == member


def test_a_separator_in_declared_text_does_not_shift_the_fields():
    """Whoever declares cannot write another field."""
    odd = PHOTO._replace(heading="64|4", declaration_id="D|1|2")
    assert PhotoMember.decode(odd.encode().encode()) == PHOTO._replace(
        heading="64_4", declaration_id="D_1_2"
    )


def test_of_each_subject_the_highest_version_is_left():
    """In the order in which the subjects came; a declaration is not compared with itself."""
    members = [
        PriceMember("bb", "1", 1, 1.0),
        PriceMember("own", "1", 9, 9.0),
        PriceMember("bb", "2", 1, 2.0),
        PriceMember("bb", "1", 3, 3.0),
        PriceMember("bb", "1", 2, 4.0),
    ]
    assert latest_of_others(members, declaration="own") == [members[3], members[2]]
