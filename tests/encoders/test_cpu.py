import pytest

from trimseek.encoders import cpu
from trimseek.encoders.cpu import MEANING, Int8Path, int8_path
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.runtime import needs_reduced_range


@pytest.mark.parametrize(
    ("flags", "path", "reduced"),
    [
        ({"avx2", "avx512bw", "avx512_vnni"}, Int8Path.AVX512_VNNI, False),
        ({"avx2", "avx_vnni"}, Int8Path.AVX_VNNI, False),
        ({"avx2", "avx512bw"}, Int8Path.AVX512, True),
        ({"avx2"}, Int8Path.AVX2, True),
        ({"asimd", "asimddp"}, Int8Path.ARM_DOTPROD, False),
        (set(), Int8Path.GENERIC, False),
    ],
)
def test_the_best_instructions_are_chosen(
    flags: set[str], path: Int8Path, reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset(flags))
    assert int8_path() is path
    monkeypatch.setenv("TRIMSEEK_RUNTIME", "onnxruntime")
    assert needs_reduced_range(Quantization()) is reduced
    assert not needs_reduced_range(Quantization(Precision.FLOAT32))
    assert path in MEANING
