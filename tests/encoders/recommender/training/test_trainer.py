"""Recommenders learn what follows what, go on when interrupted, and end when nothing improves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Run
from tests.logs import walks, write_log
from trimseek.encoders.recommender.events import EventLog, read_events
from trimseek.encoders.recommender.histories import (
    TEST,
    VALIDATION,
    held_out,
    training_histories,
)
from trimseek.encoders.recommender.towers import Kind, Shape, new_weights
from trimseek.encoders.recommender.training import trainer as training
from trimseek.encoders.recommender.training.trainer import RecommenderSettings, RecommenderTrainer

SETTINGS = RecommenderSettings(minutes=10, patience=3, batch=64, dropout=0.2, learning_rate=4e-3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    return read_events(write_log(tmp_path_factory.mktemp("log") / "walks.csv", walks()))


def trainer(
    log: EventLog,
    kind: Kind = Kind.SASREC,
    settings: RecommenderSettings = SETTINGS,
    **options: Path,
) -> RecommenderTrainer:
    shape = Shape(kind, dim=32, length=12)
    return RecommenderTrainer(
        new_weights(shape, len(log.items), 0),
        shape,
        len(log.items),
        training_histories(log, shape.length + 1 - shape.masked),
        held_out(log, VALIDATION),
        settings,
        report=lambda _: None,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", Kind)
def test_it_learns_what_follows(kind: Kind, log: EventLog) -> None:
    slower = replace(SETTINGS, patience=10)  # of a masked history fewer items are learnt
    trained = trainer(log, kind, slower if kind is Kind.BERT4REC else SETTINGS)
    test = held_out(log, TEST)
    before = trained.measure(test)
    weights = trained.run()
    after = trained.measure(test)
    assert before.ndcg < 0.1
    assert after.ndcg > 0.2  # of 15 items of a group, 6 are likely
    epochs = [epoch.ndcg for epoch in trained.epochs]
    patience = trained.settings.patience
    assert max(epochs[-patience:]) <= max(epochs[:-patience])  # ended when nothing improved
    assert trained.measure(trained.validation).ndcg == pytest.approx(max(epochs))  # the best
    assert weights.token_embeddings.shape == (len(log.items) + 2, 32)


def test_a_sampled_softmax_learns_it_too(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_IN_SOFTMAX", 10)
    monkeypatch.setattr(training, "NEGATIVES", 40)
    trained = trainer(log)
    trained.run()
    assert trained.measure(held_out(log, TEST)).ndcg > 0.3


def test_the_sampled_loss_is_the_full_one_on_average(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trainer(log)
    states, targets = torch.randn(64, 32), torch.randint(len(log.items), (64,))
    full = float(trained.loss(states, targets).detach())
    monkeypatch.setattr(training, "MOST_IN_SOFTMAX", 10)
    monkeypatch.setattr(training, "NEGATIVES", 20_000)
    assert float(trained.loss(states, targets).detach()) == pytest.approx(full, rel=0.01)


@pytest.mark.parametrize("kind", Kind)
def test_an_interrupted_training_goes_on(kind: Kind, log: EventLog, tmp_path: Path) -> None:
    """As if it had not been interrupted, to the bit but for dropout."""
    settings = replace(SETTINGS, dropout=0.0, patience=4)
    whole = trainer(log, kind, settings)
    expected = whole.run()
    state = tmp_path / "state"
    first = trainer(log, kind, settings, state=state)

    def stop(_epoch: training.Epoch) -> None:
        if len(first.epochs) == 2:
            raise KeyboardInterrupt

    first.report = stop
    with pytest.raises(KeyboardInterrupt):
        first.run()
    again = trainer(log, kind, settings, state=state)
    weights = again.run()
    assert [epoch.step for epoch in again.epochs] == [epoch.step for epoch in whole.epochs]
    for name, array in weights.arrays().items():
        np.testing.assert_allclose(array, expected.arrays()[name], atol=2e-4, err_msg=name)


def test_batches_grow_with_the_log() -> None:
    sizes = [training.batch_of(count) for count in (10, 22_000, 100_000, 10**7)]
    assert sizes == [128, 128, 500, 1024]


def test_long_histories_are_trained_on_whole(log: EventLog) -> None:
    shape = Shape(dim=32, length=4)
    pieces = training_histories(log, 5)
    assert max(map(len, pieces)) == 5
    trained = RecommenderTrainer(
        new_weights(shape, len(log.items), 0),
        shape,
        len(log.items),
        pieces,
        held_out(log, VALIDATION),
        replace(SETTINGS, patience=1),
        report=lambda _: None,
    )
    trained.run()


def test_the_command(run: Run, tmp_path: Path) -> None:
    """From a log to recommendations, by the command line."""
    log = write_log(tmp_path / "walks.csv", walks())
    home = str(tmp_path / "home")
    made = run(
        *("train-recommender", log, "-o", "model", "--dim", 32, "--minutes", 10, "--json"),
        TRIMSEEK_HOME=home,
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["items"] == len(read_events(log).items)
    assert told["measured"]["HR@10"] > 0.3
    assert "users have fewer than 3 events" in made.stderr
    again = run("train-recommender", log, "-o", "model")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    indexed = run("index", "model/items.jsonl", "--into", "shop", "--encoder", "model")
    assert indexed.returncode == 0, indexed.stderr
    found = run(
        *("recommend", "shop", "--history", "item 3", "--history", "item 5", "--history", "gone"),
        *("-k", 3, "--json"),
    )
    answer = json.loads(found.stdout)
    assert (answer["basis"], answer["unknown"]) == ("history", 1)
    groups = {int(hit["id"].split()[1]) // 15 for hit in answer["hits"]}
    assert groups == {0}
    assert not {hit["id"] for hit in answer["hits"]} & {"item 3", "item 5"}
    info = run("encoder", "info", "model").stdout
    assert "reads histories" in info


def test_a_log_that_nothing_can_be_learnt_from(run: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", [("a", "x", 1), ("a", "y", 2), ("b", "x", 1)])
    made = run("train-recommender", log, "-o", "model")
    assert made.returncode == 2
    assert "no user has 3 events" in made.stderr
    assert not (tmp_path / "model").exists()
