"""Search for the best encoder under a budget: smaller and smaller recipes, each one measured.

Loss is the relative loss of nDCG@10 against the float32 encoder, on a judged collection where the
user has one, else on known items of the user's own text (``eval.known_items``). Speed is that of
one query, encoded in turns with the float32 encoder.
"""

import bisect
import json
import math
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from encoders.cached import embed_with, text_hash
from encoders.card import EncoderCard, described
from encoders.checkpoint import Checkpoint
from encoders.encoder import DocumentEncoder, QueryEncoder
from encoders.folder import GRAPH, write_encoder
from encoders.quantize import Precision, Quantization
from encoders.shrink.align import AlignmentSettings, align
from encoders.shrink.calibration import Ids
from encoders.shrink.lessons import FEWEST, teach
from encoders.shrink.recipe import Allocation, Method, Recipe, Shrinker, Shrunk
from encoders.shrink.scalars import Report
from encoders.shrink.training_state import Validation
from encoders.tokens import TextTokenizer
from encoders.unlabelled import sentences, spans
from encoders.weights import FloatArray
from eval.collection import TestCollection
from eval.latency import query_milliseconds
from eval.measures import measure_run, parse_measure
from eval.output import write_text
from eval.pareto import Panel, Point, as_svg, draw_panels
from eval.report import Cells, markdown_table
from eval.retrieval import EXACT, as_run, build_index, rank
from eval.significance import Interval, Values, loss, loss_interval
from trimseek.atomic import make_folder
from trimseek.console import note
from trimseek.errors import BudgetError, CorpusError, OutOfTimeError
from trimseek.settings import load_settings
from trimseek.time_limit import time_left

MEASURE = parse_measure("nDCG@10")
KEEPS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # shares of heads and neurons that are tried
FLOATS = (2, 4, 8)  # matrices kept in float32 where int8 alone costs too much
CALIBRATION_TOKENS = (8_000, 40_000)  # at least and at most
TOKENS_A_MINUTE = 4_000  # of calibration
LEAST_TRAINING = 1.0  # minutes: less is not worth starting
LAYER_SHARES = (1, 2 / 3, 1 / 2, 1 / 3, 1 / 6)
MOST_COMPARED = 3  # shapes of another depth that are fast enough
MARGIN = 0.95  # of a time limit that a shape must keep to before it is trained
TOKENS_A_WORD = 1.4
PACED_TEXTS = 64
TEACHING = 0.25  # of the training's time goes into the teacher's vectors
PICTURE_TITLE = "Quality against latency of one query"
BEGINNING = 3  # words by which queries are looked up
SPARE = 1.5  # times what a candidate took so far must be left before training


@dataclass(frozen=True)
class Budget:
    """What the encoder must keep to; ``max_loss`` and ``speedup`` are relative to float32.

    ``max_ms``: p50 of encoding one query.
    """

    max_loss: float | None = None
    speedup: float | None = None
    max_ms: float | None = None

    def met_by(self, tried: "Tried") -> bool:
        return (
            (self.max_loss is None or tried.loss <= self.max_loss)
            and (self.speedup is None or tried.speedup >= self.speedup)
            and (self.max_ms is None or tried.query_ms <= self.max_ms)
        )

    def __str__(self) -> str:
        found = []
        if self.max_loss is not None:
            found.append(f"a loss of at most {self.max_loss:.2%}")
        if self.speedup is not None:
            found.append(f"{self.speedup:g} times the speed")
        if self.max_ms is not None:
            found.append(f"{self.max_ms:g} ms a query")
        return " and ".join(found) or "no budget"


@dataclass(frozen=True)
class Tried:
    """One encoder that was made and measured.

    ``loss``: relative, of nDCG@10, with its 95 % interval. ``graph_bytes``: of what runs.
    """

    recipe: str
    shape: str
    graph_bytes: int
    query_ms: float
    speedup: float
    loss: float
    interval: Interval
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """What was tried, and what it was made of."""

    tried: Tried
    shrunk: Shrunk


