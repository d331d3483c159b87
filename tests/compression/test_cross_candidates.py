"""``trimseek compress`` of a cross-encoder: smaller, and measured by its order of passages."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.compression.test_search import documents
from tests.conftest import Run, write_jsonl
from trimseek.compression.cross_candidates import Ordering, agreed_grades, orderings
from trimseek.compression.trial import unlabelled_trial
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.encoders.folder import open_cross_encoder
from trimseek.eval.quality.known_items import known_items


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"text": text} for text in documents(120)]
    return write_jsonl(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


def test_a_shape_is_made_measured_and_used(
    run: Run, tiny_cross_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    done = run(
        *("compress", tiny_cross_encoder, "-o", "small", "--texts", texts),
        *("--heads", 2, "--neurons", 40),
    )
    assert done.returncode == 0, done.stderr
    card = open_cross_encoder(tmp_path / "small")
    assert [(layer.heads, layer.neurons) for layer in card.layers] == [(2, 40)] * 2
    (tried,) = json.loads((tmp_path / "small" / "tried.json").read_text())
    assert -0.01 < tried["loss"] < 0.5
    assert tried["loss"] == card.measured["chosen_loss"]
    passages = documents(20)
    query = "split the list"
    full = CrossEncoder(tiny_cross_encoder).scores(query, passages).scores
    small = CrossEncoder(tmp_path / "small").scores(query, passages).scores
    assert np.corrcoef(full, small)[0, 1] > 0.5
    shown = run("encoder", "info", "small").stdout
    assert "scores      one for each pair of texts: a cross-encoder" in shown

    rows = [{"id": str(i), "text": text} for i, text in enumerate(passages)]
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    assert run("index", corpus, "--into", "i").returncode == 0
    answer = run("search", "i", query, "--rerank", "small", "--json")
    assert "rerank" in json.loads(answer.stdout)["hits"][0]["sources"]


def test_a_budget_is_searched_on_judgements(
    run: Run, tiny_cross_encoder: Path, tmp_path: Path
) -> None:
    trial = known_items(documents(120), "known")
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(
        folder / "corpus.jsonl",
        [{"_id": id_, "text": text} for id_, text in trial.documents.items()],
    )
    write_jsonl(
        folder / "queries.jsonl",
        [{"_id": id_, "text": text} for id_, text in trial.queries.items()],
    )
    lines = ["query-id\tcorpus-id\tscore"]
    lines += [f"{q}\t{d}\t1" for q, grades in trial.qrels.items() for d in grades]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    done = run(
        *("compress", tiny_cross_encoder, "-o", "small", "--collection", folder),
        *("--max-loss", "90%", "--minutes", 1),
    )
    assert done.returncode == 0, done.stderr
    tried = json.loads((tmp_path / "small" / "tried.json").read_text())
    assert len(tried) > 1
    assert "too few texts to train on" in done.stderr


def test_what_makes_no_sense(run: Run, tiny_cross_encoder: Path, texts: Path) -> None:
    words = ("compress", tiny_cross_encoder, "-o", "small", "--texts", texts)
    done = run(*words, "--heads", 2, "--query-only")
    assert done.returncode == 2
    assert "a cross-encoder reads queries and documents together" in done.stderr


def test_candidates_are_what_has_the_querys_words() -> None:
    half = unlabelled_trial(documents(80), "mine").choosing
    found = orderings(half)
    assert len(found) > 50
    for ordering in found:
        words = set(ordering.query.casefold().replace(".", "").split())
        best = half.documents[ordering.candidates[0]].casefold().replace(".", "").split()
        assert words & set(best)


def test_grades_of_an_order() -> None:
    ordering = Ordering("q", "x", [f"d{i}" for i in range(12)])
    scores = np.arange(12, dtype=np.float32)
    grades = agreed_grades(ordering, scores)
    assert grades == {f"d{11 - place}": 10 - place for place in range(10)}
