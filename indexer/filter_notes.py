"""What a search asks of metadata and no document has, so that an empty answer is not silent."""

from collections.abc import Iterable
from difflib import get_close_matches

from trimseek.indexer.filters import (
    COLUMNS,
    Condition,
    Field,
    Filter,
    Operator,
    Scalar,
    conditions_of,
    existence_sql,
    field_name,
    is_faceted,
    kind_name,
    values_of,
)
from trimseek.indexer.store import Store

TYPES = {  # of json_each, by the name of a kind of values
    "text": ("text",),
    "numbers": ("integer", "real"),
    "true or false": ("true", "false"),
    "null": ("null",),
}
LOOKED_AT = 1000  # values, or documents, from which kinds and fields are named


class FilterNotes:
    """Says what no document of an index has; asks each thing once as long as nothing changes."""

    def __init__(self) -> None:
        self._found: set[tuple[str, Field, str]] = set()
        self._missing: dict[tuple[str, Field, str], tuple[object, str]] = {}

    def of(
        self, store: Store, id_: str, version: object, conditions: Iterable[Condition]
    ) -> tuple[str, ...]:
        """A sentence for each condition that asks for what no document has.

        ``version``: of the index, of which ``id_`` is the identity; what was missing may be there
        in another. OutOfTimeError as of any query.
        """
        last = [self.sentences(store, id_, version, part)[-1] for part in conditions]
        return tuple(sentence for sentence in dict.fromkeys(last) if sentence)

    def sentences(self, store: Store, id_: str, version: object, part: Condition) -> list[str]:
        """A sentence for each kind of values that a condition asks for and no document has.

        Empty for the first kind that some document has, after which no other is looked at.
        """
        sentences = []
        for kind in asked(part):
            key = (id_, part.field, kind)
            known = self._missing.get(key)
            if key in self._found:
                sentence = ""
            elif known is None or known[0] != version:
                sentence = missing(store, part.field, kind)
                if sentence:
                    self._missing[key] = (version, sentence)
                else:
                    self._found.add(key)
            else:
                sentence = known[1]
            sentences.append(sentence)
            if not sentence:
                break
        return sentences


def conditions_asked(where: Filter | None, fields: Iterable[Field]) -> list[Condition]:
    """The conditions of a filter, and that fields which are named exist."""
    conditions = [] if where is None else list(conditions_of(where))
    return [*conditions, *(Condition(field, Operator.EXISTS) for field in fields)]


def asked(condition: Condition) -> list[str]:
    """The kinds of values that a condition asks for, one of which must be there; "" for any."""
    if condition.operator is Operator.EXISTS or not condition.values:
        return [""]
    return list(dict.fromkeys(map(kind_name, condition.values)))


def missing(store: Store, field: Field, kind: str) -> str:
    """A sentence if no document has a field, or a value of that kind in it; else empty."""
    name = field_name(field)
    if field[0] in COLUMNS:
        return f"{name} is a text, never {kind}" if kind not in ("", "text") else ""
    if kind and has_kind(store, field, kind):
        return ""
    existence = existence_sql(field)
    exists = f"SELECT 1 FROM documents WHERE {existence.text} LIMIT 1"
    if not store.rows(exists, existence.parameters):
        return f"no document has the field {name!r}{suggestion(store, field)}"
    if not kind:
        return ""
    kinds = kinds_of(store, field)
    holds = f"it holds {' and '.join(kinds)}" if kinds else "it holds no values of its own"
    hint = ""
    if kind == "text" and kinds == ["numbers"]:
        hint = "; write numbers without quotes"
    elif kind == "numbers" and kinds == ["text"]:
        hint = "; write texts in quotes"
    return f"no document has {kind} in the field {name!r}: {holds}{hint}"


def has_kind(store: Store, field: Field, kind: str) -> bool:
    """Whether some document has a value of a kind in a field."""
    marks = ", ".join("?" * len(TYPES[kind]))
    if is_faceted(field, store.facets()):
        sql = f"SELECT 1 FROM facets WHERE field = ? AND type IN ({marks}) LIMIT 1"
        return bool(store.rows(sql, (field_name(field), *TYPES[kind])))
    values = values_of(field)
    return bool(
        store.rows(
            f"SELECT 1 FROM documents, {values.tables} WHERE {values.guard}"
            f" AND each.type IN ({marks}) LIMIT 1",
            (*values.parameters, *TYPES[kind]),
        )
    )


def kinds_of(store: Store, field: Field) -> list[str]:
    """The kinds of a field's values, from the first of them."""
    values = values_of(field)
    rows = store.rows(
        "SELECT DISTINCT type FROM (SELECT each.type AS type FROM documents,"
        f" {values.tables} WHERE {values.guard} LIMIT ?)",
        (*values.parameters, LOOKED_AT),
    )
    types = {row[0] for row in rows}
    return [kind for kind, those in TYPES.items() if kind != "null" and types & set(those)]


def suggestion(store: Store, field: Field) -> str:
    """A field of the first documents that is written much like this one."""
    rows: list[tuple[Scalar]] = store.rows(
        "SELECT DISTINCT each.key FROM (SELECT metadata FROM documents LIMIT ?) AS some,"
        " json_each(some.metadata) AS each",
        (LOOKED_AT,),
    )
    names = {str(row[0]).casefold(): str(row[0]) for row in rows}
    first = field[0].casefold()
    close = get_close_matches(first, names, n=1, cutoff=0.6)
    if not close or names[close[0]] == field[0]:
        return ""
    return f"; did you mean {names[close[0]]!r}?"
