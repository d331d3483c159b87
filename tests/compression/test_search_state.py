"""A search that was interrupted goes on: what was measured and trained is not again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.compression.test_search import documents
from trimseek.compression.budget import Measurement
from trimseek.compression.candidates import Compressor
from trimseek.compression.compress import compress
from trimseek.compression.search_state import SearchState
from trimseek.compression.trial import unlabelled_trial
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.recipe import Shrunk
from trimseek.eval.quality.significance import Interval

MEASUREMENT = Measurement(
    "keep 50%", "s", 7, 0.5, 4.0, 0.01, Interval(0.0, 0.02), Interval(-0.1, 0.1), 9, True, 1.5
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def state(tiny: Checkpoint, options: str = "") -> SearchState:
    half = unlabelled_trial(documents(120), "texts").choosing
    return SearchState(tiny, tiny, half, options)


def test_candidates_are_kept(tiny: Checkpoint) -> None:
    first = state(tiny)
    shrunk = Shrunk(tiny, Quantization(kept=("a",)), ("prune",))
    first.keep("one", shrunk, MEASUREMENT, trained=False)
    trained = replace(MEASUREMENT, recipe="keep 50%, aligned")
    first.keep("two", shrunk, trained, trained=True)
    again = state(tiny)
    assert again.measured("one") == MEASUREMENT
    assert again.measured("two") is None  # it is one that was trained
    ((measurement, found),) = again.trained()
    assert measurement == trained
    assert (found.quantization, found.steps) == (shrunk.quantization, shrunk.steps)
    for name, array in tiny.weights.arrays().items():
        np.testing.assert_array_equal(found.checkpoint.weights.arrays()[name], array)
    assert state(tiny, "other").measured("one") is None
    again.remove()
    assert state(tiny).measured("one") is None
    assert not list(state(tiny).trained())


def test_damaged_files_are_left_out(tiny: Checkpoint) -> None:
    kept = state(tiny)
    shrunk = Shrunk(tiny, Quantization(), ())
    for key in ("one", "two"):
        kept.keep(key, shrunk, MEASUREMENT, trained=True)
    kept.keep("three", shrunk, MEASUREMENT, trained=False)
    weights = sorted(kept.folder.glob("*.safetensors"))
    weights[0].write_bytes(b"no weights")
    weights[1].with_suffix(".json").write_text("{")
    assert not list(kept.trained())
    for path in kept.folder.glob("*.json"):
        path.write_text(json.dumps({"measurement": 1}))
    assert kept.measured("three") is None


def test_an_interrupted_search_goes_on(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    measured: list[str] = []
    original = Compressor.measure

    def counted(self: Compressor, shrunk: Shrunk, name: str, began: float) -> object:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(name)
        return original(self, shrunk, name, began)

    monkeypatch.setattr(Compressor, "measure", counted)
    texts = documents(120)

    def search() -> None:
        compress(tiny_encoder, tmp_path / "small", texts=texts, max_loss=0.9, minutes=1)

    with pytest.raises(KeyboardInterrupt):
        search()
    assert len(measured) == 2
    assert list((home / "searches").glob("*/*.json"))
    first, told = list(measured), []
    monkeypatch.setattr(Compressor, "measure", original)
    made = compress(
        tiny_encoder,
        tmp_path / "small",
        texts=texts,
        max_loss=0.9,
        minutes=1,
        measured=lambda number, measurement: told.append((number, measurement.recipe)),
    )
    assert [each.recipe for each in made.tried][:2] == first
    assert [number for number, _ in told] == list(range(1, len(told) + 1))
    assert [name for _, name in told][:2] == first
    assert not list((home / "searches").glob("*"))
