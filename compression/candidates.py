"""Makes small encoders of one base and measures each: its loss, its speed, its size.

Loss is the relative loss of nDCG@10 against the float32 encoder, on a judged collection where the
user has one, else on known items of the user's own text (``eval.quality.known_items``). Speed is
that of one query, encoded in turns with the float32 encoder.
"""

import math
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimseek.atomic import make_folder
from trimseek.compression.budget import MEASURE, Budget, Measurement
from trimseek.compression.latency import query_milliseconds
from trimseek.compression.query_matcher import QueryMatcher
from trimseek.console import note
from trimseek.encoders.aligned import FOLDER, aligned_names, load_aligned, read_provenance
from trimseek.encoders.cached import embed_with, text_hash
from trimseek.encoders.card import described
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import GRAPH, write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.align import AlignmentSettings, silent, train
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.lessons import FEWEST, teach
from trimseek.encoders.shrink.recipe import Allocation, Method, Recipe, Shrinker, Shrunk
from trimseek.encoders.shrink.validation import Report
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.unlabelled import sentences, spans
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.measures import measure_run
from trimseek.eval.quality.retrieval import EXACT, as_run, build_index, rank
from trimseek.eval.quality.significance import Values, loss, loss_interval
from trimseek.settings import load_settings
from trimseek.time_limit import time_left

CALIBRATION_TOKENS = (8_000, 40_000)  # at least and at most
TOKENS_A_MINUTE = 4_000  # of calibration text, for each minute of the time limit
LEAST_TRAINING = 1.0  # minutes: less is not worth starting
TOKENS_A_WORD = 1.4
TIMED_TEXTS = 64  # documents that the float32 encoder's tokens a second are measured on
TEACHING = 0.25  # share of the training's time that goes into the teacher's vectors
SPARE = 1.5  # times the slowest candidate's time that must be left before training


@dataclass(frozen=True)
class EncoderCandidate:
    """An encoder that was made, and what was measured of it."""

    measurement: Measurement
    shrunk: Shrunk


class Cost(NamedTuple):
    """What an encoder's shape costs, as in ``Measurement``."""

    graph_bytes: int
    query_ms: float
    speedup: float


