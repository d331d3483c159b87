"""Ranges of activations that are calibrated, and channels that are made alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders import write_encoder
from trimseek.encoders.card import INPUTS_VERSION
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import GRAPH, as_checkpoint, graph_of, open_encoder
from trimseek.encoders.onnx_runtime import run_batches
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import ACTIVATION_LEVELS, Precision, Quantization
from trimseek.encoders.shrink.calibration import embeddings
from trimseek.encoders.shrink.input_ranges import (
    MatrixInputs,
    best_range,
    calibrate_inputs,
    matrix_inputs,
    recalibrated,
    smooth_factors,
)
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.recipe import Recipe, Shrinker
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import EncoderWeights, FloatArray
from trimseek.errors import ConfigError, EncoderError

KINDS = {"bert": tiny_weights(), **STRUCTURES}


def by_graph(checkpoint: Checkpoint, quantization: Quantization) -> FloatArray:
    graph = graph_of(checkpoint, quantization).SerializeToString()
    texts = [Tokens(ids, False) for ids in calibration(40, seed=3)]
    return run_batches(onnxruntime.InferenceSession(graph), texts)


def outlying(weights: EncoderWeights) -> EncoderWeights:
    """A few channels of what the layers read are fifty times as large as the others."""
    layers = []
    for layer in weights.layers:
        scale, shift = layer.output_norm.weight.copy(), layer.output_norm.bias.copy()
        scale[:3] *= 50
        shift[:3] *= 50
        layers.append(
            replace(layer, output_norm=layer.output_norm._replace(weight=scale, bias=shift))
        )
    return replace(weights, layers=tuple(layers))


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_has_a_range_of_what_it_reads(kind: str) -> None:
    weights = KINDS[kind]
    found = calibrate_inputs(weights, calibration(), ranges=True)
    assert len(found.inputs) == 8
    for read in matrix_inputs(weights, calibration()):
        low, high = found.inputs[f"{read.name}.range"]
        assert min(read.least.min(), 0) <= low <= 0 <= high <= max(read.most.max(), 0)
        inside = (read.rows >= low) & (read.rows <= high)
        assert inside.mean() > 0.98


def test_a_range_leaves_out_what_makes_all_else_coarse() -> None:
    draw = np.random.default_rng(1)
    rows = draw.standard_normal((50_000, 8)).astype(np.float32)
    rows[0, 0], rows[1, 1] = 20, -20
    low, high = best_range(-20.0, 20.0, rows)
    assert 4 < high < 16
    assert low == -high
    assert best_range(0.5, 2.0, rows)[0] == 0  # zero is always told apart
    np.testing.assert_array_equal(best_range(0.0, 0.0, 0 * rows), [0, 1])

    def error(edge: float) -> float:
        step = 2 * edge / ACTIVATION_LEVELS
        return float(np.square(np.clip(np.rint(rows / step), -127, 127) * step - rows).mean())

    assert error(high) <= min(map(error, (20.0, 15.0, 4.0))) * 1.001


def test_smoothing_makes_channels_alike_and_changes_no_product() -> None:
    draw = np.random.default_rng(2)
    rows = (draw.standard_normal((400, 6)) * [1, 1, 100, 1, 0, 1]).astype(np.float32)
    weight = draw.standard_normal((6, 5)).astype(np.float32)
    read = MatrixInputs("a", rows.min(0), rows.max(0), rows, weight)
    smooth = smooth_factors(read, 0.5)
    assert np.exp(np.log(smooth).mean()) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(rows / smooth @ (weight * smooth[:, None]), rows @ weight, rtol=1e-3)
    sizes = np.abs(rows / smooth).max(0)[[0, 1, 2, 3, 5]]
    assert sizes.max() / sizes.min() < 0.3 * 100
    # all of the difficulty goes to the weights, or none of it
    np.testing.assert_allclose(
        np.abs(rows / smooth_factors(read, 1)).max(0)[[0, 2]].std(), 0, atol=0.1
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_gives_what_it_gave(kind: str, tiny: Checkpoint) -> None:
    """But for rounding: by both, with each kind of matrix."""
    weights = KINDS[kind]
    plain = replace(tiny, weights=weights)
    exact = by_graph(plain, Quantization.everywhere(Precision.FLOAT32))
    for quantization in (
        Quantization(),
        replace(Quantization(), symmetric=False),
        replace(Quantization(), per_channel=False, reduced_range=True),
    ):
        for smoothing in (0.0, 0.5):
            made = calibrate_inputs(weights, calibration(), ranges=True, smoothing=smoothing)
            found = by_graph(replace(tiny, weights=made), quantization)
            assert (found * exact).sum(1).min() > 0.97
    # float matrices read nothing in 8 bits
    same = by_graph(replace(tiny, weights=made), Quantization.everywhere(Precision.FLOAT32))
    np.testing.assert_array_equal(same, exact)


def test_smoothing_helps_where_channels_differ(tiny: Checkpoint) -> None:
    weights = outlying(tiny.weights)
    plain = replace(tiny, weights=weights)
    exact = by_graph(plain, Quantization.everywhere(Precision.FLOAT32))

    def loss(smoothing: float) -> float:
        made = calibrate_inputs(weights, calibration(), ranges=True, smoothing=smoothing)
        found = by_graph(replace(tiny, weights=made), Quantization())
        return float(1 - (found * exact).sum(1).mean())

    assert loss(0.5) < 0.7 * loss(0.0)


def test_a_recipe_calibrates_and_a_folder_keeps_it(tiny: Checkpoint, tmp_path: Path) -> None:
    shrinker = Shrinker(tiny, calibration())
    shrunk = shrinker.shrink(Recipe(keep=0.6, static_ranges=True, smoothing=0.4))
    assert shrunk.steps[-2:] == ("smooth activations by 0.4", "calibrate ranges of activations")
    write_encoder(shrunk.checkpoint, tmp_path / "small", shrunk.quantization)
    card = open_encoder(tmp_path / "small")
    assert card.format_version == INPUTS_VERSION
    again = as_checkpoint(tmp_path / "small")
    assert set(again.weights.inputs) == set(shrunk.checkpoint.weights.inputs)
    graph = graph_of(again, card.quantization).SerializeToString()
    assert graph == (tmp_path / "small" / GRAPH).read_bytes()
    # ranges follow the weights that training has changed; smoothing stays
    moved = replace(
        again.weights, token_embeddings=np.flip(again.weights.token_embeddings, 0).copy()
    )
    anew = recalibrated(moved, calibration())
    for name, array in again.weights.inputs.items():
        assert np.array_equal(anew.inputs[name], array) == name.endswith("smooth")


def test_module_keeps_what_was_calibrated(tiny: Checkpoint) -> None:
    made = calibrate_inputs(tiny.weights, calibration(), ranges=True, smoothing=0.5)
    module = EncoderModule(made, Pooling.MEAN, normalize=True).eval()
    assert module.weights().inputs == made.inputs
    plain = EncoderModule(tiny.weights, Pooling.MEAN, normalize=True).eval()
    ids = calibration(4)
    np.testing.assert_array_equal(embeddings(module, ids), embeddings(plain, ids))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(smoothing=1.5), "smoothing 1.5: must be from 0 to 1"),
        (Recipe(smoothing=float("nan")), "smoothing nan: must be from 0 to 1"),
        (
            Recipe(smoothing=0.5, quantization=Quantization.everywhere(Precision.INT4)),
            "goes with int8 matrices",
        ),
    ],
)
def test_what_cannot_be_is_refused(recipe: Recipe, message: str, tiny: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=message):
        Shrinker(tiny, calibration()).shrink(recipe)
    with pytest.raises(EncoderError, match="too few"):
        calibrate_inputs(tiny.weights, calibration(3), ranges=True)
