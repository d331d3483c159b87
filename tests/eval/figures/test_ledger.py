from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import shared
from trimseek.encoders.cached import PART, cache_folder, fingerprint, text_hash
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.folder import open_encoder
from trimseek.eval.bench.results import read_results
from trimseek.eval.figures.files import RESULTS
from trimseek.eval.figures.ledger import LedgerEntry, deviations, entries, is_same, read_ledger
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.indexer.corpus import SAMPLE

BENCH = RESULTS / "results.json"
QUICK = 2_000_000  # characters of documents that int8 encodes within the time of a test
LEDGER = read_ledger()


@pytest.fixture(scope="module")
def collections() -> dict[str, TestCollection]:
    return {}


def is_quick(entry: LedgerEntry, collection: TestCollection) -> bool:
    texts = list(collection.documents.values())
    embedded = f"{fingerprint(open_encoder(find_encoder(entry.encoder)))}-document"
    small = entry.encoder.endswith("int8") and sum(map(len, texts)) <= QUICK
    return small or is_embedded(texts, embedded)


def is_embedded(texts: list[str], fingerprint: str) -> bool:
    """Whether all of the texts' vectors are in the cache."""
    folder = cache_folder() / f"{fingerprint}-{text_hash(texts)}"
    parts = -(-len(texts) // PART)
    return all((folder / f"{part}.npy").is_file() for part in range(parts))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(
            entry,
            id=f"{entry.collection}-{entry.encoder}",
            marks=() if entry.collection == SAMPLE else pytest.mark.slow,
        )
        for entry in LEDGER
    ],
)
def test_quality_is_what_the_ledger_says(
    entry: LedgerEntry, collections: dict[str, TestCollection]
) -> None:
    name = entry.collection
    if name not in collections:
        where = name if name == SAMPLE else str(shared(f"data/{name}"))
        collections[name] = read_collection(where)
    if not is_same(entry, collections[name]):
        pytest.skip(f"{name} has other documents here than those of the ledger")
    if not is_quick(entry, collections[name]):
        pytest.skip(
            f"{name} is not embedded by {entry.encoder}: "
            "python -m trimseek.eval.figures ledger checks it"
        )
    assert [str(deviation) for deviation in deviations(entry, collections[name])] == []


def test_the_ledger_is_that_of_the_committed_results() -> None:
    assert entries(read_results(BENCH)) == LEDGER


def test_a_deviation_is_found(tiny_encoder: Path) -> None:
    collection = TestCollection(
        "small", {"a": "one two", "b": "three four"}, {"q": "one"}, {"q": {"a": 1}}
    )
    right = LedgerEntry("small", "", str(tiny_encoder), {"recall@10": 1.0}, 0.001)
    assert deviations(right, collection) == []
    wrong = replace(right, measures={"recall@10": 0.9})
    assert [str(deviation) for deviation in deviations(wrong, collection)] == [
        f"small, {tiny_encoder}: recall@10 is 1.0000, expected 0.9000 within 0.001"
    ]
