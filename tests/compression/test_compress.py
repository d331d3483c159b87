"""``trimseek.compress`` as a program calls it."""

from pathlib import Path

import pytest

import trimseek
from tests.compression.test_search import documents
from trimseek.encoders.shrink.recipe import Recipe
from trimseek.errors import ConfigError


def test_what_was_made_is_returned_and_loads(tmp_path: Path, tiny_encoder: Path) -> None:
    made = trimseek.compress(
        tiny_encoder, tmp_path / "small", texts=documents(60), recipe=Recipe(layers=1)
    )
    assert made.folder == tmp_path / "small"
    assert len(made.card.layers) == 1
    assert [each.recipe for each in made.tried] == [made.best.recipe]
    assert made.best.interval.low <= made.best.loss <= made.best.interval.high
    assert made.best.loss == made.card.measured["loss"]
    small, original = trimseek.load_encoder(made.folder), trimseek.load_encoder(tiny_encoder)
    texts = ["split words", "a shell command"]
    assert small.encode_queries(texts).shape == original.encode_documents(texts).shape


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, tiny_encoder: Path) -> None:
    (tmp_path / "small").mkdir()
    with pytest.raises(ConfigError, match="small: exists already"):
        trimseek.compress(tiny_encoder, str(tmp_path / "small"), recipe=Recipe(layers=1))
    assert not list((tmp_path / "small").iterdir())
