"""``trimseek encoder storage``: every way of storing an encoder, beside float32."""

import json
from pathlib import Path

from tests.compression.test_search import documents
from tests.conftest import Run, write_jsonl
from trimseek.compression.storage import stored
from trimseek.encoders import open_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.recipe import Recipe
from trimseek.encoders.shrink.sensitivity import sensitivities
from trimseek.encoders.tokens import TextTokenizer
from trimseek.eval.quality.collection import TestCollection


def test_each_choice_is_measured_and_smaller_than_float32(
    run: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"text": text} for text in documents(80)])
    words = ("encoder", "storage", tiny_encoder, "--texts", texts, "--json")
    done = run(*words, TRIMSEEK_RUNTIME="onnxruntime")  # which runs all of them
    assert done.returncode == 0, done.stderr
    comparisons = json.loads(done.stdout)
    sizes = {name: row["second"]["graph_bytes"] for name, row in comparisons.items()}
    assert max(sizes.values()) < comparisons["int8"]["first"]["graph_bytes"]
    assert sizes["int4"] < sizes["int8, int4 token table"] < sizes["int8"]
    assert sizes["int8"] < sizes["int8, 4 matrices in float32"]
    assert sizes["binary"] < sizes["ternary"] < sizes["2 bits"] < sizes["int4"]
    cosines = {name: row["cosine"] for name, row in comparisons.items()}
    assert 0.9 < cosines["int4"] < cosines["int8, int4 token table"] < cosines["int8"] < 1
    assert cosines["int4, to the nearest"] < cosines["int4"] < cosines["int4, int8 token table"]
    assert cosines["binary"] < cosines["ternary"] < cosines["2 bits"] < cosines["int4"]
    assert cosines["int8"] < cosines["int8, 4 matrices in float32"]
    assert len(comparisons["int8, 4 matrices in float32"]["quantization"]["kept"]) == 4
    assert len(comparisons["int4, 8 matrices in int8"]["quantization"]["finer"]) == 8
    for row in comparisons.values():
        assert 0 < row["overlap"] <= 1
        assert row["second"]["query_ms"] > 0

    assert not list(tmp_path.glob("trimseek-*"))
    assert open_encoder(tiny_encoder)  # the original is as it was


def test_what_stays_in_float_is_what_int8_hurts_most(tiny: Checkpoint) -> None:
    texts = dict(enumerate(documents(60)))
    trial = TestCollection("mine", {str(i): text for i, text in texts.items()}, {}, {})
    recipes = {"two": Recipe(kept_in_float=2)}
    kept = dict(stored(tiny, trial, recipes))["two"].quantization.kept
    tokens = TextTokenizer(tiny.tokenizer, tiny.max_tokens).encode(list(texts.values()))
    losses = sensitivities(tiny, [text.ids for text in tokens], Quantization())
    assert min(losses[name] for name in kept) >= max(
        loss for name, loss in losses.items() if name not in kept
    )


def test_a_missing_file_is_said(run: Run, tiny_encoder: Path) -> None:
    done = run("encoder", "storage", tiny_encoder, "--texts", "gone.jsonl")
    assert done.returncode == 2
    assert "gone.jsonl: cannot be read as text" in done.stderr
