"""``trimseek compress`` from the command line, on a tiny encoder; its searches without one."""

import json
import math
import random
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, write_jsonl
from tests.tiny import WORDS, tiny_checkpoint, tiny_weights
from trimseek.compression.budget import Budget, Measurement
from trimseek.compression.candidates import Compressor, EncoderCandidate
from trimseek.compression.commands import compress as compress_command
from trimseek.compression.query_matcher import QueryMatcher
from trimseek.compression.search import best_of, search
from trimseek.compression.trial import unlabelled_trial
from trimseek.encoders import open_encoder, write_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.recipe import Recipe, Shrunk
from trimseek.encoders.unlabelled import read_unlabelled, sentences, spans
from trimseek.errors import CorpusError, OutOfTimeError, TrimseekError
from trimseek.eval.quality.known_items import known_items
from trimseek.eval.quality.significance import Interval
from trimseek.time_limit import time_limit


def documents(count: int) -> list[str]:
    """Texts of three sentences, of words that the tiny encoder knows and of numbers."""
    chosen = random.Random(1)
    words = [*WORDS, *(f"{a}{b}" for a in "abcdefghij" for b in range(10))]
    return [
        " ".join(" ".join(chosen.choices(words, k=7)).capitalize() + "." for _ in range(3))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"title": "", "text": text} for text in documents(120)]
    return write_jsonl(tmp_path_factory.mktemp("texts") / "texts.jsonl", rows)


def compress(run: Run, encoder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return run("compress", encoder, "-o", "small", *words)


def test_a_shape_is_made_and_measured(
    run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    done = compress(
        run, tiny_encoder, "--texts", texts, "--heads", 2, "--neurons", 40, "--layers", "0,1"
    )
    assert done.returncode == 0, done.stderr
    card = open_encoder(tmp_path / "small")
    assert [(layer.heads, layer.neurons) for layer in card.layers] == [(2, 40)] * 2
    assert card.space == open_encoder(tiny_encoder).space
    assert card.recipe[1] == "prune by obs to 2 heads and 40 neurons in each layer"
    measured = card.measured
    assert measured["loss_low"] < measured["loss_expected_low"] < measured["loss"]
    assert measured["loss"] < measured["loss_expected_high"] < measured["loss_high"]
    assert (measured["loss_confidence"], measured["loss_judged"]) == (0.95, 0)
    (tried,) = json.loads((tmp_path / "small" / "tried.json").read_text())
    assert tried["loss"] == measured["chosen_loss"] != measured["loss"]
    assert "queries made from the texts that did not choose it" in done.stderr
    assert "<svg" in (tmp_path / "small" / "tried.svg").read_text()
    shown = run("encoder", "info", "small").stdout
    assert "2: 2 heads and 40 neurons in each layer" in shown
    assert "measured    loss " in shown

    # an index of the original answers queries of the small one
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "1", "text": "split words in the shell"}])
    assert run("index", corpus, "--into", "i", "--encoder", tiny_encoder).returncode == 0
    answer = run("search", "i", "shell words", "--query-encoder", "small", "--json")
    assert json.loads(answer.stdout)["hits"][0]["id"] == "1", answer.stdout

    compared = run("encoder", "compare", tiny_encoder, "small", "--texts", texts, "--json")
    sides = json.loads(compared.stdout)
    assert sides["second"]["graph_bytes"] < sides["first"]["graph_bytes"]
    assert 0 < sides["overlap"] < 1
    same = run("encoder", "compare", tiny_encoder, tiny_encoder, "--texts", texts, "--json")
    assert json.loads(same.stdout)["cosine"] == pytest.approx(1)


def test_the_fastest_within_a_loss_is_found(
    run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    done = compress(
        run, tiny_encoder, "--texts", texts, "--max-loss", "30%", "--minutes", 0.5, "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["best"]["expected"][0] <= 0.3
    assert len(answer["tried"]) > 1
    (chosen,) = (each for each in answer["tried"] if each["recipe"] == answer["best"]["recipe"])
    assert chosen["expected"][1] <= 0.3
    assert open_encoder(tmp_path / "small").measured["loss"] == answer["best"]["loss"]


def test_a_student_of_another_width_asks_the_bases_index(
    run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    weights = tiny_weights(seed=7, dim=24, heads=(3,), neurons=48)
    student = replace(tiny_checkpoint(7, weights=weights), pooling=Pooling.MAX)
    write_encoder(student, tmp_path / "student", Quantization())
    words = ("--texts", texts, "--query-only", "--student", "student", "--precision", "int8")
    done = compress(run, tiny_encoder, *words)
    assert done.returncode == 0, done.stderr
    small, base = open_encoder(tmp_path / "small"), open_encoder(tiny_encoder)
    assert (small.dim, small.vector_dim, len(small.layers)) == (24, base.vector_dim, 1)
    assert small.space == base.space
    assert small.base == "tiny-7"
    lost = small.measured["loss"]
    assert 0 < lost < 0.9
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "1", "text": "split words in the shell"}])
    assert run("index", corpus, "--into", "i", "--encoder", tiny_encoder).returncode == 0
    answer = run("search", "i", "shell words", "--query-encoder", "small", "--json")
    assert json.loads(answer.stdout)["hits"][0]["id"] == "1", answer.stdout
    again = run("encoder", "compare", tiny_encoder, "small", "--texts", texts, "--json")
    assert json.loads(again.stdout)["query_cosine"] > 0.3

    alone = compress(
        run,
        tiny_encoder,
        "-o",
        "other",
        "--texts",
        texts,
        "--student",
        "student",
        "--precision",
        "int8",
    )
    assert alone.returncode == 2
    assert "--student: is for queries of what the base embeds; add --query-only" in alone.stderr


