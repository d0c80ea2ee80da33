"""What the pages say, in English, French, Dutch and German; numbers and times as they are written.

The texts are gettext catalogues in `locale/`, read as they are: nothing is compiled beforehand.
Goods texts stay as declared. Names of codes come from the Combined Nomenclature where its data
files are installed.
"""

import contextlib
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from gettext import NullTranslations
from pathlib import Path
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import get_decimal_symbol, get_group_symbol
from babel.support import Translations

from models.hs.nomenclature import LANGUAGES, lines, without_exclusions
from schemas.reasons import TEXTS_IN, Reason

LOCALE: Final = Path(__file__).parent / "locale"
LANGUAGE_NAMES: Final = {"en": "English", "fr": "Français", "nl": "Nederlands", "de": "Deutsch"}
WEIGHTED: Final = re.compile(r"\s*(?P<tag>[A-Za-z]{1,8})[^,;]*(?:;\s*q=(?P<q>[0-9.]{1,5}))?\s*")
MAX_ACCEPTED: Final = 10
"""Most languages of an Accept-Language header that are considered."""
MAX_HEADER: Final = 500
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOURS_PER_DAY: Final = 24
MAX_NAME: Final = 90
"""Most characters of a code's name."""


@cache
def catalogue(language: str) -> Catalog:
    """Return the texts of a language, by message id."""
    with (LOCALE / language / "LC_MESSAGES" / "console.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


@cache
def translations(language: str) -> Translations:
    """Return the texts of a language for look-up.

    Its methods raise KeyError for a message id that the catalogue lacks.
    """
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    texts = Translations(compiled)
    texts.add_fallback(_NoText())
    return texts


class _NoText(NullTranslations):
    """Refuses what the catalogue lacks: gettext would show the message id to the reader."""

    def gettext(self, message: str) -> NoReturn:
        raise KeyError(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> NoReturn:
        raise KeyError(msgid1, msgid2, n)


@dataclass(frozen=True, slots=True)
class Language:
    """One language, and how it writes numbers and times."""

    code: str
    zone: ZoneInfo

    def t(self, key: str, **words: object) -> str:
        """Return a text, with `words` in its places.

        Raises:
            KeyError: there is no such text.
        """
        text = translations(self.code).gettext(key)
        return text.format(**words) if words else text

    def counted(self, singular: str, plural: str, n: int) -> str:
        """Return the text for a number of things, with the number in it.

        Args:
            singular: message id of the singular.
            plural: of the plural.
            n: how plural there are.

        Raises:
            KeyError: there is no such text.
        """
        return translations(self.code).ngettext(singular, plural, n).format(n=n)

    def has(self, key: str) -> bool:
        """Tell whether there is such a text."""
        return key in catalogue(self.code)

    def reason(self, code: str) -> str:
        """Return the text of a reason code; an unknown code is its own text."""
        return reason_text(code, self.code)

    def short_reason(self, code: str) -> str:
        """Return a few words for a reason code."""
        key = f"signal_{code}"
        return self.t(key) if self.has(key) else code.replace("_", " ")

    def part(self, name: str) -> str:
        """Return the name of a part of the evidence."""
        key = f"part_{name}"
        return self.t(key) if self.has(key) else name.replace("_", " ").capitalize()

    def duration(self, hours: int) -> str:
        """Return a number of hours in words, as days where it is whole days."""
        days, rest = divmod(hours, HOURS_PER_DAY)
        return self.counted("hour", "hours", hours) if rest else self.counted("day", "days", days)

    def number(self, value: float | Decimal, places: int = 0) -> str:
        """Return a number with its separators."""
        # Python rounds: Babel would round at 28 digits, and refuse amounts that are larger.
        separators = {
            ord(","): get_group_symbol(self.code),
            ord("."): get_decimal_symbol(self.code),
        }
        return f"{value:,.{places}f}".translate(separators)

    def mass(self, value: Decimal) -> str:
        """Return a mass in kilogram, with the digits that were declared, at least two."""
        places = -int(value.normalize().as_tuple().exponent)
        return f"{self.number(value, max(2, places))}\xa0kg"

    def percent(self, share: float) -> str:
        """Return a share; never 0 or 100 % of what is not quite that."""
        value = min(max(share, 0.0), 1.0) * 100
        if 0 < value < 1:
            return f"< {self._percent(1)}"
        return self._percent(min(round(value), 99) if value < 100 else 100)  # noqa: PLR2004

    def _percent(self, value: int) -> str:
        return f"{value}%" if self.code == "en" else f"{value}\xa0%"

    def money(self, value: float | Decimal, currency: str = "EUR", places: int = 2) -> str:
        """Return an amount of money."""
        sign = {"EUR": "€"}.get(currency, currency)
        amount = self.number(value, places)
        if self.code in {"fr", "de"}:
            return f"{amount}\xa0{sign}"
        return f"{sign}{amount}" if self.code == "en" and sign == "€" else f"{sign}\xa0{amount}"

    def moment(self, milliseconds: int) -> str:
        """Return a day and time in the console's time zone."""
        at = EPOCH + timedelta(milliseconds=milliseconds)
        with contextlib.suppress(OverflowError):  # the last day of the year 9999, and the first
            at = at.astimezone(self.zone)
        return at.strftime("%d.%m.%Y %H:%M" if self.code == "de" else "%d/%m/%Y %H:%M")

    def code_name(self, code: str) -> str:
        """Return the name of a code's goods; empty where the nomenclature lacks it."""
        return code_names(self.code).get(code[:6], "")


def reason_text(code: str, language: str) -> str:
    """Return the text of a reason code; an unknown code, of a newer worker, is its own text."""
    try:
        return TEXTS_IN[language][Reason(code)]
    except ValueError:
        return code.replace("_", " ")


@cache
def code_names(language: str) -> dict[str, str]:
    """Return HS6 code → its first line in the Combined Nomenclature, shortened."""
    try:
        nomenclature = lines()
    except FileNotFoundError:
        return {}
    column = LANGUAGES.index(language)
    names: dict[str, str] = {}
    for line in nomenclature:
        if line.hs6 not in names:
            name = without_exclusions(line.texts[column])
            names[line.hs6] = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1].rstrip()}…"
    return names


def preferred_language(accepted: str) -> str:
    """Return the best of our languages for an Accept-Language header."""
    best, highest = LANGUAGES[0], 0.0
    for part in accepted[:MAX_HEADER].split(",")[:MAX_ACCEPTED]:
        match = WEIGHTED.fullmatch(part)
        if match is None:
            continue
        try:
            quality = float(match["q"] or 1)
        except ValueError:
            continue
        if match["tag"].lower() in LANGUAGES and quality > highest:
            best, highest = match["tag"].lower(), quality
    return best
