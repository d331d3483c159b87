"""What was noticed while a corpus was read, for the summary of a run."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trimseek.errors import CorpusError
from trimseek.indexer.metadata import json_form

T = TypeVar("T")
MOST_NAMED = 10  # bad parts that are named; more are counted only
MOST_FIELDS = 100  # of metadata whose kinds are counted
MOST_COMPARED = 100_000  # values of a field that are compared to find out whether it is an id
LIKE_AN_ID = re.compile(
    r"(?:^|[_\-. ])(?:id|ids|uid|uuid|guid|key|pid|isbn|doi|identifier|number|no)$|^(?:docid|"
    r"documentid|docno|pmid|url|path|filename|slug|sku|asin)$",
    re.IGNORECASE,
)
LIKE_AN_ID_IN_CAPITALS = re.compile(r"[a-z](?:Id|ID|Uuid|UUID|Key)$")
DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:|$)")
KINDS = {bool: "true/false", int: "numbers", float: "numbers", list: "lists", tuple: "lists"}


class Notices:
    """Of one reading of a corpus.

    ``roles``: the field that was read as id, title and text, of the first row that has each.
    ``kinds``: of the values of each metadata field, how many are of which kind.
    ``bad``: parts that could not be read and were left out; ``bad_parts`` says where and why, of
    the first ten. ``remarks``: sentences on what a user may not expect.
    """

    def __init__(self, skip_bad: bool = False) -> None:
        self.roles: dict[str, str] = {}
        self.kinds: dict[str, Counter[str]] = {}
        self.documents = 0
        self.bad = 0
        self.bad_parts: list[str] = []
        self.remarks: list[str] = []
        self._skip_bad = skip_bad
        self._ids: dict[str, set[int]] = {}

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What ``read`` returns; None if it raises CorpusError and bad parts are to be skipped."""
        try:
            return read()
        except CorpusError as error:
            if not self._skip_bad:
                raise
            self.bad += 1
            if len(self.bad_parts) < MOST_NAMED:
                self.bad_parts.append(str(error))
            return None

    def saw(self, roles: Mapping[str, str | None], metadata: Mapping[str, Any]) -> None:
        """Note a row: which field has which role, and what else it holds."""
        self.documents += 1
        for role, name in roles.items():
            if name is not None:
                self.roles.setdefault(role, name)
        for name, value in metadata.items():
            if value is None:
                continue
            kinds = self.kinds.get(name)
            if kinds is None:
                if len(self.kinds) == MOST_FIELDS:
                    continue
                kinds = self.kinds[name] = Counter()
            kinds[kind_of(value)] += 1
        if roles.get("id") is None:
            self._look_for_id(metadata)

    def _look_for_id(self, metadata: Mapping[str, Any]) -> None:
        """Keep the fields called like an id that had another value in each row so far."""
        if self.documents == 1:
            self._ids = {name: set() for name in metadata if is_like_an_id(name)}
        elif self.documents > MOST_COMPARED:
            return
        for name in list(self._ids):
            value = metadata.get(name)
            if (
                not isinstance(value, str | int)
                or isinstance(value, bool)
                or value == ""
                or hash(value) in self._ids[name]
            ):
                del self._ids[name]
            else:
                self._ids[name].add(hash(value))

    def fields(self) -> dict[str, str]:
        """How each field was read: ``{"id": "id", "year": "numbers, text"}``."""
        read = {name: role for role, name in self.roles.items()}
        for name, kinds in self.kinds.items():
            read[name] = ", ".join(kind for kind, _ in kinds.most_common())
        return read

    def sentences(self) -> list[str]:
        """The summary in lines: fields, remarks, and what was left out."""
        lines = []
        if self.roles:
            roles = ", ".join(f"{role} from {name!r}" for role, name in self.roles.items())
            lines.append(f"fields: {roles}")
        fields = [
            f"{name if name.isidentifier() else repr(name)} ({kinds})"
            for name, kinds in self.fields().items()
            if name in self.kinds
        ]
        if fields:
            more = " and more" if len(self.kinds) == MOST_FIELDS else ""
            lines.append(f"metadata: {', '.join(fields)}{more}")
        lines += self.remarks
        if self.documents and "id" not in self.roles and self.roles:
            hint = "".join(
                f"; {name!r} has another value in each: --id-field {name} takes it"
                for name in list(self._ids)[:1]
                if self.documents > 1
            )
            lines.append(f"no field is the id, so documents are called by their numbers{hint}")
        if self.bad:
            lines.append(f"{self.bad} left out, as they cannot be read:")
            lines += [f"  {part}" for part in self.bad_parts]
            if self.bad > len(self.bad_parts):
                lines.append(f"  and {self.bad - len(self.bad_parts)} more")
        return lines


def kind_of(value: object) -> str:
    """What a value of metadata is called."""
    value = json_form(value)
    if isinstance(value, str):
        return "dates" if DATE.match(value) else "text"
    return KINDS.get(type(value), "objects")


def is_like_an_id(name: str) -> bool:
    """Whether a field's name is one that ids have."""
    return bool(LIKE_AN_ID.search(name) or LIKE_AN_ID_IN_CAPITALS.search(name))
