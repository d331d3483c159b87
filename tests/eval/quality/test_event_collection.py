"""An event log as a collection: what was taken last is to be found, what was had before is not."""

from pathlib import Path

import numpy as np
import pytest

from tests.logs import write_log
from trimseek.errors import CorpusError
from trimseek.eval.quality.agreement import NO_HIT
from trimseek.eval.quality.collection import read_collection
from trimseek.eval.quality.retrieval import EXACT, build_index, rank

EVENTS = [
    *(("a", item, time) for time, item in enumerate("xyzw")),
    *(("b", item, time) for time, item in enumerate("zyx")),
    *(("c", item, time) for time, item in enumerate("xyx")),  # took what it had had
    ("d", "w", 1),
]


def test_histories_and_what_follows(tmp_path: Path) -> None:
    collection = read_collection(str(write_log(tmp_path / "log.csv", EVENTS)))
    assert collection.histories
    assert collection.is_judged
    assert dict(collection.queries) == {"a": "x\ny\nz", "b": "z\ny"}
    assert collection.qrels == {"a": {"w": 1}, "b": {"x": 1}}
    assert collection.excluded == {"a": ("x", "y", "z"), "b": ("z", "y")}
    assert dict(collection.documents) == {item: item for item in "xyzw"}


def test_what_was_had_is_not_found(tmp_path: Path) -> None:
    collection = read_collection(str(write_log(tmp_path / "log.csv", EVENTS)))
    items = list(collection.documents)
    vectors = np.eye(4, dtype=np.float32)
    queries = np.array([[4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    keys, scores = rank(collection, build_index(EXACT, vectors), queries, 3)
    found = [[items[key] for key in row if key != NO_HIT] for row in keys.tolist()]
    assert found == [["w"], [item for item in reversed(items) if item in "xw"]]
    kept = scores[1][keys[1] != NO_HIT].tolist()
    assert kept == sorted(kept, reverse=True)


def test_a_log_without_anything_new(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", [("a", item, time) for time, item in enumerate("xyx")])
    with pytest.raises(CorpusError, match="no user has three events of which the last is new"):
        read_collection(str(log))