class Asked:
    """Queries, to be recognized within other texts."""

    def __init__(self, queries: Iterable[str]) -> None:
        self._by_beginning: dict[tuple[str, ...], list[list[str]]] = {}
        for query in queries:
            words = query.split()
            self._by_beginning.setdefault(tuple(words[:BEGINNING]), []).append(words)

    def within(self, words: Sequence[str]) -> bool:
        """Whether one of them stands there, word by word."""
        for i in range(len(words)):
            for n in range(1, BEGINNING + 1):
                for query in self._by_beginning.get(tuple(words[i : i + n]), ()):
                    if words[i : i + len(query)] == query:
                        return True
        return False


class Compressor:
    """Makes and measures candidates for one base, and finds the best of them.

    ``trial``: the judged collection that losses are measured on. ``texts``: documents to calibrate
    and train on; ``queries``: what users ask, if known. ``folder`` keeps the candidates.
    ``query_only``: documents stay with the base at int8, as an asymmetric pair has it.
    """

    def __init__(
        self,
        base: Checkpoint,
        trial: TestCollection,
        texts: Sequence[str],
        queries: Sequence[str],
        budget: Budget,
        folder: Path,
        *,
        query_only: bool = False,
        report: Report | None = None,
    ) -> None:
        self.report = report or say
        self.base, self.trial, self.budget, self.folder = base, trial, budget, folder
        self.texts, self.queries, self.query_only = texts, queries, query_only
        self.longest = 0.0  # seconds that a candidate took, without training
        self.tokenizer = TextTokenizer(base.tokenizer, base.max_tokens)
        self.shrinker = Shrinker(base, self.calibration())
        self.candidates: list[Candidate] = []
        self.reference = folder / "float32"
        write_encoder(base, self.reference, Quantization.everywhere(Precision.FLOAT32))
        self.documents = self.encode_documents(self.reference, cached=True)
        self.tokens_per_second = self.measure_speed()
        self.exact = self.quality(self.reference, self.documents)
        if not self.exact.any():
            raise CorpusError(f"{trial.name}: float32 finds nothing there; nothing can be compared")
        if query_only:
            int8 = folder / "documents"
            write_encoder(base, int8, Quantization())
            self.documents = self.encode_documents(int8, cached=True)

    def calibration(self) -> list[Ids]:
        """Token ids of calibration texts, as many as there is time for."""
        ids: list[Ids] = []
        least, most = CALIBRATION_TOKENS
        wanted = min(most, max(least, TOKENS_A_MINUTE * time_left() / 60))
        tokens = 0
        for text in self.queries if self.query_only and self.queries else self.texts:
            (found,) = self.tokenizer.encode([text])
            ids.append(found.ids)
            tokens += len(found.ids)
            if tokens > wanted:
                break
        return ids

    def minutes_left(self) -> float:
        """Of the time limit, after a candidate that takes as long as the slowest until now."""
        return (time_left() - SPARE * self.longest) / 60

    def encode_documents(self, folder: Path, *, cached: bool = False) -> FloatArray:
        """The trial documents' vectors; those of the base are kept for the next run."""
        encoder = DocumentEncoder(folder)
        return embed_with(
            encoder,
            list(self.trial.documents.values()),
            f"{self.trial.name}: documents",
            cached=cached,
        )

    def measure_speed(self) -> float:
        """Tokens a second that the float32 encoder reads."""
        encoder = DocumentEncoder(self.reference)
        texts = list(self.trial.documents.values())[:PACED_TEXTS]
        encoder.encode(texts[:1])
        began = time.monotonic()
        return encoder.encode(texts).tokens / (time.monotonic() - began)

    def quality(self, folder: Path, documents: FloatArray) -> Values:
        """nDCG@10 of each query of the trial collection."""
        queries = QueryEncoder(folder).encode(list(self.trial.queries.values())).vectors
        ranking, scores = rank(self.trial, build_index(EXACT, documents), queries, MEASURE.depth)
        values = measure_run(self.trial.qrels, as_run(self.trial, ranking, scores), [MEASURE])
        return np.array([values[str(MEASURE)][query] for query in self.trial.queries])

    def attempt(self, recipe: Recipe, name: str) -> Candidate:
        """Follow the recipe, training included, and measure what it gives."""
        began = time.monotonic()
        shrunk = self.shrinker.shrink(recipe)
        if recipe.align_minutes:
            shrunk = self.aligned(shrunk, recipe.align_minutes)
        candidate = self.measured(shrunk, name, began)
        if not recipe.align_minutes:
            self.longest = max(self.longest, candidate.tried.seconds)
        return candidate

    def measured(self, shrunk: Shrunk, name: str, began: float) -> Candidate:
        """Write an encoder, and measure its loss and speed."""
        folder = self.folder / "candidate"
        card = write_encoder(shrunk.checkpoint, folder, shrunk.quantization, shrunk.steps)
        documents = self.documents if self.query_only else self.encode_documents(folder)
        ours = self.quality(folder, documents)
        query_ms, base_ms = query_milliseconds([folder, self.reference], self.trial)
        tried = Tried(
            recipe=name,
            shape=described(card.layers),
            graph_bytes=(folder / GRAPH).stat().st_size,
            query_ms=query_ms,
            speedup=base_ms / query_ms,
            loss=loss(self.exact, ours),
            interval=loss_interval(self.exact, ours),
            seconds=time.monotonic() - began,
        )
        low, high = tried.interval
        note(
            f"{name}: loss {tried.loss:+.2%} ({low:+.2%} to {high:+.2%}), {query_ms:.2f} ms a "
            f"query, {tried.speedup:.1f}x, {tried.graph_bytes / 1e6:.1f} MB"
        )
        shutil.rmtree(folder)
        candidate = Candidate(tried, shrunk)
        self.candidates.append(candidate)
        return candidate

    def aligned(self, shrunk: Shrunk, minutes: float) -> Shrunk:
        """The encoder after training on the user's text."""
        began = time.monotonic()
        # a power of two: an interrupted run goes on only if it takes the same texts again
        tokens = 2 ** math.floor(math.log2(TEACHING * 60 * minutes * self.tokens_per_second))
        texts = self.training_texts(tokens)
        role = "query" if self.query_only else "document"
        lessons = teach(self.reference, texts, role, neighbours=AlignmentSettings.neighbours)
        left = minutes - (time.monotonic() - began) / 60
        settings = AlignmentSettings(minutes=max(left, LEAST_TRAINING / 2))
        key = text_hash([self.base.sha256, role, *shrunk.steps, *texts])
        state = make_folder(load_settings().home / "training") / f"{key}.safetensors"
        weights = align(shrunk.checkpoint, lessons, settings, state=state, report=self.report)
        count = len(lessons.training.ids)
        step = f"align on {count:,} texts for {settings.minutes:.1f} minutes"
        small = replace(shrunk.checkpoint, weights=weights)
        return shrunk._replace(checkpoint=small, steps=(*shrunk.steps, step))

    def can_train(self) -> bool:
        return len(self.training_texts(math.inf)) >= FEWEST

    def training_texts(self, tokens: float) -> list[str]:
        """Queries, sentences and documents, as many as the teacher can read of that many tokens.

        Without those that have the words of a query in a row that losses are measured on.
        """
        apart = Asked(self.trial.queries.values())
        short = [each for text in self.texts for each in sentences(text)]
        short += spans(self.texts, len(short), seed=0)
        long = [] if self.query_only else list(self.texts)
        chosen = random.Random(0)  # noqa: S311 - a sample, not a secret
        texts = [*self.queries, *chosen.sample(short, len(short)), *long]
        if long:  # documents and what is asked of them in turns
            chosen.shuffle(texts)
        kept, spent = [], 0.0
        for text in texts:
            words = text.split()
            if not apart.within(words):
                kept.append(text)
                spent += TOKENS_A_WORD * min(len(words), self.base.max_tokens)
            if spent > tokens:
                break
        return kept


