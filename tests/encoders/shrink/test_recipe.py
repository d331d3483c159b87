"""Recipes: matrices in more bits than the others, as many as a size allows."""

from dataclasses import replace
from pathlib import Path

import pytest

from trimseek.encoders import write_encoder
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.folder import graph_bytes
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Recipe, Shrinker, size_of
from trimseek.encoders.shrink.sensitivity import product_names
from trimseek.errors import ConfigError

INT4 = Quantization.everywhere(Precision.INT4)
TEXTS = ["the shell command", "the file of the list", "split text for the file"] * 120


@pytest.fixture(scope="module")
def shrinker(tiny: Checkpoint) -> Shrinker:
    return Shrinker(tiny, [text.ids for text in tokenizer_of(tiny).encode(TEXTS)])


def test_as_many_matrices_in_int8_as_a_size_allows(
    tiny: Checkpoint, shrinker: Shrinker, tmp_path: Path
) -> None:
    names = product_names(tiny.weights)
    sizes = [size_of(tiny, INT4)]
    for count in range(1, len(names) + 1):
        chosen = shrinker.shrink(Recipe(quantization=INT4, kept_in_int8=count)).quantization
        assert len(chosen.finer) == count
        sizes.append(size_of(tiny, chosen))
    for size in sizes:
        for spare in (0, 1):  # bytes
            recipe = Recipe(quantization=INT4, megabytes=(size + spare) / 1e6)
            shrunk = shrinker.shrink(recipe)
            most = max(i for i, other in enumerate(sizes) if other <= size + spare)
            assert len(shrunk.quantization.finer) == most
            assert size_of(shrunk.checkpoint, shrunk.quantization) <= size + spare
    folder = tmp_path / "small"
    write_encoder(shrunk.checkpoint, folder, shrunk.quantization)
    assert graph_bytes(folder) == size_of(shrunk.checkpoint, shrunk.quantization)


def test_the_table_that_is_left_counts(tiny: Checkpoint, shrinker: Shrinker) -> None:
    counting = Shrinker(tiny, shrinker.texts, TEXTS)
    recipe = Recipe(quantization=INT4, vocabulary=40)
    cut = counting.shrink(recipe).checkpoint
    every = size_of(cut, replace(INT4, finer=tuple(product_names(tiny.weights))))
    shrunk = counting.shrink(replace(recipe, megabytes=every / 1e6))
    assert len(shrunk.quantization.finer) == len(product_names(tiny.weights))
    whole = counting.shrink(Recipe(quantization=INT4, megabytes=every / 1e6))
    assert len(whole.quantization.finer) < len(shrunk.quantization.finer)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(quantization=INT4, megabytes=0.001), "megabytes 0.001: 0.0 without any matrix"),
        (Recipe(quantization=INT4, megabytes=-1), "megabytes -1: must not be negative"),
        (Recipe(quantization=INT4, megabytes=float("nan")), "must not be negative"),
        (Recipe(megabytes=10), "megabytes: goes with matrices in fewer than 8 bits"),
        (Recipe(quantization=INT4, megabytes=10, kept_in_int8=1), "give one of the two"),
    ],
)
def test_what_cannot_be_is_refused(recipe: Recipe, message: str, shrinker: Shrinker) -> None:
    with pytest.raises(ConfigError, match=message):
        shrinker.shrink(recipe)
