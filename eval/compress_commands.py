"""``trimseek compress`` and ``trimseek encoder storage``, which need torch."""

import math
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from encoders.catalog import read_encoder, split_precision
from encoders.checkpoint import Checkpoint
from encoders.folder import as_checkpoint, is_encoder_folder
from encoders.quantize import Precision
from encoders.unlabelled import read_unlabelled
from eval.collection import TestCollection, read_collection
from eval.known_items import known_items
from eval.report import terminal_table
from trimseek.console import note, print_json, print_table
from trimseek.errors import BudgetError, ConfigError, MissingExtraError, OutOfTimeError
from trimseek.options import AsJson
from trimseek.time_limit import time_limit

try:
    from encoders.shrink.recipe import Recipe, read_recipe
    from encoders.shrink.scalars import both, scalars_into
    from eval.compress import Budget, Candidate, Compressor, cells, say, search, write_compressed
    from eval.storage import compare_storage, storage_cells, storage_choices
except ImportError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError("making an encoder smaller", "compress") from None

FINISHING = 10.0  # seconds to come to an end and write the best encoder; at most a tenth of all

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
    query_only: Annotated[
        bool,
        typer.Option(
            "--query-only",
            help="A query encoder for an index that the base embeds, instead of one for both.",
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
        Path | None, typer.Option(help="A folder for TensorBoard: how training goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an encoder as small and fast as a stated loss allows, and prove it.

    With a budget (--max-loss, --speedup, --max-ms) it searches; with a recipe or shapes it makes
    just that, and measures it.
    """
    began = time.monotonic()
    if into.exists():
        raise ConfigError(f"{into}: exists already; name a folder that does not")
    if not 0 < minutes < float("inf"):
        raise ConfigError(f"--minutes {minutes:g}: must be more than 0")
    budget = Budget(as_share(max_loss), as_multiple(speedup), positive(max_ms, "--max-ms"))
    asked = explicit_recipe(recipe, heads, neurons, layers, precision)
    if (asked is None) == (budget == Budget()):
        raise ConfigError(
            "say what to keep to (--max-loss 1%, --speedup 10x, --max-ms 0.3), "
            "or what to make (--recipe, --heads, --neurons, --layers, --precision), not both"
        )
    documents, trial = read_texts(texts, collection)
    asked_queries = [each.text for each in read_unlabelled(queries)] if queries else []
    checkpoint = base_of(base)
    ends = began + 60 * minutes - min(FINISHING, 6 * minutes)
    with tempfile.TemporaryDirectory(prefix="trimseek-compress-") as folder:
        try:
            with time_limit(ends if asked is None else math.inf):
                compressor = Compressor(
                    checkpoint,
                    trial,
                    documents,
                    asked_queries,
                    budget,
                    Path(folder),
                    query_only=query_only,
                    report=say if tensorboard is None else both(say, scalars_into(tensorboard)),
                )
                if asked is None:
                    best = search(compressor)
                else:
                    best = compressor.attempt(asked, "as asked")
        except OutOfTimeError:
            raise BudgetError(
                f"--minutes {minutes:g} was too little to encode {len(trial.documents):,} texts by "
                "float32 and to measure one smaller encoder; give more minutes or fewer documents; "
                "nothing is written, but what float32 encoded is kept for the next run"
            ) from None
        write_compressed(compressor, best, into)
        show(compressor, best, into, as_json=as_json)


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
    _, trial = read_texts(texts, None)
    checkpoint = base_of(base)
    choices = storage_choices(checkpoint, trial)
    found = compare_storage(checkpoint, choices, trial)
    if as_json:
        print_json(
            {
                name: asdict(each) | {"quantization": asdict(choices[name])}
                for name, each in found.items()
            }
        )
        return
    print_table(terminal_table(storage_cells(base, found)))
    for name, quantization in choices.items():
        if quantization.kept:
            note(f"{name}: {', '.join(quantization.kept)}")


def show(compressor: Compressor, best: Candidate, into: Path, *, as_json: bool) -> None:
    tried = [each.tried for each in compressor.candidates]
    if as_json:
        print_json(
            {
                "encoder": str(into),
                "best": asdict(best.tried),
                "steps": list(best.shrunk.steps),
                "tried": [asdict(each) for each in tried],
            }
        )
        return
    print_table(terminal_table(cells(tried, "what was tried")))
    low, high = best.tried.interval
    note(
        f"{into}: {best.tried.recipe}: {best.tried.speedup:.1f} times float32's query speed, "
        f"{best.tried.graph_bytes / 1e6:.1f} MB, loss of nDCG@10 {best.tried.loss:+.2%} "
        f"({low:+.2%} to {high:+.2%} with 95 % confidence)"
    )


def read_texts(texts: Path | None, collection: str | None) -> tuple[list[str], TestCollection]:
    """Documents to calibrate on, and the collection that losses are measured on."""
    if texts is None and collection is None:
        raise ConfigError(
            "no calibration text; give --texts FILE (500 of your documents or more) "
            "or --collection FOLDER"
        )
    documents = []
    if texts is not None:
        documents = [f"{each.title} {each.text}".strip() for each in read_unlabelled(texts)]
    if collection is None:
        return documents, known_items(documents, str(texts))
    trial = read_collection(collection)
    documents = documents or list(trial.documents.values())
    if not trial.is_judged:
        trial = known_items(list(trial.documents.values()), trial.name)
    return documents, trial


def base_of(name: str) -> Checkpoint:
    if is_encoder_folder(Path(name)):
        return as_checkpoint(Path(name))
    checkpoint, _ = read_encoder(split_precision(name)[0])
    return checkpoint


def explicit_recipe(
    recipe: Path | None,
    heads: int | None,
    neurons: int | None,
    layers: str | None,
    precision: Precision | None,
) -> Recipe | None:
    """What the flags ask for; None where they ask for nothing."""
    shape = {"heads": heads, "neurons": neurons, "layers": as_layers(layers)}
    given = {name: value for name, value in shape.items() if value is not None}
    if recipe is None and not given and precision is None:
        return None
    found = replace(read_recipe(recipe) if recipe else Recipe(), **given)  # type: ignore[arg-type]
    if precision is not None:
        stored = replace(found.quantization, matrices=precision, table=precision)
        found = replace(found, quantization=stored)
    return found


def as_layers(text: str | None) -> tuple[int, ...] | int | None:
    if text is None:
        return None
    try:
        numbers = tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ConfigError(f"--layers {text}: give a count (3) or numbers (0,4,5)") from None
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


def as_share(text: str | None) -> float | None:
    """``1%`` or ``0.01``."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise ConfigError(f"--max-loss {text}: give a share such as 1% or 0.01")
    return value


def as_multiple(text: str | None) -> float | None:
    """``10x`` or ``10``."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = -1.0
    return positive(value, "--speedup")


def positive(value: float | None, flag: str) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"{flag}: give a number above 0")
    return value