class Compressor:
    """Makes and measures candidates of one base; ``candidates`` has all of them, in order.

    ``trial``: the judged collection that losses are measured on. ``texts``: documents to calibrate
    and train on; ``queries``: what users ask, if known. ``folder``: for the encoders' files.
    ``query_only``: documents stay with the base at int8, as in an asymmetric pair. ``report``:
    called after each validation while an encoder is trained.
    CorpusError if float32 finds nothing in the collection.
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
        report: Report = silent,
    ) -> None:
        self.base, self.trial, self.budget, self.folder = base, trial, budget, folder
        self.texts, self.queries, self.query_only = texts, queries, query_only
        self.report = report
        self.longest = 0.0  # seconds of the slowest candidate, training apart
        self.tokenizer = TextTokenizer(base.tokenizer, base.max_tokens)
        self.shrinker = Shrinker(base, self.calibration())
        self.candidates: list[EncoderCandidate] = []
        self.reference = folder / "float32"
        write_encoder(base, self.reference, Quantization.everywhere(Precision.FLOAT32))
        self.exact = self.begin()
        if not self.exact.any():
            raise CorpusError(f"{trial.name}: float32 finds nothing there; nothing can be compared")

    def begin(self) -> Values:
        """Each query's nDCG@10 by float32; prepares what every candidate needs."""
        self.documents = self.encode_documents(self.reference, cached=True)
        self.tokens_per_second = self.measure_speed()
        exact = self.quality(self.reference, self.documents)
        if self.query_only and exact.any():
            int8 = self.folder / "documents"
            write_encoder(self.base, int8, Quantization())
            self.documents = self.encode_documents(int8, cached=True)
        return exact

    def calibration(self) -> list[Ids]:
        """Token ids of calibration texts, as many as the time limit has room for."""
        calibration: list[Ids] = []
        least, most = CALIBRATION_TOKENS
        limit = min(most, max(least, TOKENS_A_MINUTE * time_left() / 60))
        tokens = 0
        for text in self.queries if self.query_only and self.queries else self.texts:
            (encoded,) = self.tokenizer.encode([text])
            calibration.append(encoded.ids)
            tokens += len(encoded.ids)
            if tokens > limit:
                break
        return calibration

    def minutes_left(self) -> float:
        """Of the time limit, less the time that measuring one more candidate may take."""
        return (time_left() - SPARE * self.longest) / 60

    def encode_documents(self, folder: Path, *, cached: bool = False) -> FloatArray:
        """The trial documents' vectors ``(n, dim)``; ``cached``: kept for the next run."""
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
        texts = list(self.trial.documents.values())[:TIMED_TEXTS]
        encoder.encode(texts[:1])
        began = time.monotonic()
        return encoder.encode(texts).tokens / (time.monotonic() - began)

    def quality(self, folder: Path, documents: FloatArray) -> Values:
        """nDCG@10 of each query of the trial, encoded by ``folder`` and searched exactly."""
        queries = QueryEncoder(folder).encode(list(self.trial.queries.values())).vectors
        ranking, scores = rank(self.trial, build_index(EXACT, documents), queries, MEASURE.depth)
        values = measure_run(self.trial.qrels, as_run(self.trial, ranking, scores), [MEASURE])
        return np.array([values[str(MEASURE)][query] for query in self.trial.queries])

    def attempt(self, recipe: Recipe, name: str) -> EncoderCandidate:
        """Follow the recipe, training included, and measure the encoder that it makes."""
        began = time.monotonic()
        shrunk = self.shrinker.shrink(recipe)
        return self.attempt_shrunk(shrunk, name, recipe.align_minutes, began)

    def attempt_shrunk(
        self, shrunk: Shrunk, name: str, minutes: float = 0.0, began: float | None = None
    ) -> EncoderCandidate:
        """Train an encoder for so many minutes, or not at all for 0, and measure it.

        ``began``: when its making began, as ``time.monotonic`` has it; None for now.
        """
        began = time.monotonic() if began is None else began
        if minutes:
            shrunk = self.align(shrunk, minutes)
        candidate = self.measure(shrunk, name, began)
        if not minutes:
            self.longest = max(self.longest, candidate.measurement.seconds)
        return candidate

    def cost_of_shape(self, layers: int, keep: float, *, timed: bool) -> Cost:
        """Of an encoder of so many layers that each keep so much; its weights do not matter.

        Without ``timed`` its speed is not measured, and 0.
        """
        recipe = Recipe(layers, Method.MAGNITUDE, Allocation.UNIFORM, keep)
        shrunk = self.shrinker.shrink(recipe)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name) / "shape"
            write_encoder(shrunk.checkpoint, folder, shrunk.quantization)
            size = (folder / GRAPH).stat().st_size
            if not timed:
                return Cost(size, 0.0, 0.0)
            query_ms, base_ms = self.milliseconds([folder, self.reference])
        return Cost(size, query_ms, base_ms / query_ms)

    def relatives(self) -> Iterator[tuple[str, Shrunk]]:
        """The encoders that come with trimseek and are aligned to this base, by their names.

        Each is read when it is asked for.
        """
        for name in aligned_names():
            path = FOLDER / f"{name}.safetensors"
            if read_provenance(path).base_sha256 == self.base.sha256:
                steps = (f"take {name}, which is aligned to {self.base.name}",)
                yield name, Shrunk(load_aligned(path, self.base), Quantization(), steps)

    def measure(self, shrunk: Shrunk, name: str, began: float) -> EncoderCandidate:
        """Write an encoder, measure its loss and speed, and delete its files.

        ``began``: when its making began, as ``time.monotonic`` has it.
        """
        folder = self.folder / "candidate"
        card = write_encoder(shrunk.checkpoint, folder, shrunk.quantization, shrunk.steps)
        values = self.values_of(folder)
        query_ms, base_ms = self.milliseconds([folder, self.reference])
        measurement = Measurement(
            recipe=name,
            shape=described(card.layers),
            graph_bytes=(folder / GRAPH).stat().st_size,
            query_ms=query_ms,
            speedup=base_ms / query_ms,
            loss=loss(self.exact, values),
            interval=loss_interval(self.exact, values),
            seconds=time.monotonic() - began,
        )
        low, high = measurement.interval
        note(
            f"{name}: loss {measurement.loss:+.2%} ({low:+.2%} to {high:+.2%}), {query_ms:.2f} ms "
            f"a query, {measurement.speedup:.1f}x, {measurement.graph_bytes / 1e6:.1f} MB"
        )
        shutil.rmtree(folder)
        candidate = EncoderCandidate(measurement, shrunk)
        self.candidates.append(candidate)
        return candidate

    def values_of(self, folder: Path) -> Values:
        """Each query's nDCG@10 by the encoder of a folder."""
        documents = self.documents if self.query_only else self.encode_documents(folder)
        return self.quality(folder, documents)

    def milliseconds(self, folders: Sequence[Path]) -> list[float]:
        """p50 of encoding one query, ms, of each encoder; in turns."""
        return query_milliseconds(folders, self.trial)

    def align(self, shrunk: Shrunk, minutes: float) -> Shrunk:
        """The encoder after training on the user's text towards the float32 vectors."""
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
        module, _ = train(shrunk.checkpoint, lessons, settings, state=state, report=self.report)
        count = len(lessons.training.ids)
        step = f"align on {count:,} texts for {settings.minutes:.1f} minutes"
        aligned = replace(shrunk.checkpoint, weights=module.weights())
        return shrunk._replace(checkpoint=aligned, steps=(*shrunk.steps, step))

    def can_train(self) -> bool:
        """Whether there are enough texts to train on."""
        return len(self.training_texts(math.inf)) >= FEWEST

    def training_texts(self, tokens: float) -> list[str]:
        """Queries, sentences and documents, until they have so many tokens.

        Texts in which a query of the trial occurs word by word are left out.
        """
        trial_queries = QueryMatcher(self.trial.queries.values())
        short = [sentence for text in self.texts for sentence in sentences(text)]
        short += spans(self.texts, len(short), seed=0)
        long = [] if self.query_only else list(self.texts)
        chosen = random.Random(0)  # noqa: S311 - a sample, not a secret
        texts = [*self.queries, *chosen.sample(short, len(short)), *long]
        if long:  # mix documents with what stands for queries
            chosen.shuffle(texts)
        kept, spent = [], 0.0
        for text in texts:
            words = text.split()
            if not trial_queries.occurs_in(words):
                kept.append(text)
                spent += TOKENS_A_WORD * min(len(words), self.base.max_tokens)
            if spent > tokens:
                break
        return kept
