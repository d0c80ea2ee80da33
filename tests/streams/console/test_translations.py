"""The texts of the pages: complete and unchanged in four languages, with numbers as they write them."""

import hashlib
import re
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from models.hs.nomenclature import LANGUAGES
from models.risk.kinds import EXTERNAL
from streams.console.web import translations
from streams.console.web.translations import Language, catalogue, preferred_language
from streams.console.web.view import REST, SIGNALS

UTC_ZONE = ZoneInfo("UTC")
TEMPLATES = Path(translations.__file__).parent / "templates"
DIGESTS = {
    "en": "544d0718c28c370b47ace99597471ea8141d356185305885e5eeec1ed26442fe",
    "fr": "a4d6e512a50785899bf75b02b33a979ddc1ca60c9cbf9e1936eb42f3bbdd351e",
    "nl": "bc0f1d760239749550f0be1e0dfef66076e4d94ebf31c1ec2640ffcf4c7ab1a6",
    "de": "47d40a724da95b167b5f84a9118d6028f84ad3485343c51b494a14bc0e59d870",
}


def forms(message):
    """All texts of a message: one, or a singular and a plural."""
    return message.string if isinstance(message.string, tuple) else (message.string,)


def ids(language):
    """The message ids of a language; of a plural message, the singular's."""
    messages = (message for message in catalogue(language) if message.id)
    return {message.id[0] if message.pluralizable else message.id for message in messages}


def fields(text):
    """The words that are put into a text."""
    return tuple(sorted(re.findall(r"{\w+}", text)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_those_that_were_worded(language):
    """A text changes on purpose only; then its language has another digest."""
    texts = {m.id: m.string for m in catalogue(language) if m.id and not m.pluralizable}
    lang = Language(language, UTC_ZONE)
    texts["more_items"] = catalogue(language).get("more_item").string[1]
    texts |= {f"snooze_{hours}": lang.duration(hours) for hours in (1, 4, 24, 72)}
    lines = "\n".join(f"{key}={texts[key]}" for key in sorted(texts))
    assert hashlib.sha256(lines.encode()).hexdigest() == DIGESTS[language]


def test_texts_are_complete():
    """Four languages each, with the same words to put in; nothing is empty or a mere guess."""
    english = {message.id: message for message in catalogue("en") if message.id}
    for language in LANGUAGES:
        messages = {message.id: message for message in catalogue(language) if message.id}
        assert messages.keys() == english.keys(), language
        for id_, message in messages.items():
            assert len(forms(message)) == (2 if message.pluralizable else 1), (language, id_)
            assert all(forms(message)), (language, id_)
            assert not message.fuzzy, (language, id_)
            expected = {fields(text) for text in forms(english[id_])}
            assert {fields(text) for text in forms(message)} == expected, (language, id_)


def test_what_templates_ask_for_is_there():
    """By name, or by a name that ends as data say."""
    text = "\n".join(path.read_text() for path in TEMPLATES.glob("*.html"))
    names = set(re.findall(r"""l\.t\(["'](\w+)["'][,)]""", text))
    prefixes = set(re.findall(r"""l\.t\(["'](\w+_)["'] \+""", text))
    assert len(names) > 80
    assert names <= ids("en")
    for prefix in prefixes:
        assert any(id_.startswith(prefix) for id_ in ids("en")), prefix
    assert {f"signal_{code}" for code in SIGNALS} <= ids("en")


def test_a_text_that_is_missing_is_an_error():
    """A reader would see its name otherwise."""
    lang = Language("en", UTC_ZONE)
    assert not lang.has("no_such_text")
    assert not lang.has("")
    for ask in (
        lambda: lang.t("no_such_text"),
        lambda: lang.counted("no_such_text", "no_such_texts", 2),
    ):
        with pytest.raises(KeyError):
            ask()


@pytest.mark.parametrize(
    ("language", "single", "none"),
    [("en", "and 1 more item", "and 0 more items"), ("fr", "et 1 autre article", "et 0 autre article"), ("nl", "en 1 ander artikel", "en 0 andere artikelen"), ("de", "und 1 weitere Position", "und 0 weitere Positionen")],
)  # fmt: skip
def test_one_more_item_is_singular(language, single, none):
    """As each language counts: French takes none for a singular too."""
    lang = Language(language, UTC_ZONE)
    assert lang.counted("more_item", "more_items", 1) == single
    assert lang.counted("more_item", "more_items", 0) == none


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "-1,234,567.50"), ("fr", "-1\u202f234\u202f567,50"), ("nl", "-1.234.567,50"), ("de", "-1.234.567,50")],
)  # fmt: skip
def test_numbers_are_written_as_the_language_does(language, expected):
    """However large they are."""
    lang = Language(language, UTC_ZONE)
    assert lang.number(-1234567.5, 2) == expected
    assert len(lang.number(1e300)) > 300


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("", "en"), ("nl-BE,nl;q=0.9,en;q=0.8", "nl"), ("es, fr;q=0.4, de;q=0.7", "de"), ("x" * 9999, "en"), ("fr;q=x", "en")],
)  # fmt: skip
def test_the_browsers_language_is_taken(accepted, expected):
    """The best that we have."""
    assert preferred_language(accepted) == expected


@pytest.mark.parametrize(
    ("mass", "expected"),
    [("0.004", "0.004\xa0kg"), ("85", "85.00\xa0kg"), ("1E+3", "1,000.00\xa0kg"), ("0", "0.00\xa0kg")],
)  # fmt: skip
def test_a_mass_has_the_digits_that_were_declared(mass, expected):
    """Four grams are not nothing."""
    assert Language("en", UTC_ZONE).mass(Decimal(mass)) == expected


def test_every_part_of_a_risk_has_a_name():
    """Nothing of the model's own words reaches a page."""
    parts = (*(kind.evidence for kind in EXTERNAL), "text", "image", "tabular", REST)
    assert {f"part_{name}" for name in parts} <= ids("en")
