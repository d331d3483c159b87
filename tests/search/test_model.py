"""An index that is written to at random answers as a dictionary and numpy would.

python -m tests.search.test_model 2500, for as many steps of each kind
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.conftest import write_jsonl
from tests.tiny import write_tiny
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.care import compact_index, find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import Condition, Operator
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search.options import MOST_EFFORT, Mode, Options

IDS = st.integers(0, 40).map(lambda i: f"d{i}")
TEXTS = st.lists(
    st.sampled_from("shell split words list files number qed x7 of the".split()),
    min_size=1,
    max_size=6,
).map(" ".join)
YEARS = st.integers(0, 4)
RUN = 100  # steps
FIRST = 1100  # documents that stay, enough for every kind


class Model(RuleBasedStateMachine):
    """``kind`` and ``encoder`` are set by the test."""

    kind: SnapshotKind
    encoder: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="trimseek-model-"))
        documents = DocumentEncoder(self.encoder)
        rows = [{"_id": f"s{i}", "text": f"number {i}", "year": i % 5} for i in range(FIRST)]
        corpus = open_corpus(str(write_jsonl(self.folder / "c.jsonl", rows)))
        self.index = self.folder / "i"
        Ingest(corpus, self.index, documents, str(self.encoder), kind=self.kind).run()
        self.writer, self.searcher = IndexWriter(self.index, documents), Searcher(self.index)
        self.documents, self.queries = documents, QueryEncoder(self.encoder)
        self.vectors: dict[str, Any] = {}
        self.texts = {str(row["_id"]): str(row["text"]) for row in rows}
        self.years: dict[str, int] = {str(row["_id"]): int(str(row["year"])) for row in rows}

    def teardown(self) -> None:
        assert find_damage(self.index, deep=True) == []
        self.writer.close()
        self.searcher.close()
        shutil.rmtree(self.folder)

    @rule(id_=IDS, text=TEXTS, year=YEARS)
    def put(self, id_: str, text: str, year: int) -> None:
        self.writer.put([Document(id_, "", text, {"year": year})])
        self.texts[id_], self.years[id_] = text, year

    @rule(id_=IDS, year=YEARS)
    def patch(self, id_: str, year: int) -> None:
        if id_ in self.texts:
            self.writer.patch(id_, {"year": year})
            self.years[id_] = year

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids: list[str]) -> None:
        gone = set(ids) & self.texts.keys()
        assert self.writer.delete(ids) == len(gone)
        for id_ in gone:
            del self.texts[id_], self.years[id_]

    @rule()
    def compact(self) -> None:
        compact_index(self.index)

    @invariant()
    def searches_equal_brute_force(self) -> None:
        self.check("shell words", None)
        self.check("number 7", 3)

    def check(self, query: str, year: int | None) -> None:
        ids = [id_ for id_ in self.texts if year is None or self.years[id_] == year]
        new = list({self.texts[id_] for id_ in ids} - self.vectors.keys())
        if new:  # an encoder of floats: what is encoded together does not matter
            vectors = self.documents.encode(new).vectors.astype(np.float16).astype(np.float32)
            self.vectors |= dict(zip(new, vectors, strict=True))
        stored = np.array([self.vectors[self.texts[id_]] for id_ in ids])
        scores = np.sort(stored @ self.queries.encode([query]).vectors[0])[::-1]
        where: Any = None if year is None else Condition(("year",), Operator.EQUAL, (year,))
        options = Options(mode=Mode.DENSE, where=where, effort=MOST_EFFORT)
        hits = self.searcher.search(query, 10, options).hits
        np.testing.assert_allclose([hit.score for hit in hits], scores[:10], atol=1e-4)
        for hit in hits:
            assert self.texts[hit.id] == hit.passage.text
            assert hit.metadata == {"year": self.years[hit.id]}


KINDS = [each for each in SnapshotKind if each is not SnapshotKind.AUTO]


def run_model(kind: SnapshotKind, encoder: Path, runs: int, steps: int) -> None:
    machine = type("Machine", (Model,), {"kind": kind, "encoder": encoder})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs, stateful_step_count=steps, deadline=None)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("runs", "steps"), [(2, 12), pytest.param(5, 40, marks=pytest.mark.slow)])
def test_searches_after_random_changes(
    runs: int, steps: int, kind: SnapshotKind, tiny_encoder: Path
) -> None:
    run_model(kind, tiny_encoder, runs, steps)


def main(steps: int) -> None:
    """So many steps of each kind, in runs of 100."""
    with tempfile.TemporaryDirectory(prefix="trimseek-encoder-") as base:
        encoder = write_tiny(Path(base) / "tiny")
        for kind in KINDS:
            run_model(kind, encoder, -(-steps // RUN), RUN)
            print(f"{kind.value}: {steps} steps equal brute force", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
