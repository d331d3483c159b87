"""Which runtime an encoder gets, and that both give nearly the same vectors."""

from dataclasses import replace
from pathlib import Path

import pytest

from trimseek.encoders import Precision, Quantization, QueryEncoder, open_encoder, write_encoder
from trimseek.encoders.cached import fingerprint
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.native.library import kernels
from trimseek.encoders.runtime import choose
from trimseek.errors import ConfigError, TrimseekError
from trimseek.settings import RuntimeName

INT8 = Quantization()
TEXTS = ["split words", "the shell command for text", "a", "number of words in the list of files"]
needs_kernels = pytest.mark.skipif(kernels() is None, reason="no kernels for this CPU")


@needs_kernels
@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        (INT8, RuntimeName.NATIVE),
        (replace(INT8, table=Precision.INT4), RuntimeName.NATIVE),
        (replace(INT8, per_channel=False, reduced_range=True), RuntimeName.NATIVE),
        (replace(INT8, symmetric=False), RuntimeName.ONNX),
        (replace(INT8, kept=("layers.0.qkv",)), RuntimeName.ONNX),
        (Quantization.everywhere(Precision.FLOAT32), RuntimeName.ONNX),
        (Quantization.everywhere(Precision.INT4), RuntimeName.NATIVE),
        (Quantization(Precision.TERNARY, finer=("layers.0.qkv",)), RuntimeName.NATIVE),
        (Quantization(Precision.INT4, kept=("layers.0.qkv",)), RuntimeName.ONNX),
    ],
    ids=str,
)
def test_the_kernels_run_what_they_know(
    quantization: Quantization, expected: RuntimeName, tiny: Checkpoint, tmp_path: Path
) -> None:
    assert choose(quantization) is expected
    write_encoder(tiny, tmp_path / "e", quantization)
    encoder = QueryEncoder(tmp_path / "e")
    assert encoder.runtime.name == expected.value
    assert encoder.encode(TEXTS).vectors.shape == (len(TEXTS), tiny.weights.dim)
    assert encoder.encode([]).vectors.shape == (0, tiny.weights.dim)


@needs_kernels
def test_both_runtimes_agree_within_quantization_error(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = {}
    for name in ("native", "onnxruntime"):
        monkeypatch.setenv("TRIMSEEK_RUNTIME", name)
        write_encoder(tiny, tmp_path / name, INT8)  # in 7 bits where onnxruntime needs it
        encoder = QueryEncoder(tmp_path / name)
        assert encoder.runtime.name == name
        vectors[name] = encoder.encode(TEXTS).vectors
    assert (vectors["native"] * vectors["onnxruntime"]).sum(1).min() > 0.99


@needs_kernels
def test_cached_vectors_are_of_one_runtime(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_encoder(tiny, tmp_path / "e", INT8)
    card = open_encoder(tmp_path / "e")
    native = fingerprint(card)
    monkeypatch.setenv("TRIMSEEK_RUNTIME", "onnxruntime")
    assert fingerprint(card) != native


def test_without_kernels_onnxruntime_does_everything(
    tiny: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("trimseek.encoders.runtime.kernels", lambda: None)
    monkeypatch.setattr("trimseek.encoders.cpu.cpu_flags", lambda: frozenset({"avx2"}))
    assert choose(INT8) is RuntimeName.ONNX
    card = write_encoder(tiny, tmp_path / "e", INT8)
    assert card.quantization.reduced_range
    assert QueryEncoder(tmp_path / "e").runtime.name == "onnxruntime"
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TRIMSEEK_RUNTIME", "native")
    with pytest.raises(ConfigError, match="no kernels for this CPU, or no C compiler"):
        choose(INT8)


def test_an_encoder_of_another_machine_is_said_to_be_inexact(
    tiny: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("trimseek.encoders.cpu.cpu_flags", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setenv("TRIMSEEK_RUNTIME", "onnxruntime")
    write_encoder(tiny, tmp_path / "e", INT8)
    monkeypatch.setattr("trimseek.encoders.cpu.cpu_flags", lambda: frozenset({"avx2"}))
    QueryEncoder(tmp_path / "e")
    assert "8-bit weights overflow in this CPU's 16-bit sums" in capsys.readouterr().err


def test_a_runtime_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMSEEK_RUNTIME", "torch")
    with pytest.raises(TrimseekError, match="(?i)runtime"):
        choose(INT8)
