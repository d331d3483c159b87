"""``trimseek doctor``: whether this machine and an index are as they should be."""

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from trimseek.console import print_json, say
from trimseek.encoders import DEFAULT_ENCODER, QueryEncoder, find_encoder
from trimseek.encoders.cpu import MEANING, cpu_name, int8_flags, int8_path
from trimseek.encoders.native.library import kernels
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.runtime import choose
from trimseek.errors import TrimseekError
from trimseek.indexer.care import find_damage
from trimseek.settings import RuntimeName, load_settings
from trimseek.versions import installed_versions

app = typer.Typer()
SELF_TEST = "A query of a dozen words or so, as people type them into a search box."
SELF_TEST_SECONDS = 1.0


class Finding(NamedTuple):
    """One line of the report; ``ok`` is false for what must be mended."""

    name: str
    value: str
    ok: bool = True


@app.command()
def doctor(
    index: Annotated[Path | None, typer.Argument(help="An index folder to check as well.")] = None,
    encoder: Annotated[str, typer.Option(help="The encoder to test.")] = DEFAULT_ENCODER,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check this machine, the model and, when given, an index."""
    findings = [*machine_findings(), encoder_finding(encoder)]
    if index is not None:
        findings += index_findings(index)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            say(f"{'ok ' if finding.ok else 'BAD'}  {finding.name:<11}{finding.value}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def machine_findings() -> list[Finding]:
    """CPU, kernels, threads, versions and cache."""
    settings, path = load_settings(), int8_path()
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    home = f"{settings.home} ({'there' if settings.home.is_dir() else 'not made yet'})"
    return [
        Finding("cpu", cpu_name()),
        Finding("flags", ", ".join(int8_flags()) or "none known"),
        Finding("int8", f"{path.value}: {MEANING[path]}"),
        Finding("runtime", runtime_words()),
        Finding("threads", f"{settings.threads} (TRIMSEEK_THREADS)"),
        Finding("versions", versions),
        Finding("cache", f"{home} (TRIMSEEK_HOME)"),
    ]


def runtime_words() -> str:
    """Which runtime encodes what."""
    if choose(Quantization()) is RuntimeName.ONNX:
        return "onnxruntime (TRIMSEEK_RUNTIME)"
    return f"native kernels ({kernels()}) for int8, onnxruntime for the rest (TRIMSEEK_RUNTIME)"


def encoder_finding(name: str) -> Finding:
    """Encode for a second: whether the vector is sound, and how long a query takes."""
    try:
        encoder = QueryEncoder(find_encoder(name))
    except TrimseekError as error:
        return Finding("encoder", str(error), ok=False)
    seconds: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < SELF_TEST_SECONDS:
        started = time.perf_counter()
        vector = encoder.encode([SELF_TEST]).vectors[0]
        seconds.append(time.perf_counter() - started)
    sound = bool(np.isfinite(vector).all())
    state = f"{np.median(seconds) * 1e3:.2f} ms a query" if sound else "gives vectors of no number"
    return Finding("encoder", f"{name}: {state} ({len(seconds)} in a second)", ok=sound)


def index_findings(folder: Path) -> list[Finding]:
    """What is damaged in an index, a finding each."""
    try:
        damage = find_damage(folder)
    except TrimseekError as error:
        return [Finding("index", str(error), ok=False)]
    if not damage:
        return [Finding("index", f"{folder}: whole")]
    return [Finding("index", problem, ok=False) for problem in damage]
