"""What an id may be, at every door: of documents, and of the users and items of an event log."""

import unicodedata

from trimseek.errors import CorpusError

LONGEST_ID = 512  # characters
CONTROLS = ("Cc", "Zl", "Zp")  # of Unicode: control characters, separators of lines and paragraphs


def check_id(id_: str, where: str, name: str = "id") -> None:
    """CorpusError for an id that could not be named in a URL, in a line, or at all.

    ``where``: its place in a file; ``name``: what it is the id of.
    """
    if not id_.strip():
        raise CorpusError(f"{where}: the {name} is empty")
    if len(id_) > LONGEST_ID:
        raise CorpusError(
            f"{where}: the {name} has {len(id_):,} characters; the most is {LONGEST_ID}"
        )
    check_text(id_, name, where)
    if id_.isascii() and id_.isprintable():
        return
    for character in id_:
        if unicodedata.category(character) in CONTROLS:
            raise CorpusError(
                f"{where}: the {name} {id_!a} holds the control character {character!a}; remove it"
            )


def check_text(value: str, name: str, where: str) -> None:
    """CorpusError for NUL and for halves of surrogate pairs."""
    if "\0" in value:
        raise CorpusError(f"{where}: the {name} holds a NUL character (U+0000); remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: the {name} holds a lone surrogate at character {error.start}, "
            "which is not Unicode text"
        ) from None