def search(compressor: Compressor) -> Candidate:
    """The best encoder within the budget; BudgetError with the closest if there is none.

    A ``time_limit`` ends it with what was measured until then; OutOfTimeError if nothing was.
    """
    budget = compressor.budget
    explore = by_speed if budget.max_loss is None else by_loss
    try:
        explore(compressor)
    except OutOfTimeError:
        if not compressor.candidates:
            raise
        note("the time is over; the last candidate was not finished")
    best = best_of(compressor.candidates, budget)
    if not budget.met_by(best.tried):
        tried = best.tried
        raise BudgetError(
            f"no encoder has {budget}; the closest found: {tried.recipe}: loss {tried.loss:.2%}, "
            f"{tried.speedup:.1f} times the speed, {tried.query_ms:.2f} ms a query; "
            "nothing is written"
        )
    return best


def best_of(candidates: Sequence[Candidate], budget: Budget) -> Candidate:
    """Of those within the budget the fastest, or that of least loss if only speed is asked for.

    Of none, the fastest within the loss, or of least loss; or the fastest if only speed is asked.
    """
    fitting = [each for each in candidates if budget.met_by(each.tried)]
    if budget.max_loss is None:
        if fitting:
            return min(fitting, key=lambda each: each.tried.loss)
        return max(candidates, key=lambda each: each.tried.speedup)
    asked = Budget(max_loss=budget.max_loss)
    fitting = fitting or [each for each in candidates if asked.met_by(each.tried)]
    if fitting:
        return max(fitting, key=lambda each: each.tried.speedup)
    return min(candidates, key=lambda each: each.tried.loss)


