"""What runs an encoder: the compiled kernels where they can, onnxruntime everywhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from encoders.card import EncoderCard
from encoders.cpu import SATURATING, int8_path
from encoders.native.library import kernels
from encoders.native.runtime import NativeRuntime
from encoders.onnx_runtime import OnnxRuntime
from encoders.quantize import Precision, Quantization
from encoders.tokens import Tokens
from encoders.weights import FloatArray
from trimseek.console import note
from trimseek.errors import ConfigError
from trimseek.settings import RuntimeName, load_settings


class Runtime(Protocol):
    """Vectors of tokenized texts; safe to call from several threads at once."""

    name: str

    def run(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors ``(n, dim) float32`` of at least one text."""
        ...

    def stages(self, texts: Sequence[Tokens]) -> dict[str, float]:
        """Seconds that each part of the work takes for these texts, on one thread."""
        ...


def open_runtime(graph: Path, card: EncoderCard, threads: int, *, shared: bool) -> Runtime:
    """What runs the graph of an encoder folder here; EncoderError if it is damaged.

    ``shared``: see ``Encoder``. The kernels' threads sleep until they are needed. onnxruntime's
    spin between products: two on two CPUs took 10.8 ms of CPU time a query instead of 3.6, and 2.5
    to 2.9 ms instead of 2.6 to 3.5.
    """
    if choose(card.quantization) is RuntimeName.NATIVE:
        return NativeRuntime(graph, card.pooling, normalize=card.normalize, threads=threads)
    if needs_reduced_range(card.quantization) and not card.quantization.reduced_range:
        note(
            f"{graph.parent}: its 8-bit weights overflow in this CPU's 16-bit sums, so that its "
            "vectors are not exact; make it anew here, or install trimseek with a C compiler"
        )
    return OnnxRuntime(graph, 1 if shared else threads)


def choose(quantization: Quantization) -> RuntimeName:
    """The runtime of encoders that are stored so, as TRIMSEEK_RUNTIME wants it.

    ConfigError where it wants the compiled kernels and there are none for this CPU.
    """
    asked = load_settings().runtime
    if asked is RuntimeName.NATIVE and kernels() is None:
        raise ConfigError(
            "TRIMSEEK_RUNTIME=native: there are no kernels for this CPU, or no C compiler was "
            "found when trimseek was installed"
        )
    able = kernels() is not None and is_native(quantization)
    return RuntimeName.NATIVE if able and asked is not RuntimeName.ONNX else RuntimeName.ONNX


def is_native(quantization: Quantization) -> bool:
    """Whether the compiled kernels know numbers that are stored so."""
    return (
        quantization.matrices is Precision.INT8 and quantization.symmetric and not quantization.kept
    )


def arithmetic(quantization: Quantization) -> str:
    """What the vectors of an encoder that is stored so depend on, beside its files."""
    if choose(quantization) is RuntimeName.NATIVE:
        return f"native {kernels()}"
    return int8_path().value


def needs_reduced_range(quantization: Quantization) -> bool:
    """Whether int8 weights must be kept to 7 bits here; see ``encoders.quantize``."""
    return (
        quantization.matrices is Precision.INT8
        and int8_path() in SATURATING
        and choose(quantization) is RuntimeName.ONNX
    )
