"""A document, and how a row of a corpus becomes one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimseek.errors import CorpusError

LONGEST_DOCUMENT = 64 * 2**20  # characters


@dataclass(frozen=True)
class Document:
    """``where`` is its place in the corpus (file:line), for messages."""

    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to find it by."""
        return not self.text.strip() and not self.title


class Corpus(Protocol):
    """Documents that can be gone through; again and again unless ``streamed``."""

    @property
    def name(self) -> str: ...

    @property
    def streamed(self) -> bool: ...

    def documents(self) -> Iterator[Document]: ...


@dataclass(frozen=True)
class Fields:
    """Which fields of a row are its id, title and text; everything else is metadata.

    None stands for the usual names. A row without an id is called by its number, unless the
    field was named.
    """

    id: str | None = None
    title: str | None = None
    text: str | None = None


USUAL_IDS = ("_id", "id")
USUAL_TITLES = ("title",)
USUAL_TEXTS = ("text", "contents", "content", "body")


def document_from_row(row: object, fields: Fields, number: int, where: str) -> Document:
    """Make a document of a mapping; CorpusError says what the row lacks."""
    if not isinstance(row, Mapping):
        raise CorpusError(f"{where}: expected an object with fields, got {type(row).__name__}")
    id_field = pick(row, fields.id, USUAL_IDS, "--id-field", where, required=False)
    title_field = pick(row, fields.title, USUAL_TITLES, "--title-field", where, required=False)
    text_field = pick(row, fields.text, USUAL_TEXTS, "--text-field", where, required=True)
    used = {id_field, title_field, text_field}
    title = string(row[title_field], title_field, where) if title_field is not None else ""
    document = Document(
        id=str(number) if id_field is None else identifier(row[id_field], id_field, where),
        title=title.strip(),
        text=string(row[text_field], str(text_field), where),
        metadata={str(key): value for key, value in row.items() if key not in used},
        where=where,
    )
    check(document)
    return document


def pick(
    row: Mapping[Any, Any],
    named: str | None,
    usual: Sequence[str],
    flag: str,
    where: str,
    *,
    required: bool,
) -> str | None:
    for name in usual if named is None else (named,):
        if name in row:
            return name
    if named is not None:
        raise CorpusError(f"{where}: no field {named!r}, which {flag} names")
    if required:
        raise CorpusError(f"{where}: no field {usual[0]!r}; name the text's field with {flag}")
    return None


def string(value: object, name: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise CorpusError(f"{where}: field {name!r} must be text, not {type(value).__name__}")


def identifier(value: object, name: str, where: str) -> str:
    text = string(value, name, where)
    if not text.strip():
        raise CorpusError(f"{where}: field {name!r}, the id, is empty")
    return text


def check(document: Document) -> None:
    """Refuse what cannot be stored; CorpusError."""
    if len(document.text) > LONGEST_DOCUMENT:
        raise CorpusError(
            f"{document.where}: {len(document.text):,} characters of text; the most is "
            f"{LONGEST_DOCUMENT:,}: split the document"
        )
    for name, value in (("id", document.id), ("title", document.title), ("text", document.text)):
        check_characters(value, name, document.where)
    check_characters(metadata_json(document), "metadata", document.where)


def check_characters(value: str, name: str, where: str) -> None:
    if "\0" in value:
        raise CorpusError(f"{where}: the {name} holds a NUL character (U+0000); remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: the {name} holds a lone surrogate at character {error.start}, "
            "which is not Unicode text"
        ) from None


def metadata_json(document: Document) -> str:
    """Metadata as it is stored; dates and the like become text. CorpusError if it cannot be."""
    try:
        return json.dumps(
            dict(document.metadata),
            ensure_ascii=False,
            allow_nan=False,
            sort_keys=True,
            default=str,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise CorpusError(f"{document.where}: metadata cannot be stored as JSON: {error}") from None
