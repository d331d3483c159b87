"""Chooses what runs an encoder: the compiled kernels if they can, onnxruntime otherwise."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol
from weakref import WeakValueDictionary

from trimseek.console import note
from trimseek.encoders.card import GRAPH, EncoderCard
from trimseek.encoders.cpu import SATURATING, int8_path
from trimseek.encoders.native.library import kernels
from trimseek.encoders.native.runtime import NativeRuntime
from trimseek.encoders.onnx_runtime import OnnxRuntime
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError
from trimseek.settings import RuntimeName, load_settings


class Runtime(Protocol):
    """Vectors of tokenized texts; safe to call from several threads at once."""

    name: str

    def run(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors ``(n, dim) float32`` of at least one text."""
        ...

    def stages(self, texts: Sequence[Tokens]) -> dict[str, float]:
        """Seconds that each stage of the work takes for these texts, on one thread."""
        ...


_open: WeakValueDictionary[tuple[object, ...], Runtime] = WeakValueDictionary()
_opening = Lock()


def open_runtime(graph: Path, card: EncoderCard, threads: int, *, shared: bool) -> Runtime:
    """The runtime for the graph of an encoder folder; EncoderError if the graph is damaged.

    ``shared``: several encoders run at once. The kernels' threads sleep until they are needed, but
    onnxruntime's spin between products and so take CPU time from the other encoders. It then gets
    one thread, which makes a query hardly slower:

    | onnxruntime, on 2 CPUs | CPU time a query | latency |
    |---|---|---|
    | 1 thread | 3.6 ms | 2.6 to 3.5 ms |
    | 2 threads | 10.8 ms | 2.5 to 2.9 ms |
    """
    name, status = choose(card.quantization), graph.stat()
    # encoders of one file share a runtime, and so the memory of its weights, while one is open
    file = status.st_dev, status.st_ino, status.st_mtime_ns, card.sha256.get(GRAPH)
    key = (*file, name, threads, shared and name is not RuntimeName.NATIVE)
    with _opening:
        runtime = _open.get(key)
        if runtime is None:
            runtime = _open[key] = new_runtime(name, graph, card, threads, shared=shared)
    return runtime


def new_runtime(
    name: RuntimeName, graph: Path, card: EncoderCard, threads: int, *, shared: bool
) -> Runtime:
    """As ``open_runtime``, with memory of its own."""
    if name is RuntimeName.NATIVE:
        return NativeRuntime(graph, card, threads=threads)
    if needs_reduced_range(card.quantization) and not card.quantization.reduced_range:
        note(
            f"{graph.parent}: its 8-bit weights overflow in this CPU's 16-bit sums, so that its "
            "vectors are not exact; make it anew here, or install trimseek with a C compiler"
        )
    return OnnxRuntime(graph, 1 if shared else threads)


def choose(quantization: Quantization) -> RuntimeName:
    """The runtime of encoders that are stored so, which TRIMSEEK_RUNTIME may overrule.

    ConfigError if it names the compiled kernels and there are none for this CPU.
    """
    setting = load_settings().runtime
    if setting is RuntimeName.NATIVE and kernels() is None:
        raise ConfigError(
            "TRIMSEEK_RUNTIME=native: there are no kernels for this CPU, or no C compiler was "
            "found when trimseek was installed"
        )
    can_be_native = kernels() is not None and is_native(quantization)
    if can_be_native and setting is not RuntimeName.ONNX:
        return RuntimeName.NATIVE
    return RuntimeName.ONNX


def is_native(quantization: Quantization) -> bool:
    """Whether the compiled kernels can run encoders that are stored so."""
    is_int8 = quantization.matrices is not Precision.FLOAT32 and quantization.symmetric
    return is_int8 and not quantization.kept


def arithmetic(quantization: Quantization) -> str:
    """The instructions that compute the vectors of encoders that are stored so.

    Vectors of the same files differ a little between instruction sets.
    """
    if choose(quantization) is RuntimeName.NATIVE:
        return f"native {kernels()}"
    return int8_path().value


def needs_reduced_range(quantization: Quantization) -> bool:
    """Whether int8 weights must be kept to 7 bits here; see ``trimseek.encoders.quantize``."""
    return (
        quantization.matrices is not Precision.FLOAT32
        and int8_path() in SATURATING
        and choose(quantization) is RuntimeName.ONNX
    )
