"""Texts from outside → what a terminal may show."""


def printable(text: str) -> str:
    """Return a line without control characters: keys, headers and texts may hold any."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
