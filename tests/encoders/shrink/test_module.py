"""The torch module beside the graph that runs, whatever the shape of each layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders import QueryEncoder, write_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.calibration import batches, embeddings
from trimseek.encoders.shrink.layers import keep_layers
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

TEXTS = ["split words", "the shell command for text", "a", "number of words in the list of files"]


def uneven(weights: EncoderWeights) -> EncoderWeights:
    """Another shape in each layer."""
    first, second = weights.layers
    first = NEURONS.keep(HEADS.keep(first, [0, 2], weights), [5, 3, 40], weights)
    return replace(weights, layers=(first, HEADS.keep(second, [3], weights)))


KINDS = {"plain": tiny_weights(), **STRUCTURES}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", Pooling)
def test_a_pruned_module_gives_what_its_graph_gives(
    tiny: Checkpoint, pooling: Pooling, kind: str, tmp_path: Path
) -> None:
    checkpoint = replace(tiny, weights=uneven(KINDS[kind]), pooling=pooling)
    card = write_encoder(
        checkpoint, tmp_path / "uneven", Quantization.everywhere(Precision.FLOAT32)
    )
    assert [(shape.heads, shape.neurons) for shape in card.layers] == [(2, 3), (1, 64)]
    encoder = QueryEncoder(tmp_path / "uneven")
    ids = [text.ids for text in encoder.tokenizer.encode(TEXTS)]
    module = EncoderModule(checkpoint.weights, pooling, normalize=True).eval()
    theirs = np.concatenate([module(*batch).detach().numpy() for batch in batches(ids)])
    longest_first = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    ours = encoder.encode([TEXTS[i] for i in longest_first]).vectors
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back_as_they_went_in(kind: str) -> None:
    weights = uneven(KINDS[kind])
    module = EncoderModule(weights, Pooling.MEAN, normalize=True, rank=3)
    assert module.weights().facts() == weights.facts()
    again = EncoderModule(module.weights(), Pooling.MEAN, normalize=True)
    ids = [[2, 7, 9, 3], [2, 30, 3]]
    torch.testing.assert_close(embeddings(again, ids), embeddings(module, ids))
    for name, array in module.weights().arrays().items():
        if name.startswith("layers."):
            np.testing.assert_array_equal(array, weights.arrays()[name])


def test_a_changed_token_table_comes_back_whole() -> None:
    module = EncoderModule(tiny_weights(), Pooling.MEAN, normalize=True, rank=3)
    with torch.no_grad():
        assert module.up is not None
        module.up.normal_()
    again = EncoderModule(module.weights(), Pooling.MEAN, normalize=True)
    ids = [[2, 7, 9, 3], [2, 30, 3]]
    torch.testing.assert_close(embeddings(again, ids), embeddings(module, ids))
    before = EncoderModule(tiny_weights(), Pooling.MEAN, normalize=True)
    assert (embeddings(again, ids) - embeddings(before, ids)).abs().max() > 0.01


def test_layers_are_kept_by_number(tiny: Checkpoint) -> None:
    assert keep_layers(tiny.weights, [1]).layers == (tiny.weights.layers[1],)
    for wrong in ([], [2], [-1, 0]):
        with pytest.raises(EncoderError, match="the encoder has layers 0 to 1"):
            keep_layers(tiny.weights, wrong)
