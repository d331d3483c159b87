"""Words in 15 languages, and names and codes: the sentence that answers a query comes first."""

from collections.abc import Sequence
from pathlib import Path

import trimseek
from tests.search.sentences import CODES, LANGUAGES, Language


def misses(language: Language, folder: Path, encoder: Path) -> list[str]:
    """The queries whose sentence does not come first, by words alone."""
    rows = [{"id": str(i), "text": text} for i, text in enumerate(language.sentences)]
    missed = []
    with trimseek.create_index(folder, rows, encoder=encoder) as index:
        for query, number in language.queries:
            hits = index.search(query, 1, mode="lexical").hits
            if [hit.id for hit in hits] != [str(number)]:
                missed.append(f"{query}: {[hit.id for hit in hits]}, not {number}")
    return missed


def say(missed: Sequence[str]) -> str:
    return "\n".join(missed)


def test_60_queries_in_15_languages(tmp_path: Path, tiny_encoder: Path) -> None:
    assert len(LANGUAGES) == 15
    assert sum(len(language.queries) for language in LANGUAGES.values()) == 60
    missed = [
        f"{name}: {miss}"
        for name, language in LANGUAGES.items()
        for miss in misses(language, tmp_path / name, tiny_encoder)
    ]
    assert len(missed) <= 3, say(missed)


def test_40_names_and_codes(tmp_path: Path, tiny_encoder: Path) -> None:
    assert len(CODES.queries) == 40
    missed = misses(CODES, tmp_path / "codes", tiny_encoder)
    assert len(missed) <= 2, say(missed)
