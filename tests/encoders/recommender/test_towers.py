"""A recommender as an encoder folder: histories to vectors as torch has them, items to rows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import as_checkpoint, write_encoder
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.recommender.items import KnownItems, history_text
from trimseek.encoders.recommender.towers import Kind, Shape, new_weights, recommender
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.errors import ConfigError

ITEMS = ["a, b", "[MASK]", "[UNK]", " x ", "Zürich", *(f"i{n}" for n in range(300))]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.INT8])
def test_vectors_are_those_of_torch(kind: Kind, precision: Precision, tmp_path: Path) -> None:
    weights = new_weights(Shape(kind, dim=32, length=20), len(ITEMS), 1)
    folder = tmp_path / "recommender"
    made = recommender(weights, ITEMS, "recommender", kind)
    card = write_encoder(made, folder, Quantization.everywhere(precision))
    assert card.items
    assert card.query_tower
    queries, documents = QueryEncoder(folder), DocumentEncoder(folder)
    assert queries.card.histories
    assert queries.card.space == card.space
    rows = documents.encode([*ITEMS, "nobody knows it"]).vectors
    near = 1e-6 if precision is Precision.FLOAT32 else 0.002
    np.testing.assert_allclose(rows[:-1], weights.token_embeddings[: len(ITEMS)], atol=near)
    np.testing.assert_allclose(rows[-1], weights.token_embeddings[: len(ITEMS)].mean(0), atol=near)
    histories = [["i1", "i2", "i3"], ["a, b"], ["[UNK]", " x ", "[MASK]"], ITEMS[:60]]
    read = as_checkpoint(folder).query
    assert read is not None
    module = EncoderModule(read.weights, Pooling.LAST, normalize=False).eval()
    after = [len(ITEMS) + 1] if kind is Kind.BERT4REC else []
    vectors = queries.encode([history_text(each) for each in histories]).vectors
    for vector, history in zip(vectors, histories, strict=True):
        ids = [ITEMS.index(item) for item in history][-20:] + after
        expected = module(torch.tensor([ids])).detach().numpy()[0]
        length = float(np.linalg.norm(expected))
        assert np.abs(vector - expected).max() < (1e-5 if near < 1e-5 else 0.02) * length


def test_the_latest_items_count_and_unknown_ones_do_not(tmp_path: Path) -> None:
    weights = new_weights(Shape(dim=32, length=5), len(ITEMS), 1)
    write_encoder(
        recommender(weights, ITEMS, "r", Kind.SASREC),
        tmp_path / "r",
        Quantization.everywhere(Precision.FLOAT32),
    )
    encoder = QueryEncoder(tmp_path / "r")
    latest = [f"i{n}" for n in range(5)]
    plain = encoder.encode([history_text(latest)])
    long = encoder.encode([history_text(["i200", "i201", *latest])])
    unknown = encoder.encode([history_text(["i0", "gone", *latest[1:], "nor this"])])
    huge = encoder.encode([history_text([*("y" * 400 for _ in range(20)), *latest])])
    for other in (long, unknown, huge):
        np.testing.assert_array_equal(other.vectors, plain.vectors)
    assert (plain.truncated, long.truncated) == (0, 1)
    assert not np.array_equal(encoder.encode([history_text(latest[::-1])]).vectors, plain.vectors)


def test_no_half_of_an_item_is_read(tmp_path: Path) -> None:
    """A history that is longer than could be read is cut between two items."""
    items = ["y" * 500, "y" * 499, *(f"i{n}" for n in range(9))]
    weights = new_weights(Shape(dim=32, length=4), len(items), 1)
    write_encoder(recommender(weights, items, "r", Kind.SASREC), tmp_path / "r", Quantization())
    encoder = QueryEncoder(tmp_path / "r")
    text = history_text([items[0], items[0], items[0], "i1"])  # 4 * 128 characters are looked at
    alone = encoder.encode([history_text([items[0], "i1"])])
    np.testing.assert_array_equal(encoder.encode([text]).vectors, alone.vectors)


def test_items_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    weights = new_weights(Shape(dim=32), len(ITEMS), 1)
    write_encoder(recommender(weights, ITEMS, "r", Kind.BERT4REC), tmp_path / "r", Quantization())
    known = KnownItems(tmp_path / "r" / "tokenizer.json")
    assert known.by_popularity == ITEMS
    assert "a, b" in known
    assert "\nmask" not in known
    assert "gone" not in known


@pytest.mark.parametrize("shape", [Shape(dim=30, heads=4), Shape(layers=0), Shape(length=0)])
def test_shapes_that_cannot_be(shape: Shape) -> None:
    with pytest.raises(ConfigError, match="give counts above 0"):
        new_weights(shape, 10, 0)
