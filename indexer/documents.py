"""A document, and how a row of a corpus becomes one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol

import numpy as np

from trimseek.errors import CorpusError
from trimseek.ids import check_id, check_text
from trimseek.indexer.metadata import json_form, metadata_json
from trimseek.indexer.notices import Notices

LONGEST_DOCUMENT = 64 * 2**20  # characters


@dataclass(frozen=True)
class Document:
    """``where`` is its place in the corpus (file:line), for messages.

    ``vector``: its own, in the place of the encoder's; it is then one passage.
    """

    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    vector: tuple[float, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to find it by."""
        return self.vector is None and not self.text.strip() and not self.title


def given_vector(value: object) -> tuple[float, ...] | None:
    """The vector that a field's value is: a list of numbers; None for anything else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        return None
    if not all(isinstance(x, Real) and not isinstance(x, bool | np.bool_) for x in value):
        return None
    return tuple(float(x) for x in value)


class Corpus(Protocol):
    """Documents that can be gone through; again and again unless ``streamed``."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def streamed(self) -> bool:
        """Whether it can be gone through only once."""
        ...

    @property
    def notices(self) -> Notices:
        """Of the latest reading."""
        ...

    def documents(self) -> Iterator[Document]:
        """Every document; CorpusError for one that cannot be read."""
        ...


@dataclass(frozen=True)
class Fields:
    """Which fields of a row are its id, title and text; everything else is metadata.

    None stands for the usual names, in capitals or not. A row without an id is called by its
    number, unless the field was named.
    """

    id: str | None = None
    title: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class ReadOptions:
    """How a corpus is read.

    ``text_columns``: all columns of CSV and TSV stay text; otherwise those whose values are all
    numbers, true or false, or times become such. ``skip_bad``: what cannot be read (a line, a row,
    a file of a folder) is left out and counted. ``split``: of a data set of the hub.
    """

    fields: Fields = field(default_factory=Fields)
    text_columns: bool = False
    skip_bad: bool = False
    split: str = "train"


USUAL_IDS = ("_id", "id")
VECTOR = "vector"  # of a row: where it is a list of numbers, it is the document's own
USUAL_TITLES = ("title",)
USUAL_TEXTS = ("text", "contents", "content", "body")
MOST_NAMED = 20  # fields of a row that an error names


def document_from_row(
    row: object, fields: Fields, number: int, where: str, notices: Notices | None = None
) -> Document:
    """Make a document of a mapping, noted in ``notices``; CorpusError says what the row lacks."""
    if not isinstance(row, Mapping):
        raise CorpusError(f"{where}: expected an object with fields, got {type(row).__name__}")
    vector = given_vector(row.get(VECTOR))
    roles = roles_of(row, fields, where, text_needed=vector is None)
    if vector is not None:
        roles["vector"] = VECTOR
    id_field, title_field, text_field = roles["id"], roles["title"], roles["text"]
    used = set(roles.values())
    if row.get(VECTOR) is None:  # a column of a table, of which this row has none
        used.add(VECTOR)
    title = string(row[title_field], title_field, where) if title_field is not None else ""
    document = Document(
        id=str(number) if id_field is None else identifier(row[id_field], id_field, where),
        title=title.strip(),
        text="" if text_field is None else string(row[text_field], text_field, where),
        metadata={str(key): value for key, value in row.items() if key not in used},
        where=where,
        vector=vector,
    )
    check(document)
    if notices is not None:
        notices.saw(roles, document.metadata)
    return document


def roles_of(
    row: Mapping[Any, Any], fields: Fields, where: str, *, text_needed: bool = True
) -> dict[str, str | None]:
    """The fields of a row that are its id, title and text; CorpusError if one is missing."""
    return {
        "id": pick(row, fields.id, USUAL_IDS, "--id-field", where, required=False),
        "title": pick(row, fields.title, USUAL_TITLES, "--title-field", where, required=False),
        "text": pick(row, fields.text, USUAL_TEXTS, "--text-field", where, required=text_needed),
    }


def pick(
    row: Mapping[Any, Any],
    named: str | None,
    usual: Sequence[str],
    flag: str,
    where: str,
    *,
    required: bool,
) -> str | None:
    """The field of a row that has a role; None where it may be missing. CorpusError."""
    if named is not None:
        if named in row:
            return named
        raise CorpusError(f"{where}: no field {named!r}, which {flag} names; {names_of(row)}")
    for name in usual:
        if name in row:
            return name
    folded = {name.strip().casefold(): name for name in reversed(row) if isinstance(name, str)}
    for name in usual:
        if name in folded:
            return folded[name]
    if required:
        raise CorpusError(
            f"{where}: no field {usual[0]!r}; {names_of(row)}: name the text's field with {flag}"
        )
    return None


def names_of(row: Mapping[Any, Any]) -> str:
    """The fields that a row has, for an error."""
    if not row:
        return "it has no fields"
    names = [repr(name) for name in row]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"there are {', '.join(names[:MOST_NAMED])}{more}"


def string(value: object, name: str, where: str) -> str:
    """A value as text: empty for None, numbers as they print, bytes in UTF-8. CorpusError."""
    value = json_form(value)
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{where}: field {name!r} is not UTF-8 at byte {error.start}"
            ) from None
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise CorpusError(f"{where}: field {name!r} must be text, not {type(value).__name__}")


def identifier(value: object, name: str, where: str) -> str:
    """A value as an id: 1.0 is "1", as tables write whole numbers so; CorpusError if empty."""
    value = json_form(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CorpusError(f"{where}: field {name!r}, the id, is {value}")
        value = int(value) if value.is_integer() else value
    text = string(value, name, where)
    if not text.strip():
        raise CorpusError(f"{where}: field {name!r}, the id, is empty")
    return text


def no_text(document: Document) -> CorpusError:
    """The error of a document that nothing could find."""
    if not document.where:
        return CorpusError(f"document {document.id!a}: it has no text and no title")
    return CorpusError(f"{document.where}: document {document.id!r} has no text and no title")


def check(document: Document) -> None:
    """Refuse what cannot be stored; CorpusError."""
    where = place_of(document)
    if len(document.text) > LONGEST_DOCUMENT:
        raise CorpusError(
            f"{where}: {len(document.text):,} characters of text; the most is "
            f"{LONGEST_DOCUMENT:,}: split the document"
        )
    check_id(document.id, where)
    check_text(document.title, "title", where)
    check_text(document.text, "text", where)
    document_metadata(document)


def place_of(document: Document) -> str:
    """Where a document comes from, for messages."""
    return document.where or f"document {document.id!a}"


def document_metadata(document: Document) -> str:
    """Metadata as it is stored; CorpusError for what breaks the rule (``indexer.metadata``)."""
    return metadata_json(document.metadata, place_of(document))
