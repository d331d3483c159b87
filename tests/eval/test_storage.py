"""``trimseek encoder storage``: every way of storing an encoder, beside float32."""

import json
from pathlib import Path

from encoders import open_encoder
from encoders.checkpoint import Checkpoint
from encoders.quantize import Quantization
from encoders.shrink.sensitivity import sensitivities
from encoders.tokens import TextTokenizer
from eval.collection import TestCollection
from eval.storage import PROBED, storage_choices
from tests.conftest import Run, write_jsonl
from tests.eval.test_compress import documents


def test_each_choice_is_measured_and_smaller_than_float32(
    run: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"text": text} for text in documents(60)])
    words = ("encoder", "storage", tiny_encoder, "--texts", texts, "--json")
    done = run(*words, TRIMSEEK_RUNTIME="onnxruntime")  # which runs all of them
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sizes = {name: each["second"]["graph_bytes"] for name, each in found.items()}
    assert max(sizes.values()) < found["int8"]["first"]["graph_bytes"]
    assert sizes["int4"] < sizes["int8, int4 table"] < sizes["int8"] < sizes["int8, 4 in float32"]
    cosines = {name: each["cosine"] for name, each in found.items()}
    assert 0.9 < cosines["int4"] < cosines["int8, int4 table"] < cosines["int8"] < 1
    assert cosines["int8"] < cosines["int8, 4 in float32"]
    assert len(found["int8, 4 in float32"]["quantization"]["kept"]) == 4
    for each in found.values():
        assert 0 < each["overlap"] <= 1
        assert each["second"]["query_ms"] > 0

    assert not list(tmp_path.glob("trimseek-*"))
    assert open_encoder(tiny_encoder)  # the original is as it was


def test_what_stays_in_float_is_what_int8_hurts_most(tiny: Checkpoint) -> None:
    texts = dict(enumerate(documents(60)))
    trial = TestCollection("mine", {str(i): text for i, text in texts.items()}, {}, {})
    kept = storage_choices(tiny, trial)["int8, 2 in float32"].kept
    tokens = TextTokenizer(tiny.tokenizer, tiny.max_tokens).encode(list(texts.values())[:PROBED])
    losses = sensitivities(tiny, [each.ids for each in tokens], Quantization())
    assert min(losses[name] for name in kept) >= max(
        loss for name, loss in losses.items() if name not in kept
    )


def test_a_missing_file_is_said(run: Run, tiny_encoder: Path) -> None:
    done = run("encoder", "storage", tiny_encoder, "--texts", "gone.jsonl")
    assert done.returncode == 2
    assert "gone.jsonl: cannot be read as text" in done.stderr
