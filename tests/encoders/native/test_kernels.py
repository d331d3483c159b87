"""The compiled kernels against what they compute, written out in numpy."""

import ctypes
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.encoders.native.reference import encode, gelu_polynomial
from tests.encoders.shrink.test_obs import calibration
from tests.tiny import (
    MAX_TOKENS,
    STRUCTURES,
    VOCABULARY,
    tiny_checkpoint,
    tiny_distances,
    tiny_weights,
)
from trimseek.compiled import load
from trimseek.encoders.card import EncoderCard, LayerShape
from trimseek.encoders.folder import card_of
from trimseek.encoders.graph import build_graph
from trimseek.encoders.native import library as native_library
from trimseek.encoders.native.library import KERNELS, kernels, library
from trimseek.encoders.native.runtime import NativeRuntime
from trimseek.encoders.native.spec import SpecReader, read_constants
from trimseek.encoders.onnx_runtime import run_batches
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import LOW_BITS, OF_TABLES, Precision, Quantization
from trimseek.encoders.shrink.input_ranges import calibrate_inputs
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import EncoderWeights, Linear
from trimseek.errors import EncoderError

SOURCES = Path(native_library.__file__).parent
INT8 = Quantization()
LEVELS = {"avx2": 127}  # the others: 255

pytestmark = pytest.mark.skipif(kernels() is None, reason="no kernels for this CPU")


def texts(seed: int, lengths: tuple[int, ...]) -> list[Tokens]:
    chosen = np.random.default_rng(seed)
    return [Tokens(chosen.integers(0, len(VOCABULARY), n).tolist(), False) for n in lengths]


MANY = texts(0, (1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 49, 63, 64, 12, 12, 9, 21, 4))


def native(
    weights: EncoderWeights,
    folder: Path,
    *,
    quantization: Quantization = INT8,
    pooling: Pooling = Pooling.MEAN,
    normalize: bool = True,
    threads: int = 1,
    instructions: str | None = None,
) -> NativeRuntime:
    graph = build_graph(weights, pooling=pooling, normalize=normalize, quantization=quantization)
    path = folder / "model.onnx"
    onnx.save(graph, path)
    card = tiny_card(weights, pooling, normalize=normalize)
    return NativeRuntime(path, card, threads=threads, instructions=instructions)


def tiny_card(
    weights: EncoderWeights, pooling: Pooling = Pooling.MEAN, *, normalize: bool = True
) -> EncoderCard:
    checkpoint = tiny_checkpoint(weights=weights, pooling=pooling, normalize=normalize)
    return card_of(checkpoint, "tiny", INT8)


def projected(weights: EncoderWeights) -> EncoderWeights:
    """With embeddings narrower than the layers, as ELECTRA's are."""
    narrow, dim = tiny_weights(seed=4, dim=12), weights.dim
    chosen = np.random.default_rng(5)
    return replace(
        weights,
        token_embeddings=narrow.token_embeddings,
        position_embeddings=narrow.position_embeddings,
        token_type_embeddings=narrow.token_type_embeddings,
        embedding_norm=narrow.embedding_norm,
        embedding_projection=Linear(
            chosen.standard_normal((12, dim)).astype(np.float32), np.zeros(dim, np.float32)
        ),
    )


def shape(seed: int, activation: str = "relu", **sizes: Any) -> EncoderWeights:
    return replace(tiny_weights(seed, **sizes), activation=activation)


SHAPES = {
    "uniform": shape(0),
    "uneven": shape(1, dim=40, heads=(5, 1, 3), neurons=50),
    "wide": shape(2, dim=136, heads=(17,), neurons=300),
    "gelu": shape(3, "gelu"),
    "tanh": shape(3, "gelu_new"),
    "projected": projected(shape(3)),
    "untyped": replace(shape(3), token_type_embeddings=None),
    **STRUCTURES,
    "uneven distances": tiny_distances(1, heads=(1, 3, 2)),
}


