"""Aligned encoders: stored as what differs from their base, whole again with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import tiny_checkpoint
from trimseek.encoders import Quantization, QueryEncoder, find_encoder, open_encoder, write_encoder
from trimseek.encoders.aligned import (
    Provenance,
    aligned_names,
    load_aligned,
    read_provenance,
    save_aligned,
)
from trimseek.encoders.catalog import read_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.cpu import SATURATING, int8_path
from trimseek.encoders.shrink.layers import keep_layers
from trimseek.encoders.weights import EncoderWeights, FloatArray
from trimseek.errors import EncoderError

TEXTS = ["split words", "the shell command for text", "a", "number of words in the list of files"]


def changed(base: Checkpoint) -> tuple[EncoderWeights, FloatArray, FloatArray]:
    """One layer of the base, and another token table."""
    chosen = np.random.default_rng(0)
    size, dim = base.weights.token_embeddings.shape
    up = chosen.standard_normal((size, 4)).astype(np.float32)
    down = (0.1 * chosen.standard_normal((4, dim))).astype(np.float32)
    table = base.weights.token_embeddings + up @ down
    weights = replace(
        keep_layers(base.weights, [1]), token_embeddings=table, token_type_embeddings=None
    )
    return weights, up, down


def saved(base: Checkpoint, path: Path) -> Path:
    made = {"texts": "none", "command": "none"}
    save_aligned(*changed(base), Provenance(base.name, base.sha256, made), path)
    return path


def test_what_is_stored_is_the_encoder_that_runs(tiny: Checkpoint, tmp_path: Path) -> None:
    again = load_aligned(saved(tiny, tmp_path / "a.safetensors"), tiny)
    original = replace(tiny, weights=changed(tiny)[0])
    vectors = []
    for name, checkpoint in (("again", again), ("original", original)):
        write_encoder(checkpoint, tmp_path / name, Quantization())
        vectors.append(QueryEncoder(tmp_path / name).encode(TEXTS).vectors)
    # without VNNI, weights or activations have 7 bits
    least = 0.999 if int8_path() in SATURATING else 0.9995
    assert (vectors[0] * vectors[1]).sum(1).min() > least
    # int8 matrices are stored as they run: quantizing what was read back changes nothing
    twice = load_aligned(saved(replace(tiny, weights=tiny.weights), tmp_path / "b.st"), tiny)
    for name, array in twice.weights.arrays().items():
        if name != "position_embeddings":
            np.testing.assert_array_equal(array, again.weights.arrays()[name])
    assert (tmp_path / "a.safetensors").stat().st_size < 60_000


def test_only_its_own_base_will_do(tiny: Checkpoint, tmp_path: Path) -> None:
    path = saved(tiny, tmp_path / "a.safetensors")
    assert read_provenance(path).base == tiny.name
    with pytest.raises(EncoderError, match="aligned to another checkpoint than tiny-1"):
        load_aligned(path, tiny_checkpoint(seed=1))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EncoderError, match="not an aligned encoder"):
        read_provenance(path)


@pytest.mark.parametrize("name", aligned_names())
def test_those_of_the_package_find_what_their_base_finds(name: str, minilm: Path) -> None:
    small = QueryEncoder(find_encoder(name))
    card, base = open_encoder(find_encoder(name)), QueryEncoder(minilm)
    assert card.space == base.card.space
    assert any(step.startswith("command: python -m ") for step in card.recipe)
    passages = [
        "str.split: Return a list of the words in the string.",
        "The heart pumps blood through the arteries.",
        "Interest rates are set by the central bank.",
        "Photosynthesis turns light into chemical energy.",
    ]
    questions = [
        "how do I cut a text into words?",
        "what moves blood around the body",
        "who decides about the price of money",
        "how plants use the sun",
    ]
    scores = small.encode(questions).vectors @ base.encode(passages).vectors.T
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]


def test_an_aligned_encoder_is_small_and_starts_from_its_name() -> None:
    assert "minilm-swift" in aligned_names()
    checkpoint, steps = read_encoder("minilm-swift")
    assert len(checkpoint.weights.layers) == 3
    assert steps