def by_loss(compressor: Compressor) -> None:
    """Faster and faster until too much is lost: first without training, then with what is left."""
    budget = compressor.budget
    found = compressor.attempt(Recipe(), "int8")
    for count in FLOATS:
        if budget.met_by(found.tried) or compressor.minutes_left() < 0:
            break
        found = compressor.attempt(Recipe(kept_in_float=count), f"int8, {count} in float32")
    if not budget.met_by(found.tried):
        return
    low, high = 0, len(KEEPS)  # KEEPS[:low] are good enough, KEEPS[high:] are not
    while low < high and compressor.minutes_left() > 0:
        middle = (low + high) // 2
        found = compressor.attempt(Recipe(keep=KEEPS[middle]), f"keep {KEEPS[middle]:.0%}, int8")
        if budget.met_by(found.tried):
            low = middle + 1
        else:
            high = middle
    for further in (low + 2, low + 1, low):  # what training may make good
        keep = KEEPS[min(further, len(KEEPS) - 1)]
        minutes = training_minutes(compressor) / (1 if further == low else 2)
        if minutes < LEAST_TRAINING:
            break
        recipe = Recipe(keep=keep, align_minutes=minutes)
        found = compressor.attempt(recipe, f"keep {keep:.0%}, aligned, int8")
        if budget.met_by(found.tried):
            break


def by_speed(compressor: Compressor) -> None:
    """Shapes that are fast enough; that of least loss is trained with the time that is left."""
    count = len(compressor.base.weights.layers)
    fitting: list[tuple[Recipe, Candidate]] = []
    for layers in dict.fromkeys(max(1, round(count * share)) for share in LAYER_SHARES):
        began = time.monotonic()
        recipe = largest_in_time(compressor, layers)
        looking = time.monotonic() - began
        if recipe is None:
            continue
        name = f"{layers} layers, keep {recipe.keep:.0%}, int8"
        fitting.append((recipe, compressor.attempt(recipe, name)))
        if len(fitting) == MOST_COMPARED or compressor.minutes_left() < looking / 60:
            break
    if not fitting:
        smallest = Recipe(layers=1, keep=KEEPS[-1], allocation=Allocation.UNIFORM)
        compressor.attempt(smallest, f"1 layer, keep {KEEPS[-1]:.0%}, int8")
        return
    recipe, best = min(fitting, key=lambda each: each[1].tried.loss)
    minutes = training_minutes(compressor)
    if minutes >= LEAST_TRAINING:
        compressor.attempt(replace(recipe, align_minutes=minutes), f"{best.tried.recipe}, aligned")