def check(
    runtime: NativeRuntime,
    weights: EncoderWeights,
    *,
    quantization: Quantization = INT8,
    pooling: Pooling = Pooling.MEAN,
    normalize: bool = True,
    levels: int | None = None,
) -> None:
    levels = levels or LEVELS.get(str(kernels()), 255)
    expected = encode(
        weights,
        [text.ids for text in MANY],
        pooling,
        normalize=normalize,
        quantization=quantization,
        levels=levels,
    )
    vectors = runtime.run(MANY)
    errors = np.linalg.norm(vectors - expected, axis=1) / np.linalg.norm(expected, axis=1)
    # In float32 an activation halfway between two steps may be rounded to the other one, which
    # moves a tiny encoder's vector by up to 0.6 % (measured). All other vectors are the same.
    assert errors.max() < 0.01
    assert np.quantile(errors, 0.8) < 1e-6


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_activations(name: str, tmp_path: Path) -> None:
    check(native(SHAPES[name], tmp_path), SHAPES[name])


def test_the_polynomial_is_gelu_within_what_forward_inc_says() -> None:
    x = np.linspace(-20, 20, 8001)
    exact = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x]
    errors = np.abs(gelu_polynomial(x) - exact)
    assert errors[np.abs(x) <= 4.2].max() < 2e-5
    assert (errors <= np.maximum(2e-5, 1.1e-5 * np.abs(x))).all()


def test_the_activation_is_the_cards(tmp_path: Path) -> None:
    """Not that of the graph, whose nodes the kernels never look at."""
    weights = SHAPES["gelu"]
    native(weights, tmp_path)
    for activation in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"):
        other = replace(weights, activation=activation)
        check(NativeRuntime(tmp_path / "model.onnx", tiny_card(other), threads=1), other)
    unknown = replace(tiny_card(weights), activation="swish")
    with pytest.raises(EncoderError, match=r"model\.onnx: .*unknown activation 'swish'"):
        NativeRuntime(tmp_path / "model.onnx", unknown, threads=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"head_dim": 4},
        {"positions": MAX_TOKENS - 1},
        {"dim": 16},
        {"layers": (LayerShape(4, 64),) * 3},
        {"layers": (LayerShape(4, 64), LayerShape(4, 63))},
    ],
    ids=str,
)
def test_a_card_of_another_encoder_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    native(SHAPES["uniform"], tmp_path)
    card = replace(tiny_card(SHAPES["uniform"]), **fields)
    with pytest.raises(EncoderError, match=r"model\.onnx: not an encoder's graph"):
        NativeRuntime(tmp_path / "model.onnx", card, threads=1)


def test_a_library_with_other_structures_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    class Longer(ctypes.Structure):
        _fields_ = (("more", ctypes.c_char * 1000),)

    module, size = native_library.MODULE, "encoder_struct_size"
    assert load(module, size, native_library.STRUCTURES) is not None
    assert load(module, size, (*native_library.STRUCTURES[:-1], Longer)) is None
    assert load(module, "no_such_function", ()) is None
    assert capsys.readouterr().err.count("compiled from another version") == 2


@pytest.mark.parametrize("name", ["uneven", "pre-norm"])
@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("normalize", [True, False])
def test_poolings(pooling: Pooling, normalize: bool, name: str, tmp_path: Path) -> None:
    weights = SHAPES[name]
    runtime = native(weights, tmp_path, pooling=pooling, normalize=normalize)
    check(runtime, weights, pooling=pooling, normalize=normalize)


@pytest.mark.parametrize("table", OF_TABLES)
def test_token_tables(table: Precision, tmp_path: Path) -> None:
    quantization = replace(INT8, table=table)
    runtime = native(SHAPES["uniform"], tmp_path, quantization=quantization)
    if table is Precision.INT4:  # the positions stand in 8 bits beside it
        expected = native(SHAPES["uniform"], tmp_path).run(MANY)
        assert (runtime.run(MANY) * expected).sum(1).min() > 0.97
    else:
        check(runtime, SHAPES["uniform"], quantization=quantization)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.parametrize("name", ["uneven", "pre-norm", "distances"])
