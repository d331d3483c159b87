"""``trimseek compress`` and ``trimseek encoder storage``, which need torch."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from trimseek.compression.budget import CandidateReport, Measurement, not_told
from trimseek.compression.compress import base_of, texts_of
from trimseek.compression.compress import compress as compress_encoder
from trimseek.compression.estimate import AS_MANY
from trimseek.compression.report import in_words, measurement_cells
from trimseek.compression.storage import compare_storage, storage_cells, stored
from trimseek.console import note, print_json, print_table
from trimseek.encoders.quantize import Precision
from trimseek.encoders.shrink.recipe import Recipe, read_recipe
from trimseek.encoders.shrink.tensorboard import both, tensorboard_candidates, tensorboard_report
from trimseek.encoders.shrink.validation import Report, note_validation
from trimseek.errors import ConfigError
from trimseek.eval.bench.report import terminal_table
from trimseek.eval.quality.known_items import known_items
from trimseek.options import AsJson

app = typer.Typer()


@app.command()
def compress(
    base: Annotated[
        str, typer.Argument(help="minilm, a hub id, a checkpoint folder or an encoder folder.")
    ],
    into: Annotated[Path, typer.Option("-o", "--into", help="The encoder folder to write.")],
    max_loss: Annotated[
        str | None,
        typer.Option(help="The most nDCG@10 to lose against float32: 1% or 0.01."),
    ] = None,
    speedup: Annotated[
        str | None, typer.Option(help="How many times float32's query speed at least: 10x.")
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(help="The most milliseconds for one query (p50).")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(help="The most MB of the graph that runs.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Your own documents, unlabelled: JSON Lines or one text a line."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="What your users ask, unlabelled; for training.")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(help="A judged collection (as bench takes it) to measure the loss on."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Wall clock for everything.")] = 10.0,
    confidence: Annotated[
        str, typer.Option(help="Of the intervals: 95% or 0.95. A loss keeps to its limit by one.")
    ] = "95%",
    query_only: Annotated[
        bool,
        typer.Option(
            "--query-only",
            help="A query encoder for an index that the base embeds, instead of one for both.",
        ),
    ] = False,
    student: Annotated[
        str | None,
        typer.Option(help="With --query-only: an encoder to make for the base's queries: minilm."),
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static", help="A static encoder: a table of tokens, tens of microseconds a query."
        ),
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="Follow a recipe (JSON) instead of searching.")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Heads of each layer; no search.")] = None,
    neurons: Annotated[int | None, typer.Option(help="Neurons of each layer; no search.")] = None,
    layers: Annotated[
        str | None, typer.Option(help="How many layers (3), or which (0,4,5); no search.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Of the matrix products; no search.")
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="A folder for TensorBoard: each candidate's figures, and training."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an encoder as small and fast as a stated loss allows, and prove it.

    With a budget (--max-loss, --speedup, --max-ms, --max-mb) it searches; with a recipe or shapes
    it makes just that, and measures it.
    """
    share = as_share(confidence, "--confidence", "95%")
    made = compress_encoder(
        base,
        into,
        texts=texts,
        queries=queries,
        collection=collection,
        max_loss=None if max_loss is None else as_share(max_loss, "--max-loss", "1%"),
        speedup=as_multiple(speedup),
        max_ms=positive(max_ms, "--max-ms"),
        max_mb=positive(max_mb, "--max-mb"),
        recipe=explicit_recipe(recipe, heads, neurons, layers, precision),
        minutes=minutes,
        confidence=share,
        query_only=query_only,
        student=student,
        static=static,
        report=training_report(tensorboard),
        measured=candidate_report(tensorboard),
    )
    if as_json:
        print_json(
            {
                "encoder": str(into),
                "best": asdict(made.best),
                "steps": list(made.steps),
                "tried": [asdict(measurement) for measurement in made.tried],
            }
        )
        return
    print_table(terminal_table(measurement_cells(made.tried, "what was tried")))
    note(f"{into}: {claim_in_words(made.best, share)}")


