"""What is asked of a table of terms and their ids, whose terms are in order."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class TermTable(ABC):
    """A database with a table ``terms (term, id)``."""

    @abstractmethod
    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""

    def terms_begun_by(self, beginning: str, most: int) -> list[int]:
        """The ids of at most so many terms that begin so, in the order of the terms."""
        rows = self.rows(
            "SELECT id FROM terms WHERE term >= ? AND term < ? ORDER BY term LIMIT ?",
            [beginning, after(beginning), most],
        )
        return [row[0] for row in rows]

    def terms_of_length(
        self, least: int, most: int, beginnings: Sequence[str] | None = None
    ) -> dict[str, int]:
        """The ids of terms of so many characters; of those that begin so, None for all."""
        length, lengths = "length(term) BETWEEN ? AND ?", [least, most]
        if beginnings is None:
            return dict(self.rows(f"SELECT term, id FROM terms WHERE {length}", lengths))
        terms: dict[str, int] = {}
        for beginning in beginnings:
            begun = [beginning, after(beginning)]
            query = f"SELECT term, id FROM terms WHERE term >= ? AND term < ? AND {length}"
            terms |= self.rows(query, [*begun, *lengths])
        return terms


def after(beginning: str) -> str:
    """The first text after all that begin so."""
    return beginning[:-1] + chr(ord(beginning[-1]) + 1)