def test_calibrated_inputs(name: str, smoothing: float, ranges: bool, tmp_path: Path) -> None:
    weights = SHAPES[name]
    made = calibrate_inputs(weights, calibration(), ranges=ranges, smoothing=smoothing)
    for quantization in (INT8, *([] if smoothing else [Quantization.everywhere(Precision.INT4)])):
        quantization = replace(quantization, table=Precision.FLOAT32)
        runtime = native(made, tmp_path, quantization=quantization)
        check(runtime, made, quantization=quantization)


def test_calibrated_inputs_that_are_damaged_are_refused(tmp_path: Path) -> None:
    weights = SHAPES["uniform"]
    made = calibrate_inputs(weights, calibration(), ranges=True, smoothing=0.5)
    native(made, tmp_path)
    path = tmp_path / "model.onnx"
    for name, array in (
        ("layers.0.qkv.factor", np.ones(31, np.float32)),
        ("layers.0.qkv.factor", np.full(32, np.nan, np.float32)),
        ("layers.1.output.input_scale", np.array(0, np.float32)),
        ("layers.1.output.input_scale", np.array(np.inf, np.float32)),
        ("layers.1.output.input_zero", np.array(-3, np.int8)),
    ):
        graph = onnx.load(path)
        for tensor in graph.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
        onnx.save(graph, tmp_path / "damaged.onnx")
        with pytest.raises(EncoderError, match="not an encoder's graph"):
            NativeRuntime(tmp_path / "damaged.onnx", tiny_card(weights), threads=1)


@pytest.mark.parametrize("precision", LOW_BITS)
@pytest.mark.parametrize("name", ["uniform", "uneven"])
def test_matrices_in_few_bits(precision: Precision, name: str, tmp_path: Path) -> None:
    quantization = replace(INT8, matrices=precision)
    runtime = native(SHAPES[name], tmp_path, quantization=quantization)
    check(runtime, SHAPES[name], quantization=quantization)
    graph = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert (runtime.run(MANY) * run_batches(graph, MANY)).sum(1).min() > 0.97


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv.multipliers": np.full((1, 96), 16, np.uint8)}, "larger than codes allow"),
        ({"qkv.multipliers": np.zeros((2, 96), np.uint8)}, "its shape is"),
        ({"qkv.int4": np.zeros((15, 96), np.uint8)}, "its shape is"),
        ({"qkv.int4": np.zeros((16, 96), np.int8)}, "must be bytes"),
    ],
)
def test_codes_that_make_no_sense(
    change: dict[str, NDArray[Any]], message: str, tmp_path: Path
) -> None:
    weights = SHAPES["uniform"]
    native(weights, tmp_path, quantization=replace(INT8, matrices=Precision.INT4))
    constants = read_constants(tmp_path / "model.onnx")
    constants |= {f"layers.0.{name}": array for name, array in change.items()}
    with pytest.raises(EncoderError, match=message):
        SpecReader(constants, tiny_card(weights)).encoder()


def test_one_scale_for_a_whole_matrix(tmp_path: Path) -> None:
    quantization = replace(INT8, per_channel=False)
    runtime = native(SHAPES["uniform"], tmp_path, quantization=quantization)
    check(runtime, SHAPES["uniform"], quantization=quantization)


