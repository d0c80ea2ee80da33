"""Goods texts copied from web pages and feeds → the text that a person would see."""

import html
import re
from html.parser import HTMLParser
from typing import Final

ROUNDS: Final = 3
"""Most times that a text is read: markup is often escaped once or twice."""
MAX_TAGS: Final = 256
"""Most of them; the parser's time grows with the square of their number where none ends."""
ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
TAG: Final = re.compile(r"<[a-zA-Z/!?]")
UNSEEN: Final = frozenset({"script", "style", "head", "title", "template", "noscript"})
"""Elements whose content no page shows."""
INLINE: Final = frozenset(
    {
        "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn",
        "em", "font", "i", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike",
        "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    }
)  # fmt: skip
"""Elements that do not part words."""
BLOCK: Final = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "br", "button", "caption", "center",
        "col", "colgroup", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure",
        "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "iframe",
        "img", "input", "label", "legend", "li", "link", "main", "meta", "nav", "object", "ol",
        "optgroup", "option", "p", "picture", "pre", "section", "select", "source", "summary",
        "svg", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "tr", "ul", "video",
    }
)  # fmt: skip
ELEMENTS: Final = INLINE | BLOCK | UNSEEN


def shown(text: str) -> str:
    """Return a text without markup, its entities unescaped; one without either as it is.

    What only looks like markup stays: `<5 kg`, and `<new>`, which no page knows.
    """
    for _ in range(ROUNDS):
        if text.count("<") > MAX_TAGS:
            text = "<".join(text.split("<", MAX_TAGS)[:-1])
        if TAG.search(text):
            before, text = text, _Reader.read(text)
        elif ENTITY.search(text):
            before, text = text, ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        else:
            break
        if text == before:
            break
    return text


class _Reader(HTMLParser):
    """Collects what a page shows."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._closed = frozenset(name.lower() for name in re.findall(r"</([\w:.-]{1,64})", text))
        self._unseen = ""

    @classmethod
    def read(cls, text: str) -> str:
        reader = cls(text)
        reader.feed(text)
        reader.close()
        return "".join(reader._pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN and tag in self._closed:
            self._unseen = self._unseen or tag
        elif tag in ELEMENTS or tag in self._closed or attrs:
            self._part(tag)
        else:
            self.handle_data((self.get_starttag_text() or "").strip("<>"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the parser
        self._part(tag)

    def set_cdata_mode(self, *_: object, **__: object) -> None:
        """Read scripts as all else: versions of the parser differ in where they end."""

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Read `<![…`; what is no section of SGML is a comment, as browsers take it."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:  # versions of the parser differ in what they take for one
            return self.parse_bogus_comment(i, report)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._pieces.append(data)

    def unknown_decl(self, data: str) -> None:
        self.handle_data(data.removeprefix("CDATA["))

    def _part(self, tag: str) -> None:
        if tag not in INLINE:
            self._pieces.append(" ")
