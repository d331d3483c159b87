"""Maps of a cheap encoder's vectors: the formula, the gain, and the index that has one."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ingest, write_jsonl
from tests.indexer.test_ingest import rows
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.encoders.transforms import unit
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, IndexFolderError
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import open_index, open_writable
from trimseek.indexer.ingest import IngestReport, Sample
from trimseek.indexer.reembed import reembed
from trimseek.indexer.vector_map import (
    SETTING,
    fit_map,
    overlap,
    solved,
    stored_map,
)
from trimseek.indexer.writer import IndexWriter

CHEAP, FULL = "minilm-dash", "minilm-int8"


def random_units(count: int, dim: int, seed: int = 0) -> FloatArray:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))


def test_the_map_has_the_least_error_of_the_formula() -> None:
    cheap, full = random_units(50, 6), random_units(50, 6, seed=1)

    def error(matrix: FloatArray) -> float:
        apart = np.square(cheap @ matrix - full).sum()
        return float(apart + 3.0 * np.square(matrix - np.eye(6)).sum())

    best = solved(cheap, full, 3.0)
    moved = np.random.default_rng(2).standard_normal((20, 6, 6)).astype(np.float32)
    assert all(error(best) < error(best + 0.01 * move) for move in moved)
    np.testing.assert_allclose(solved(cheap, full, 1e9), np.eye(6), atol=1e-4)


def test_a_turned_space_is_turned_back() -> None:
    full = random_units(400, 16)
    turn, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((16, 16)))
    noise = 0.05 * np.random.default_rng(4).standard_normal((400, 16)).astype(np.float32)
    fit = fit_map(unit((full + noise) @ turn.astype(np.float32)), full)
    assert fit.cosine_after > 0.95 > 0.5 > fit.cosine_before
    assert fit.overlap_after > fit.overlap_before + 0.3
    others = random_units(100, 16, seed=5)  # what it was not fitted on
    mapped = fit.map.apply((others @ turn).astype(np.float32))
    assert (mapped * others).sum(1).mean() > 0.98
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, atol=1e-5)


def test_what_cannot_be_learnt_is_not_claimed() -> None:
    """Of unrelated vectors the map brings nothing on what is held out, however well it fits."""
    fit = fit_map(random_units(300, 100), random_units(300, 100, seed=1))
    assert abs(fit.cosine_after) < 0.05
    with pytest.raises(ConfigError, match="199 passages are too few"):
        fit_map(random_units(199, 4), random_units(199, 4))


def test_neighbours_in_common() -> None:
    full = random_units(30, 4)
    assert overlap(full, full) == 1.0
    assert 0.2 < overlap(random_units(30, 4, seed=1), full) < 0.5  # 10 of 29 by chance


def mapped(corpus: Path, folder: Path, encoder: str = CHEAP, full: str = FULL) -> IngestReport:
    opened, other = (DocumentEncoder(find_encoder(name)) for name in (encoder, full))
    return Ingest(open_corpus(str(corpus)), folder, opened, encoder, map_to=other).run()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "c.jsonl", rows(250))


def vectors(folder: Path) -> FloatArray:
    with open_index(folder) as (card, store):
        keys = list(store.keys_of([f"d{i}" for i in range(250)]).values())
        found: FloatArray = store.vectors_of_documents(keys, card.dim).vectors.astype(np.float32)
    return found


@pytest.mark.usefixtures("minilm")
def test_an_index_is_nearer_to_the_full_encoders(corpus: Path, tmp_path: Path) -> None:
    for name, encoder in (("plain", CHEAP), ("full", FULL)):
        ingest(corpus, tmp_path / name, encoder)
    report = mapped(corpus, tmp_path / "mapped")
    assert report.vector_map.startswith("fitted on 250 passages; of those held out, cosine 0.")
    full = vectors(tmp_path / "full")
    before, after = (
        float((vectors(tmp_path / name) * full).sum(1).mean()) for name in ("plain", "mapped")
    )
    assert after > before + 0.02
    # the same once more: nothing is fitted or embedded anew
    again = mapped(corpus, tmp_path / "mapped")
    assert (again.unchanged, again.vector_map) == (250, "")
    # what is written later is mapped as well
    row = rows(1)[0] | {"text": "split the shell"}
    expected = DocumentEncoder(find_encoder(CHEAP)).encode(["t0 split the shell"]).vectors
    with IndexWriter(tmp_path / "mapped", DocumentEncoder(find_encoder(CHEAP))) as writer:
        writer.put([Document(str(row["_id"]), str(row["title"]), str(row["text"]), {})])
    with open_index(tmp_path / "mapped") as (card, store):
        kept = stored_map(store, card.dim)
        assert kept is not None
        key = store.keys_of(["d0"])["d0"]
        [vector] = store.vectors_of_documents([key], card.dim).vectors
    np.testing.assert_allclose(vector, kept.apply(expected)[0], atol=1e-3)


@pytest.mark.usefixtures("minilm")
def test_what_does_not_fit_is_refused(corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    folder = tmp_path / "i"
    mapped(corpus, folder)
    with pytest.raises(IndexFolderError, match="mapped from those of 'minilm-dash'"):
        ingest(corpus, folder, FULL)
    ingest(corpus, tmp_path / "plain", CHEAP)
    with pytest.raises(IndexFolderError, match="embedded without a map"):
        mapped(corpus, tmp_path / "plain")
    with pytest.raises(ConfigError, match="is of space"):
        mapped(corpus, tmp_path / "other", full=str(tiny_encoder))
    few = write_jsonl(tmp_path / "few.jsonl", rows(20))
    with pytest.raises(ConfigError, match="20 passages are too few"):
        mapped(few, tmp_path / "few")
    assert not (tmp_path / "few").exists()
    reembed(folder, DocumentEncoder(find_encoder(FULL)), FULL)
    ingest(corpus, folder, FULL)  # another index has no map
    with open_index(folder) as (card, store):
        assert stored_map(store, card.dim) is None


@pytest.mark.parametrize("damage", ["short", "?", "AAAA", "AADAfw=="])
def test_a_damaged_map_is_told(
    damage: str, corpus: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    ingest(corpus, tmp_path / "i", tiny_encoder)
    with open_writable(tmp_path / "i") as (_, store):
        with store.transaction():
            store.set_setting(SETTING, damage)
        with pytest.raises(IndexFolderError, match="its map of vectors is damaged"):
            stored_map(store, 1)


def test_a_sample_is_drawn_evenly() -> None:
    sample = Sample(100)
    for i in range(1000):
        sample.add(Document(f"d{i}", "", "text", {}))
    numbers = [int(document.id[1:]) for document in sample.documents]
    assert len(set(numbers)) == 100
    assert 400 < np.mean(numbers) < 600
    assert 30 < sum(number < 500 for number in numbers) < 70
    sample = Sample(100)
    sample.add(Document("d", "", "text", {}, vector=(1.0,)))
    assert sample.documents == []
