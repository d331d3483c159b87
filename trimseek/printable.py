"""Texts of documents as a terminal may be given them."""

import io
import sys
import unicodedata

# Marks without a width that are part of texts: joiners of Persian, Indic scripts and emoji, marks
# of direction, soft hyphens. What reorders other text (bidirectional overrides, isolates) is not
# here.
MARKS = frozenset("\u00ad\u061c\u200c\u200d\u200e\u200f\u2060")


def printable(text: str, *, lines: bool = False) -> str:
    """A text that cannot command the terminal: control characters and overrides are escaped.

    ``lines``: ends of lines and tabs stay.
    """
    return "".join(
        character
        if character.isprintable()
        or character in MARKS
        or unicodedata.category(character) == "Zs"
        or (lines and character in "\n\t")
        else character.encode("unicode_escape").decode()
        for character in text
    )


def replace_unknown_characters() -> None:
    """Let what an output's encoding lacks be printed as ``?``, not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
