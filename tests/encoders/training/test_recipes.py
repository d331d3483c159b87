"""What each encoder learns, and that the command trains one from texts to a file."""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared
from trimseek.atomic import sha256_of
from trimseek.encoders.aligned import load_aligned, read_provenance
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.training import __main__ as command
from trimseek.encoders.training.corpus import Corpus, Document
from trimseek.encoders.training.recipes import TRAININGS, held_out_texts, training_texts
from trimseek.settings import load_settings

LONG = " ".join(f"The word number {i} of it is long." for i in range(5))
DOCUMENTS = [Document("news", f"Title {i}", f"{i} {LONG}") for i in range(30)]


@pytest.mark.parametrize("name", TRAININGS)
def test_texts_of_a_role(name: str) -> None:
    training = TRAININGS[name]
    texts = training_texts(training, DOCUMENTS)
    assert texts == training_texts(training, DOCUMENTS)
    assert len(set(texts)) == len(texts)
    assert DOCUMENTS[0].whole in texts
    held_out = held_out_texts(training, Corpus([], DOCUMENTS, {}))
    assert list(held_out) == ["news"]
    whole = {document.whole for document in DOCUMENTS}
    assert (set(held_out["news"]) == whole) == (training.role == "document")


@pytest.mark.usefixtures("minilm")
def test_an_encoder_from_texts_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = tmp_path / "text"
    texts.mkdir()
    source = shared("text") / "passages.jsonl.gz"
    with gzip.open(source, "rt") as lines, gzip.open(texts / source.name, "wt") as file:
        file.writelines(line for line, _ in zip(lines, range(400), strict=False))
    # not the user's own, where a training of that name may wait to be resumed
    own = load_settings().model_copy(update={"home": tmp_path})
    monkeypatch.setattr(command, "load_settings", lambda: own)
    short = replace(TRAININGS["minilm-dash"], joined=200)
    monkeypatch.setitem(TRAININGS, "minilm-dash", short)
    monkeypatch.setattr(sys, "argv", ["train", "minilm-dash", str(texts), "--steps", "3"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--into", str(tmp_path / "out")])
    command.main()
    path = tmp_path / "out" / "minilm-dash.safetensors"
    made = read_provenance(path)
    assert made.made["command"].endswith("minilm-dash TEXTS --steps 3")
    assert list(made.files) == [source.name]
    assert "held-out" in json.dumps(made.made)
    again = ["train", "minilm-dash", str(texts), "--steps", "2", "--from", str(path)]
    again += ["--into", str(tmp_path / "again"), "--mean", "0.25", "--most", "1500"]
    monkeypatch.setattr(sys, "argv", again)
    command.main()
    base = read_checkpoint(find_checkpoint("minilm"), "minilm")
    before, after = (
        load_aligned(each / "minilm-dash.safetensors", base).weights
        for each in (tmp_path / "out", tmp_path / "again")
    )
    change = np.abs(after.layers[0].output.weight - before.layers[0].output.weight).max()
    assert 0 < change < 0.02
    further = read_provenance(tmp_path / "again" / "minilm-dash.safetensors").made
    assert further["shape"] == made.made["shape"]
    assert "25% of it in a mean with what it began from" in further["training"]
    assert f"sha256 {sha256_of(path)}" in further["begun with"]
    checkpoint = load_aligned(path, read_checkpoint(find_checkpoint("minilm"), "minilm"))
    assert len(checkpoint.weights.layers) == 1
