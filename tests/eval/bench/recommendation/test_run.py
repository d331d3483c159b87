"""Recommenders and peers measured on one log: the same numbers as by hand, faults by one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Run
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.encoders.recommender.events import EventLog, read_events
from trimseek.encoders.recommender.histories import TEST, held_out, measures, ranks
from trimseek.eval.bench.recommendation.run import bench_recommenders, long_history
from trimseek.eval.bench.recommendation.systems import (
    NONE,
    PEERS,
    EncoderSystem,
    System,
    best_of_all,
    training_matrix,
)


@pytest.fixture(scope="module")
def log(walks_log: Path) -> EventLog:
    return read_events(walks_log)


@pytest.fixture(scope="module")
def systems(walker: Path, log: EventLog) -> dict[str, System]:
    peers = {name: make(name, walker, log) for name, make in PEERS.items()}
    return {"walker": EncoderSystem("walker", walker, log)} | peers


def test_best_are_k_different_items_that_were_not_had(
    systems: dict[str, System], log: EventLog
) -> None:
    test = held_out(log, TEST)
    for name, system in systems.items():
        best = best_of_all(system, test.histories, 10, len(log.items))
        assert best.shape == (len(test.users), 10), name
        for row, history in zip(best.tolist(), test.histories, strict=True):
            real = [item for item in row if item != NONE]
            assert len(real) == len(set(real)), name
            assert not set(real) & set(history.tolist()), name


def test_an_encoder_and_torch_find_the_same(systems: dict[str, System], log: EventLog) -> None:
    histories = held_out(log, TEST).histories
    ours, torch = (systems[name].best(histories, 10) for name in ("walker", "torch"))
    assert (ours == torch).mean() > 0.99  # but for equal scores, and rounding


def test_measures_are_those_of_ranks_by_hand(
    systems: dict[str, System], walker: Path, log: EventLog
) -> None:
    encoder = systems["walker"]
    assert isinstance(encoder, EncoderSystem)
    test = held_out(log, TEST)
    report = bench_recommenders(log, [str(walker)], timing=False)
    texts = ["\n".join(log.items[item] for item in history) for history in test.histories]
    vectors = encoder.encoder.encode(texts).vectors
    items = DocumentEncoder(walker).encode(list(log.items)).vectors
    found = measures(ranks(vectors, items, test.targets, test.histories))
    assert report.rows[0].hit_rate == pytest.approx(found.hit_rate)
    assert report.rows[0].ndcg == pytest.approx(found.ndcg)
    assert report.tested == len(test.users)


def test_peers_learn_nothing_of_what_is_held_out(log: EventLog) -> None:
    seen = training_matrix(log)
    test = held_out(log, TEST)
    for user, target in zip(test.users, test.targets.tolist(), strict=True):
        assert seen[user, target] == 0
    changed = replace(log, taken=log.taken.copy())
    for user in test.users:
        changed.taken[changed.starts[user + 1] - 1] = 0
    assert (training_matrix(changed) != seen).nnz == 0


def test_long_histories_have_different_items(log: EventLog) -> None:
    history = long_history(held_out(log, TEST).histories, 7)
    assert len(set(history.tolist())) == 50


def test_the_command(walks_log: Path, walker: Path, run: Run, tmp_path: Path) -> None:
    made = run(
        *("bench", walks_log, "--encoder", walker, "--peer", "popularity", "--peer", "item-knn"),
        *("-o", "report", "--json"),
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    by_name = {row["name"]: row for row in told["rows"]}
    assert by_name[str(walker)]["ndcg"] > by_name["popularity"]["ndcg"]
    assert by_name["popularity"]["loss"] > 0
    assert by_name["popularity"]["coverage"] < by_name[str(walker)]["coverage"]
    assert all(row["speed"]["one"] > 0 and row["bytes"] > 0 for row in told["rows"])
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == told
    assert "popularity" in (tmp_path / "report" / "report.md").read_text()
    assert (tmp_path / "report" / "pareto.svg").is_file()


def test_what_makes_no_sense_is_one_line(
    walks_log: Path, walker: Path, run: Run, tiny_encoder: Path
) -> None:
    for words, message in (
        ((), "name a recommender: --encoder DIR"),
        (("--encoder", tiny_encoder), "reads texts; on an event log give a recommender"),
        (("--encoder", walker, "--peer", "als2"), "unknown peer 'als2' of recommenders"),
        (("sample:python", "--encoder", walker), "an event log is measured alone"),
    ):
        made = run("bench", walks_log, *words)
        assert made.returncode in (1, 2), words
        assert message in made.stderr
        assert "Traceback" not in made.stderr