@app.command("encoder storage")
def storage(
    base: Annotated[
        str, typer.Argument(help="minilm, a hub id, a checkpoint folder or an encoder folder.")
    ],
    texts: Annotated[
        Path, typer.Option(help="Documents, unlabelled: JSON Lines or one text a line.")
    ],
    as_json: AsJson = False,
) -> None:
    """Compare the ways to store an encoder: size, speed, and agreement with float32."""
    trial = known_items(texts_of(texts), str(texts))
    checkpoint = base_of(base)
    choices = dict(stored(checkpoint, trial))
    comparisons = compare_storage(checkpoint, choices, trial)
    if as_json:
        print_json(
            {
                name: asdict(comparison) | {"quantization": asdict(choices[name].quantization)}
                for name, comparison in comparisons.items()
            }
        )
        return
    print_table(terminal_table(storage_cells(base, comparisons)))
    for name, (_, quantization, _) in choices.items():
        if kept := (*quantization.kept, *quantization.finer):
            note(f"{name}: {', '.join(kept)}")


def training_report(tensorboard: Path | None) -> Report:
    """Reports each validation on stderr, and to TensorBoard if a folder is given."""
    if tensorboard is None:
        return note_validation
    return both(note_validation, tensorboard_report(tensorboard))


def candidate_report(tensorboard: Path | None) -> CandidateReport:
    """Reports each candidate to TensorBoard if a folder is given."""
    if tensorboard is None:
        return not_told
    write = tensorboard_candidates(tensorboard)

    def report(number: int, measurement: Measurement) -> None:
        figures = {
            "loss": measurement.loss,
            "loss, upper end": measurement.expected.high,
            "ms": measurement.query_ms,
            "speedup": measurement.speedup,
            "MB": measurement.graph_bytes / 1e6,
        }
        write(number, measurement.recipe, figures)

    return report


def explicit_recipe(
    recipe: Path | None,
    heads: int | None,
    neurons: int | None,
    layers: str | None,
    precision: Precision | None,
) -> Recipe | None:
    """The recipe of --recipe with the other flags in place of its own; None without any flag."""
    shape = {"heads": heads, "neurons": neurons, "layers": as_layers(layers)}
    flags = {name: value for name, value in shape.items() if value is not None}
    if recipe is None and not flags and precision is None:
        return None
    explicit = replace(read_recipe(recipe) if recipe else Recipe(), **flags)  # type: ignore[arg-type]
    if precision is not None:
        stored = replace(explicit.quantization, matrices=precision, table=precision)
        explicit = replace(explicit, quantization=stored)
    return explicit


def as_layers(text: str | None) -> tuple[int, ...] | int | None:
    """``3`` is a count, ``0,4,5`` are numbers of layers, as is ``3,``; ConfigError."""
    if text is None:
        return None
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(f"--layers {text}: give a count (3) or numbers (0,4,5)") from None
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


def claim_in_words(best: Measurement, confidence: float) -> str:
    """What is claimed of the encoder that was written."""
    if best.judged:
        on, others = f"{best.queries:,} judged queries", ""
    else:
        on = f"{best.queries:,} queries made from the texts"
        others = f"; {AS_MANY} judged queries would measure {in_words(best.interval)}"
        others = others if best.interval != best.expected else ""
    return (
        f"{best.recipe}: {best.speedup:.1f} times float32's query speed, "
        f"{best.graph_bytes / 1e6:.1f} MB, loss of nDCG@10 {best.loss:+.2%} (with "
        f"{confidence:.0%} confidence {in_words(best.expected)}{others}), measured on {on} that "
        "did not choose it"
    )


def as_share(text: str, flag: str, example: str) -> float:
    """``1%`` or ``0.01``, from 0 to less than 1; ConfigError."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise ConfigError(f"{flag} {text}: give a share such as {example}")
    return value


def as_multiple(text: str | None) -> float | None:
    """``10x`` or ``10``; ConfigError."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = -1.0
    return positive(value, "--speedup")


def positive(value: float | None, flag: str) -> float | None:
    """The value; ConfigError, which names the flag, if it is not positive and finite."""
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"{flag}: give a number above 0")
    return value