def test_a_recipe_is_followed(run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path) -> None:
    recipe = {
        "layers": 1,
        "method": "taylor",
        "allocation": "uniform",
        "keep": 0.5,
        "sparsity": 0.25,
        "quantization": {"matrices": "int8", "table": "int4"},
        "kept_in_float": 1,
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    done = compress(run, tiny_encoder, "--texts", texts, "--recipe", "recipe.json")
    assert done.returncode == 0, done.stderr
    card = open_encoder(tmp_path / "small")
    assert [(layer.heads, layer.neurons) for layer in card.layers] == [(2, 32)]
    assert len(card.quantization.kept) == 1
    assert card.quantization.table.value == "int4"
    assert any(step.startswith("zero 25.0%") for step in card.recipe)


def test_a_budget_that_cannot_be_met_writes_nothing(
    run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    done = compress(run, tiny_encoder, "--texts", texts, "--max-ms", 0.0001, "--minutes", 1)
    assert done.returncode == 2
    assert "no encoder has 0.0001 ms a query; the closest found: 1 layer" in done.stderr
    assert not (tmp_path / "small").exists()


class Hurried(Compressor):
    """Has time for so many candidates, and runs out of it within the next."""

    time_for = 1

    def attempt(self, recipe: Recipe, name: str) -> EncoderCandidate:
        ends = time.monotonic() if len(self.candidates) == self.time_for else math.inf
        with time_limit(ends):
            return super().attempt(recipe, name)


def test_what_was_measured_when_the_time_is_over_counts(
    tiny: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = documents(60)
    trial = unlabelled_trial(texts, "mine")
    hurried = Hurried(tiny, trial, texts, [], Budget(max_loss=0.9), tmp_path / "a")
    assert search(hurried) is hurried.candidates[0]
    assert [candidate.measurement.recipe for candidate in hurried.candidates] == ["2 layers, int8"]
    assert "the time is over" in capsys.readouterr().err

    hurried.state.remove()  # else the same search would go on
    hurried = Hurried(tiny, trial, texts, [], Budget(max_loss=0.9), tmp_path / "b")
    hurried.time_for = 0
    with pytest.raises(OutOfTimeError):
        search(hurried)


def test_minutes_that_are_too_few_for_anything_are_said(
    run: Run, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    done = compress(run, tiny_encoder, "--texts", texts, "--max-loss", "5%", "--minutes", 0.0001)
    assert done.returncode == 2
    assert "minutes 0.0001 was too little to encode 120 texts" in done.stderr
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": "1%"}, "no calibration text; give --texts FILE"),
        ({"max_loss": "1%", "texts": "empty.txt"}, "empty.txt: no text in it"),
        ({"max_loss": "1%", "texts": "binary.txt"}, "binary.txt: cannot be read as text"),
        ({"max_loss": "1%", "texts": "few.txt"}, "are too few"),
        ({"max_loss": "1%", "texts": "gone.txt"}, "gone.txt: cannot be read as text: .*No such"),
        ({"max_loss": "much", "texts": "few.txt"}, "--max-loss much: give a share such as 1%"),
        ({"confidence": "sure", "max_loss": "1%"}, "--confidence sure: give a share such as 95%"),
        ({"confidence": "0", "max_loss": "1%"}, "confidence 0: must be between 0 and 1"),
        ({"speedup": "-3x", "texts": "few.txt"}, "--speedup: give a number above 0"),
        ({"texts": "few.txt"}, "say what to keep to"),
        ({"max_loss": "1%", "heads": 2, "texts": "few.txt"}, "one of the two"),
        ({"heads": 0}, "layer 0: cannot keep 0 heads; it has 4"),
        ({"neurons": 65}, "cannot keep 65 neurons; it has 64"),
        ({"layers": "0,7"}, "the encoder has layers 0 to 1"),
        ({"layers": "x"}, "--layers x: give a count"),
        ({"recipe": "recipe.json"}, "recipe.json: keep: input should be"),
        ({"heads": 2, "minutes": 0.0}, "minutes 0: must be more"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    options: dict[str, Any], message: str, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01" * 50)
    (tmp_path / "few.txt").write_text("a text of a few words only\n" * 3)
    (tmp_path / "recipe.json").write_text('{"keep": "half"}')
    files = {name: tmp_path / options[name] for name in ("texts", "recipe") if name in options}
    if not options.keys() & {"texts", "max_loss"} or "confidence" in options:
        files["texts"] = texts
    with pytest.raises(TrimseekError, match=message) as raised:
        compress_command(str(tiny_encoder), tmp_path / "small", **(options | files))
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert not (tmp_path / "small").exists()


def test_without_torch_the_extra_is_named(run_process: Run, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('none', name='torch')")
    done = run_process("compress", "minilm", "-o", "small", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'trimseek[compress]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_known_items_are_sentences_taken_out_of_their_documents() -> None:
    trial = known_items(documents(120), "mine")
    assert len(trial.documents) == len(trial.queries) == 120
    for query, text in trial.queries.items():
        (document,) = trial.qrels[query]
        assert text not in trial.documents[document]
        assert len(trial.documents[document].split()) == 14
    with pytest.raises(CorpusError, match="mine: 40 texts .* too few"):
        known_items(documents(40), "mine")


def test_a_text_without_ends_of_sentences_is_cut_into_runs_of_words() -> None:
    texts = [" ".join(f"w{i}x{j}" for j in range(60)) for i in range(60)]
    trial = known_items(texts, "mine")
    assert len(trial.queries) == 60
    for query, text in trial.queries.items():
        (document,) = trial.qrels[query]
        assert 3 <= len(text.split()) <= 8
        assert text not in trial.documents[document]
        assert len(trial.documents[document].split()) == 40


def test_queries_are_recognized_within_texts() -> None:
    matcher = QueryMatcher(["how many words", "cat", "a b c d"])
    for text in ("tell me how many words", "a cat sat", "x a b c d", "how many words"):
        assert matcher.occurs_in(text.split())
    for text in ("how many", "many words how", "cats", "a b c", ""):
        assert not matcher.occurs_in(text.split())


def test_a_budget_is_met_by_all_it_names() -> None:
    measurement = candidate_measurement("r", 0.01, 0.02)
    assert Budget(max_loss=0.02, speedup=4, max_ms=2).met_by(measurement)
    for worse in (
        *(Budget(max_loss=0.019), Budget(speedup=4.1), Budget(max_ms=1.9)),
        Budget(max_mb=0.0000009),
    ):
        assert not worse.met_by(measurement)


def candidate_measurement(
    name: str, loss: float, high: float, speedup: float = 4.0, ms: float = 2.0
) -> Measurement:
    expected = Interval(0, high)
    return Measurement(
        name, "s", 1, ms, speedup, loss, expected, expected, 500, judged=False, seconds=1
    )


def candidate(name: str, loss: float, speedup: float, tiny: Checkpoint) -> EncoderCandidate:
    measurement = candidate_measurement(name, loss, loss, speedup, 1 / speedup)
    return EncoderCandidate(measurement, lambda: Shrunk(tiny, Quantization(), ()))


def test_the_best_is_the_fastest_within_the_loss_or_loses_least(tiny: Checkpoint) -> None:
    candidates = [
        candidate(name, loss, speedup, tiny)
        for name, loss, speedup in (("slow", 0.01, 2), ("fair", 0.04, 4), ("fast", 0.2, 9))
    ]
    for budget, name in (
        (Budget(max_loss=0.05), "fair"),
        (Budget(max_loss=0.05, speedup=3), "fair"),
        (Budget(speedup=3), "fair"),
        (Budget(speedup=1), "slow"),
        (Budget(max_ms=0.2), "fast"),
        # none has these; the closest
        (Budget(max_loss=0.001), "slow"),
        (Budget(max_loss=0.05, speedup=10), "fair"),
        (Budget(max_loss=0.05, speedup=6), "fast"),
        (Budget(speedup=10), "fast"),
    ):
        assert best_of(candidates, budget).measurement.recipe == name, budget


def test_unlabelled_text_is_lines_or_rows(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_text('plain text\n\n{"title": "T", "text": "a row"}\n{"text": " "}\n')
    assert [tuple(line) for line in read_unlabelled(path)] == [("", "plain text"), ("T", "a row")]
    path.write_text('{"body": "x"}\n')
    with pytest.raises(CorpusError, match="mixed.txt:1: not a JSON object with a text"):
        read_unlabelled(path)


def test_sentences_and_spans() -> None:
    assert sentences("One is here. Two is there! 3 e.g. this? yes") == [
        "One is here.",
        "Two is there!",
        "3 e.g. this? yes",
    ]
    text = "a b c d e f g h i j k l"
    for span in spans([text], 50, seed=1):
        assert span in text
        assert 2 <= len(span.split()) <= 10