def largest_in_time(compressor: Compressor, layers: int) -> Recipe | None:
    """The recipe of so many layers that keeps most and is fast enough, by shape alone."""
    recipes = [
        Recipe(layers=layers, keep=keep, allocation=Allocation.UNIFORM) for keep in (1.0, *KEEPS)
    ]
    first = bisect.bisect_left(recipes, True, key=lambda each: is_fast_enough(compressor, each))
    return recipes[first] if first < len(recipes) else None


def is_fast_enough(compressor: Compressor, recipe: Recipe) -> bool:
    """Whether an encoder of that shape keeps to the budget's speed; its weights do not matter."""
    budget = compressor.budget
    shrunk = compressor.shrinker.shrink(replace(recipe, method=Method.MAGNITUDE))
    with tempfile.TemporaryDirectory(dir=compressor.folder) as folder:
        shape = Path(folder) / "shape"
        write_encoder(shrunk.checkpoint, shape, shrunk.quantization)
        ms, base_ms = query_milliseconds([shape, compressor.reference], compressor.trial)
    in_time = budget.max_ms is None or ms <= MARGIN * budget.max_ms
    return in_time and (budget.speedup is None or MARGIN * base_ms / ms >= budget.speedup)


def training_minutes(compressor: Compressor) -> float:
    """What is left for training; 0 where there is nothing to train on."""
    if not compressor.can_train():
        note("too few texts to train on; what needs no training is all there is")
        return 0.0
    return compressor.minutes_left()


def say(found: Validation, training_loss: float) -> None:
    note(
        f"  step {found.step:,}, {found.seconds / 60:.1f} min: loss {training_loss:.4f}; held-out "
        f"texts: cosine {found.cosine:.4f}, overlap@10 {found.overlap:.3f}"
    )


def cells(tried: Sequence[Tried], title: str) -> Cells:
    """What was tried, as a table."""
    headings = ("recipe", "heads/neurons", "MB", "query ms", "speed", "loss", "95 % interval", "s")
    rows = [
        (
            each.recipe,
            each.shape,
            f"{each.graph_bytes / 1e6:.1f}",
            f"{each.query_ms:.2f}",
            f"{each.speedup:.1f}x",
            f"{each.loss:+.2%}",
            f"{each.interval.low:+.2%} to {each.interval.high:+.2%}",
            f"{each.seconds:.0f}",
        )
        for each in tried
    ]
    return Cells(title, headings, rows)


def panel(tried: Sequence[Tried]) -> Panel:
    """Quality kept against latency, for the picture."""
    points = [
        Point(each.recipe, each.query_ms, 100 * (1 - each.loss), peer=False) for each in tried
    ]
    return Panel("what was tried", f"% of float32's {MEASURE}", points, "encoding p50")


def write_compressed(compressor: Compressor, best: Candidate, folder: Path) -> EncoderCard:
    """Write the encoder with what was measured on its card, and beside it what was tried."""
    tried = best.tried
    card = write_encoder(
        best.shrunk.checkpoint,
        folder,
        best.shrunk.quantization,
        best.shrunk.steps,
        {
            "graph_bytes": tried.graph_bytes,
            "query_ms": tried.query_ms,
            "speedup": tried.speedup,
            "loss": tried.loss,
            "loss_low": tried.interval.low,
            "loss_high": tried.interval.high,
            "loss_queries": len(compressor.trial.queries),
        },
    )
    all_tried = [each.tried for each in compressor.candidates]
    write_text(folder / "tried.json", json.dumps([asdict(each) for each in all_tried], indent=2))
    title = f"{compressor.base.name} for {compressor.budget}; losses on {compressor.trial.name}"
    table = markdown_table(cells(all_tried, title))
    write_text(folder / "tried.md", f"# {title}\n\n{table}\n\n![](tried.svg)\n")
    write_text(folder / "tried.svg", as_svg(draw_panels([panel(all_tried)], PICTURE_TITLE)))
    return card
