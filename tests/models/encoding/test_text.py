"""What of a declared text is read: what a person would see of it."""

import time

import pytest

from models.encoding.text import MAX_CHARACTERS, MAX_DECLARED, normalise

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u115f\u180e\u2800\u3164\ufe0f\U000e0101"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<p><b>Cotton</b> t-shirt, knitted &amp; dyed</p>", "cotton t-shirt, knitted & dyed"),
        ("&lt;p&gt;&lt;b&gt;Cotton&lt;/b&gt; shirt&lt;/p&gt;", "cotton shirt"),
        ("<p>Cotton</p><p>shirt</p>", "cotton shirt"),
        ("T-shirt<br>blue<br/>M", "t-shirt blue m"),
        ("co<b>tt</b>on", "cotton"),
        ("<a href='https://x.example/a b' title=\"y\">Bag</a>", "bag"),
        ("<script>alert('<b>x</b>')</script>Shoes<!-- hidden -->", "shoes"),
        ("<style>p {color: red}</style>Shoes", "shoes"),
        ("<script>Shoes", "shoes"),
        ("<![CDATA[Cotton shirt]]>", "cotton shirt"),
        ("<?xml version='1.0'?><desc>Lamp</desc>", "lamp"),
        ("<!DOCTYPE html><html><head><title>x</title></head><body>Sofa</body></html>", "sofa"),
        ("&Eacute;charpe &#233;t&#xe9;", "écharpe été"),
        ("&amp;amp;amp;", "&"),
        ("<br>&nbsp;&#8203;", ""),
        ("<![CDAT[Lamp]]> of steel", "of steel"),
        ("<![ Lamp", "<![ lamp"),
        ("Lamp <![\x10> of steel", "lamp of steel"),
        ("Lamp <![if gte mso 9]> of steel", "lamp if gte mso 9 of steel"),
    ],
)
def test_markup_is_not_read(text, read):
    """Of HTML and XML, escaped or not."""
    assert normalise(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "weight <5kg and > 3",
        "size < 40 & > 20",
        "at&t phone",
        "r&d kit",
        "a < b",
        "cotton <b",
        "<3",
    ],
)
def test_what_only_looks_like_markup_is_read(text):
    """Signs and names of people who know no HTML."""
    assert normalise(text) == text


def test_an_element_that_no_page_knows_is_a_word():
    """Unless it is closed, or has attributes."""
    assert normalise("bolt <new> M8") == "bolt new m8"
    assert normalise("<item name='x'>Lamp") == "lamp"


@pytest.mark.parametrize("character", INVISIBLE)
def test_what_has_no_width_is_not_read(character):
    """It neither makes a text, nor parts a word, nor hides markup."""
    assert normalise(2 * character) == ""
    assert normalise(f"cot{character}ton") == "cotton"
    assert normalise(f"<{character}b>Lamp</b>") == "lamp"


def test_control_characters_part_words():
    """As blanks do."""
    assert normalise("a\x00b\tc\r\nd") == "a b c d"


@pytest.mark.parametrize(
    "piece",
    ["<", "<a", "<a ", "<a b='", "</", "<!--", "<![CDATA[", "<?", "&", "&#", "&lt;", "<script>", "<p a=b>"],
)  # fmt: skip
def test_hostile_markup_takes_no_time(piece):
    """The parser's time would grow with the square of what never ends."""
    hostile = (piece * MAX_DECLARED)[: 2 * MAX_DECLARED]
    started = time.perf_counter()
    assert len(normalise(hostile)) <= MAX_CHARACTERS
    assert time.perf_counter() - started < 0.5