@pytest.mark.parametrize("instructions", KERNELS)
def test_every_kind_of_instructions(instructions: str, tmp_path: Path) -> None:
    functions = library()
    assert functions is not None
    if not functions.encoder_supports(instructions.encode()):
        pytest.skip("this CPU has not got it")
    weights = SHAPES["uneven"]
    runtime = native(weights, tmp_path, instructions=instructions)
    check(runtime, weights, levels=LEVELS.get(instructions, 255))


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The library with AVX512-VNNI in plain C, in place of the real one."""
    if not Path("/usr/include/simde").is_dir() or shutil.which("gcc") is None:
        pytest.skip("needs gcc and libsimde-dev")
    built = tmp_path_factory.mktemp("emulated") / "emulated.so"
    sources = [SOURCES / f"{name}.c" for name in ("encode", "team", "avx2", "avx512_vnni")]
    header = Path(__file__).with_name("emulated.h")
    flags = "-O1 -w -fPIC -shared -pthread -mavx2 -mfma -DEMULATED -Davx_vnni_kernels=avx2_kernels"
    subprocess.run(
        ["gcc", *flags.split(), "-include", header, "-o", built, *sources, "-lm"], check=True
    )
    functions = native_library.with_types(ctypes.CDLL(str(built)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimseek.encoders.native.runtime.library", lambda: functions)
        yield


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("name", SHAPES)
def test_avx512_in_plain_c(name: str, tmp_path: Path) -> None:
    runtime = native(SHAPES[name], tmp_path, instructions="avx512_vnni", threads=2)
    check(runtime, SHAPES[name], levels=255)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("name", ["wide", "windows"])
def test_a_vector_does_not_depend_on_the_batch_or_on_threads(
    name: str, threads: int, tmp_path: Path
) -> None:
    weights = SHAPES[name]
    alone = np.concatenate([native(weights, tmp_path).run([text]) for text in MANY])
    runtime = native(weights, tmp_path, threads=threads)
    for _ in range(20):
        np.testing.assert_array_equal(runtime.run(MANY), alone)
        np.testing.assert_array_equal(runtime.run(MANY[3:4]), alone[3:4])
    many = [MANY[i % len(MANY)] for i in range(500)]
    np.testing.assert_array_equal(runtime.run(many), alone[[i % len(MANY) for i in range(500)]])


def test_eight_threads_at_once(tmp_path: Path) -> None:
    runtime = native(SHAPES["wide"], tmp_path, threads=2)
    expected = runtime.run(MANY)

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).permutation(len(MANY)):
            np.testing.assert_array_equal(runtime.run([MANY[i]])[0], expected[i])
        np.testing.assert_array_equal(runtime.run(MANY), expected)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))


def test_a_forked_process_has_no_helpers_and_needs_none() -> None:
    """The threads that help are not there in the child, and nothing waits for them."""
    code = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
from tests.encoders.native.test_kernels import MANY, SHAPES, native
runtime = native(SHAPES["wide"], Path(tempfile.mkdtemp()), threads=2)
expected = runtime.run(MANY)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(runtime.run(MANY), expected) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_what_cannot_be_encoded(tmp_path: Path) -> None:
    runtime = native(SHAPES["uniform"], tmp_path)
    for ids, message in (
        ([2, len(VOCABULARY)], "token that the encoder has no embedding of"),
        ([2, -1], "token that the encoder has no embedding of"),
        ([2] * (MAX_TOKENS + 1), "more tokens than the encoder has positions"),
    ):
        with pytest.raises(EncoderError, match=message):
            runtime.run([Tokens(ids, False)])
    assert np.isfinite(runtime.run(MANY)).all()


def test_a_text_without_tokens_is_all_zeros(tmp_path: Path) -> None:
    runtime = native(SHAPES["uniform"], tmp_path)
    found = runtime.run([MANY[0], Tokens([], False), MANY[1]])
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(found[[0, 2]], runtime.run(MANY[:2]))


@pytest.mark.parametrize(
    "name",
    ["token_embeddings.scale", "embedding_norm.bias", "layers.1.qkv.bias",
     "layers.0.output.int8", "layers.0.intermediate.scale", "layers.1.output_norm.weight"],
)  # fmt: skip
def test_an_array_of_another_shape_is_never_read(name: str, tmp_path: Path) -> None:
    native(SHAPES["uniform"], tmp_path)
    path = tmp_path / "model.onnx"
    model = onnx.load(path)
    for each in model.graph.initializer:
        if each.name == name:
            array = onnx.numpy_helper.to_array(each)
            each.CopyFrom(onnx.numpy_helper.from_array(array[: len(array) // 2], name))
    onnx.save(model, path)
    with pytest.raises(EncoderError, match=r"model\.onnx: not an encoder's graph: .*shape"):
        NativeRuntime(path, tiny_card(SHAPES["uniform"]), threads=1)


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x00 no graph")
    with pytest.raises(EncoderError, match=r"model\.onnx: not an encoder's graph"):
        NativeRuntime(path, tiny_card(SHAPES["uniform"]), threads=1)
