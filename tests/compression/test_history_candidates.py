"""A recommender is made smaller under a budget of what users took last, and its card says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from trimseek.compression.compress import compress, read_histories
from trimseek.compression.history_candidates import HistoryCompressor, best_items
from trimseek.encoders.encoder import QueryEncoder
from trimseek.encoders.folder import as_checkpoint, graph_bytes, open_encoder
from trimseek.encoders.recommender.events import read_events
from trimseek.encoders.recommender.items import history_text
from trimseek.encoders.shrink.recipe import Recipe
from trimseek.errors import BudgetError


def test_it_is_made_smaller_within_the_budget(
    walks_log: Path, walker: Path, tmp_path: Path
) -> None:
    made = compress(
        walker, tmp_path / "small", collection=str(walks_log), max_loss=0.15, minutes=0.7
    )
    card = open_encoder(tmp_path / "small")
    assert card.space == open_encoder(walker).space
    assert card.items
    assert made.best.judged
    assert made.best.graph_bytes == graph_bytes(tmp_path / "small") < graph_bytes(walker) / 3
    query = QueryEncoder(tmp_path / "small")
    assert query.card.histories
    shapes = [(shape.heads, shape.neurons) for shape in query.card.layers]
    assert shapes != [(2, 256), (2, 256)]
    assert card.measured["loss_queries"] == made.best.queries
    tried = json.loads((tmp_path / "small" / "tried.json").read_text())
    assert len(tried) == len(made.tried) > 1


def test_halves_share_items_and_no_user(walks_log: Path, walker: Path) -> None:
    histories, trial = read_histories(as_checkpoint(walker), str(walks_log))
    first, second = trial.choosing, trial.confirming
    assert first.documents == second.documents
    assert not first.queries.keys() & second.queries.keys()
    assert abs(len(first.queries) - len(second.queries)) <= 1
    log = read_events(walks_log)
    expected = [log.history(user)[:-2] for user in np.flatnonzero(log.lengths > 3).tolist()]
    trained = {text for text in histories if text.count("\n") > 0}
    assert {history_text(log.items[i] for i in each) for each in expected} <= trained
    assert max(text.count("\n") + 1 for text in histories) == log.lengths.max() - 2


def test_training_is_towards_the_base(
    walks_log: Path, walker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a quarter of the layers loses, training brings back for the most part."""
    monkeypatch.setattr("trimseek.compression.candidates.FEWEST", 100)
    monkeypatch.setattr("trimseek.encoders.shrink.lessons.FEWEST", 100)
    losses = [
        compress(
            walker,
            tmp_path / f"trained-{minutes}",
            collection=str(walks_log),
            recipe=Recipe(keep=0.3, align_minutes=minutes),
        ).best.loss
        for minutes in (0.0, 0.2)
    ]
    assert losses[1] < max(losses[0], 0.05)


def test_lessons_are_histories_and_their_best_items() -> None:
    generator = np.random.default_rng(0)
    vectors, items = generator.standard_normal((2100, 8)), generator.standard_normal((50, 8))
    found = best_items(vectors.astype(np.float32), items.astype(np.float32))
    scores = vectors @ items.T
    for row in (0, 1023, 1024, 2099):
        assert set(found[row].tolist()) == set(np.argsort(-scores[row])[:16].tolist())
    assert HistoryCompressor.alignment.temperature == 1.0


def test_what_makes_no_sense_is_one_line(
    walks_log: Path, walker: Path, run: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("some text\n" * 60)
    common = ("-o", "small", "--max-loss", "5%")
    for words, message in (
        ((walker, "--texts", "texts.txt"), "a recommender; give --collection EVENTS"),
        ((walker,), "a recommender is measured on an event log"),
        ((walker, "--collection", "sample:python"), "a recommender is measured on an event log"),
        (
            (tiny_encoder, "--collection", walks_log),
            "an event log, which recommenders are measured on",
        ),
    ):
        made = run("compress", *words, *common)
        assert made.returncode == 2, words
        assert message in made.stderr
        assert not (tmp_path / "small").exists()


def test_a_budget_that_nothing_keeps_to(walks_log: Path, walker: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="no encoder has"):
        compress(walker, tmp_path / "small", collection=str(walks_log), max_mb=0.0001, minutes=0.3)
    assert not (tmp_path / "small").exists()
