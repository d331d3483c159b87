from dataclasses import replace
from pathlib import Path

import pytest

from encoders.cached import fingerprint, is_embedded
from encoders.catalog import find_encoder
from encoders.folder import open_encoder
from eval.collection import TestCollection, read_collection
from eval.ledger import Entry, deviations, entries, is_same, read_ledger
from eval.results import from_json
from indexer.corpus import SAMPLE
from tests.conftest import shared

RESULTS = Path(__file__).parent.parent.parent / "eval" / "results" / "results.json"
QUICK = 2_000_000  # characters of documents that int8 encodes within the time of a test
LEDGER = read_ledger()


@pytest.fixture(scope="module")
def collections() -> dict[str, TestCollection]:
    return {}


def is_quick(entry: Entry, collection: TestCollection) -> bool:
    texts = list(collection.documents.values())
    embedded = f"{fingerprint(open_encoder(find_encoder(entry.encoder)))}-document"
    small = entry.encoder.endswith("int8") and sum(map(len, texts)) <= QUICK
    return small or is_embedded(texts, embedded)


@pytest.mark.parametrize("entry", LEDGER, ids=lambda entry: f"{entry.collection}-{entry.encoder}")
def test_quality_is_what_the_ledger_says(
    entry: Entry, collections: dict[str, TestCollection]
) -> None:
    name = entry.collection
    if name not in collections:
        where = name if name == SAMPLE else str(shared(f"data/{name}"))
        collections[name] = read_collection(where)
    if not is_same(entry, collections[name]):
        pytest.skip(f"{name} has other documents here than those of the ledger")
    if not is_quick(entry, collections[name]):
        pytest.skip(f"{name} is not embedded by {entry.encoder}: python -m eval.ledger checks it")
    assert [str(each) for each in deviations(entry, collections[name])] == []


def test_the_ledger_is_that_of_the_committed_results() -> None:
    assert entries(from_json(RESULTS)) == LEDGER


def test_a_deviation_is_found(tiny_encoder: Path) -> None:
    collection = TestCollection(
        "small", {"a": "one two", "b": "three four"}, {"q": "one"}, {"q": {"a": 1}}
    )
    right = Entry("small", "", str(tiny_encoder), {"recall@10": 1.0}, 0.001)
    assert deviations(right, collection) == []
    wrong = replace(right, measures={"recall@10": 0.9})
    assert [str(each) for each in deviations(wrong, collection)] == [
        f"small, {tiny_encoder}: recall@10 is 1.0000, expected 0.9000 within 0.001"
    ]
