"""Makes small encoders of one base and measures each: its loss, its speed, its size.

Loss is the relative loss of nDCG@10 against the float32 encoder, by a judged collection where the
user has one, and by queries made from the user's own text (``pseudo_judgments``). Speed is that of
one query, encoded in turns with the float32 encoder.
"""

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from trimseek.atomic import make_folder
from trimseek.compression.budget import Budget, CandidateReport, Measurement, not_told
from trimseek.compression.estimate import CONFIDENCE
from trimseek.compression.judge import HalfJudge, Judge
from trimseek.compression.latency import query_milliseconds
from trimseek.compression.query_matcher import QueryMatcher
from trimseek.compression.search_state import SearchState
from trimseek.compression.trial import SEED, Half, Trial
from trimseek.console import note
from trimseek.encoders.aligned import FOLDER, aligned_names, load_aligned, read_provenance
from trimseek.encoders.cached import embed_with, text_hash
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.cost import shares
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import graph_bytes, write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.align import AlignmentSettings, silent, train
from trimseek.encoders.shrink.allocate import least_share
from trimseek.encoders.shrink.calibration import Ids, is_enough
from trimseek.encoders.shrink.input_ranges import recalibrated
from trimseek.encoders.shrink.lessons import FEWEST, Lessons, teach
from trimseek.encoders.shrink.recipe import Allocation, Method, Recipe, Shrinker, Shrunk
from trimseek.encoders.shrink.static import fitted, static_encoder
from trimseek.encoders.shrink.student import projected
from trimseek.encoders.shrink.validation import Report
from trimseek.encoders.unlabelled import sentences, shuffled, spans
from trimseek.errors import BudgetError
from trimseek.settings import load_settings
from trimseek.time_limit import time_left

CALIBRATION_TOKENS = (8_000, 40_000)  # at least and at most
TOKENS_A_MINUTE = 4_000  # of calibration text, for each minute of the time limit
LEAST_TRAINING = 1.0  # minutes: less is not worth starting
TOKENS_A_WORD = 1.4
TIMED_TEXTS = 64  # documents that the float32 encoder's tokens a second are measured on
TEACHING = 0.25  # share of the training's time that goes into the teacher's vectors
FITTED_TEXTS = 4_000  # that a student's projection is fitted to
TOKENS_OF_SHORT = 20  # about
STATIC_ALIGNMENT = AlignmentSettings(minutes=0.0, batch=1024, weight_decay=0.0)
LEAST_SHARE = 0.1  # of the minutes of a static encoder, that it trains whatever the rest took
SPARE = 1.5  # times the slowest candidate's time that must be left before training


@dataclass(frozen=True)
class EncoderCandidate:
    """An encoder that was made, and what was measured of it.

    ``source``: gives it, or makes it again where an interrupted search had measured it.
    """

    measurement: Measurement
    source: Callable[[], Shrunk]

    @cached_property
    def shrunk(self) -> Shrunk:
        """The encoder."""
        return self.source()


class Cost(NamedTuple):
    """What an encoder's shape costs, as in ``Measurement``."""

    graph_bytes: int
    query_ms: float
    speedup: float


def keeping(shrunk: Shrunk) -> Shrunk:
    """The encoder itself, as the source of a candidate."""
    return shrunk


class Compressor:
    """Makes and measures candidates of one base; ``candidates`` has all of them, in order.

    ``trial``: what losses are measured on; its first half chooses, and the other confirms.
    ``texts``: documents to calibrate and train on, but those that confirm; ``queries``: what users
    ask, if known. ``folder``: for the encoders' files. ``confidence``: of the intervals.
    ``query_only``: documents stay with the base at int8, as in an asymmetric pair. ``student``: a
    smaller encoder that is made for the base's queries, in the place of the base itself.
    ``report``: called after each validation while an encoder is trained; ``measured``: with the
    number, from 1, and the measurement of each candidate.
    ``start``: what is made smaller, the base or the student. CorpusError if no loss can be
    measured.
    """

    alignment = AlignmentSettings(minutes=0.0)  # of which each training has its own minutes

    def __init__(
        self,
        base: Checkpoint,
        trial: Trial,
        texts: Sequence[str],
        queries: Sequence[str],
        budget: Budget,
        folder: Path,
        *,
        confidence: float = CONFIDENCE,
        query_only: bool = False,
        student: Checkpoint | None = None,
        report: Report = silent,
        measured: CandidateReport = not_told,
    ) -> None:
        self.measured = measured
        self.base, self.trial, self.budget, self.folder = base, trial, budget, folder
        self.texts, self.queries = shuffled(trial.outside_confirming(texts), SEED), queries
        self.confidence, self.query_only, self.report = confidence, query_only, report
        self.longest = 0.0  # seconds of the slowest candidate, training apart
        self.candidates: list[EncoderCandidate] = []
        self.reference = folder / "float32"
        write_encoder(base, self.reference, Quantization.everywhere(Precision.FLOAT32))
        self.start = self.starting(student)
        self.tokenizer = tokenizer_of(self.start)
        self.shrinker = Shrinker(self.start, self.calibration(), [*self.queries, *self.texts])
        documents_by = None
        if query_only:
            documents_by = folder / "documents"
            write_encoder(base, documents_by, Quantization())
        self.state = SearchState(
            base, self.start, trial.choosing, f"{confidence} {query_only} {type(self).__name__}"
        )
        for measurement, shrunk in self.state.trained():
            note(f"{measurement.recipe}: trained before this search was interrupted")
            self.candidates.append(EncoderCandidate(measurement, partial(keeping, shrunk)))
        self.choosing = self.judge(trial.choosing, documents_by)
        self.confirming = self.judge(trial.confirming, documents_by)

    def starting(self, student: Checkpoint | None) -> Checkpoint:
        """What is made smaller."""
        return self.base if student is None else self.projected(student)

    def complete(self, shrunk: Shrunk, *, to_keep: bool) -> Checkpoint:
        """The encoder that one that was made smaller is, or is a part of.

        ``to_keep``: it is the one that is kept, not one to measure.
        """
        return shrunk.checkpoint

    def write(
        self, shrunk: Shrunk, folder: Path, measured: Mapping[str, float] | None = None
    ) -> EncoderCard:
        """Write an encoder that was made smaller, whole, with what was measured of it."""
        checkpoint = self.complete(shrunk, to_keep=measured is not None)
        return write_encoder(checkpoint, folder, shrunk.quantization, shrunk.steps, measured)

    def judge(self, half: Half, documents_by: Path | None) -> HalfJudge:
        """Measures losses on a half; ``documents_by`` as in ``Judge``."""
        return Judge(half, self.reference, documents_by)

    def projected(self, student: Checkpoint) -> Checkpoint:
        """The student as an encoder of the base's space, still untrained."""
        short = FITTED_TEXTS * TOKENS_OF_SHORT
        texts = self.training_texts(short)[:FITTED_TEXTS]
        encoder = QueryEncoder(self.reference)
        vectors = embed_with(encoder, texts, "texts to project the student by")
        return projected(student, self.base, texts, vectors)

    @cached_property
    def tokens_per_second(self) -> float:
        """How fast the float32 encoder reads."""
        encoder = DocumentEncoder(self.reference)
        texts = list(self.trial.choosing.documents.values())[:TIMED_TEXTS]
        encoder.encode(texts[:1])
        began = time.monotonic()
        return encoder.encode(texts).tokens / (time.monotonic() - began)

    def calibration(self) -> list[Ids]:
        """Token ids of calibration texts, as many as the time limit has room for.

        Half of the tokens are of documents, half of what queries are like: calibrated on documents
        alone, an encoder of half of NFCorpus's arithmetic moved queries twice as far.
        """
        least, most = CALIBRATION_TOKENS
        limit = min(most, max(least, TOKENS_A_MINUTE * time_left() / 60))
        share = limit if self.query_only else limit / 2
        asked = self.beginning([*self.queries, *self.short_texts], share)
        if self.query_only and asked:
            return asked
        return self.beginning(self.texts, limit - sum(map(len, asked))) + asked

    def beginning(self, texts: Iterable[str], limit: float) -> list[Ids]:
        """Token ids of the first texts, until they have so many tokens."""
        taken: list[Ids] = []
        tokens = 0
        for text in texts:
            if tokens >= limit:
                break
            (encoded,) = self.tokenizer.encode([text])
            taken.append(encoded.ids)
            tokens += len(encoded.ids)
        return taken

    @cached_property
    def short_texts(self) -> list[str]:
        """Sentences of the texts and parts of them, in random order: what queries are like."""
        short = [sentence for text in self.texts for sentence in sentences(text)]
        short += spans(self.texts, len(short), seed=0)
        return random.Random(0).sample(short, len(short))  # noqa: S311 - a sample, not a secret

    def minutes_left(self) -> float:
        """Of the time limit, less the time that measuring one more candidate may take."""
        return (time_left() - SPARE * self.longest) / 60

    def confirming_seconds(self) -> float:
        """How long the confirmation takes at most."""
        texts = [*self.trial.confirming.made.values(), *self.trial.confirming.queries.values()]
        if not self.query_only:
            texts += self.trial.confirming.documents.values()
        tokens = sum(TOKENS_A_WORD * min(len(text.split()), self.base.max_tokens) for text in texts)
        return tokens / self.tokens_per_second

    def attempt(self, recipe: Recipe, name: str) -> EncoderCandidate:
        """Follow the recipe, training included, and measure the encoder that it makes."""
        began = time.monotonic()
        key = f"{name}: {recipe}"
        known = None if recipe.align_minutes else self.state.measured(key)
        if known is not None:
            note(f"{name}: measured before this search was interrupted")
            candidate = EncoderCandidate(known, partial(self.shrinker.shrink, recipe))
            self.candidates.append(candidate)
            self.measured(len(self.candidates), known)
            return candidate
        shrunk = self.shrinker.shrink(recipe)
        return self.attempt_shrunk(shrunk, name, recipe.align_minutes, began, key)

    def attempt_shrunk(
        self,
        shrunk: Shrunk,
        name: str,
        minutes: float = 0.0,
        began: float | None = None,
        key: str = "",
    ) -> EncoderCandidate:
        """Train an encoder for so many minutes, or not at all for 0, and measure it.

        ``began``: when its making began, as ``time.monotonic`` has it; None for now. ``key``: in
        the state of the search, the name by default.
        """
        began = time.monotonic() if began is None else began
        if minutes:
            shrunk = self.align(shrunk, minutes)
        candidate = self.measure(shrunk, name, began)
        self.state.keep(key or name, shrunk, candidate.measurement, trained=minutes > 0)
        if not minutes:
            self.longest = max(self.longest, candidate.measurement.seconds)
        return candidate

    def attempt_static(self, name: str, minutes: float) -> EncoderCandidate:
        """Make a static encoder of the base's space, train it for so many minutes, measure it."""
        began = time.monotonic()
        texts = self.training_texts(TEACHING * 60 * minutes * self.tokens_per_second)
        encoder = static_encoder(self.base, texts)
        lessons = teach(
            *(self.reference, texts, self.role),
            neighbours=STATIC_ALIGNMENT.neighbours,
            tokenizer=tokenizer_of(encoder),
        )
        encoder = fitted(encoder, lessons.training)
        left = minutes - (time.monotonic() - began) / 60
        settings = replace(STATIC_ALIGNMENT, minutes=max(left, LEAST_SHARE * minutes))
        module, _ = train(encoder, lessons, settings, report=self.report, trains_table=True)
        count = len(lessons.training.ids)
        steps = (
            f"a static encoder of {len(encoder.weights.token_embeddings):,} tokens",
            f"align on {count:,} texts for {settings.minutes:.1f} minutes",
        )
        made = replace(encoder, weights=module.weights())
        return self.measure(Shrunk(made, Quantization(), steps), name, began)

    def cost_of_shape(self, layers: int, keep: float, *, timed: bool) -> Cost:
        """Of an encoder of so many layers that each keep so much; its weights do not matter.

        Without ``timed`` its speed is not measured, and 0.
        """
        recipe = Recipe(
            layers,
            folded=False,
            method=Method.MAGNITUDE,
            allocation=Allocation.UNIFORM,
            keep=keep,
        )
        shrunk = self.shrinker.shrink(recipe)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name) / "shape"
            self.write(shrunk, folder)
            size = graph_bytes(folder)
            if not timed:
                return Cost(size, 0.0, 0.0)
            query_ms, base_ms = self.milliseconds([folder, self.reference])
        return Cost(size, query_ms, base_ms / query_ms)

    def relatives(self) -> Iterator[tuple[str, Shrunk]]:
        """The encoders that come with trimseek and are aligned to this base, by their names.

        Each is read when it is asked for.
        """
        for name in aligned_names() if self.start is self.base else ():
            path = FOLDER / f"{name}.safetensors"
            if read_provenance(path).base_sha256 == self.base.sha256:
                steps = (f"take {name}, which is aligned to {self.base.name}",)
                yield name, Shrunk(load_aligned(path, self.base), Quantization(), steps)

    def measure(self, shrunk: Shrunk, name: str, began: float) -> EncoderCandidate:
        """Write an encoder, measure its loss and speed, and delete its files.

        ``began``: when its making began, as ``time.monotonic`` has it.
        """
        folder = self.folder / "candidate"
        self.write(shrunk, folder)
        claim = self.choosing.estimate(folder, self.confidence)
        query_ms, base_ms = self.milliseconds([folder, self.reference])
        measurement = Measurement(
            recipe=name,
            shape=str(shares(shrunk.checkpoint.weights, self.start.weights)),
            graph_bytes=graph_bytes(folder),
            query_ms=query_ms,
            speedup=base_ms / query_ms,
            seconds=time.monotonic() - began,
            **claim._asdict(),
        )
        low, high = claim.expected
        note(
            f"{name}: loss {claim.loss:+.2%} ({low:+.2%} to {high:+.2%}), {query_ms:.2f} ms "
            f"a query, {measurement.speedup:.1f}x, {measurement.graph_bytes / 1e6:.1f} MB"
        )
        shutil.rmtree(folder)
        candidate = EncoderCandidate(measurement, partial(keeping, shrunk))
        self.candidates.append(candidate)
        self.measured(len(self.candidates), measurement)
        return candidate

    def confirm(self, best: EncoderCandidate) -> Measurement:
        """Measured on the half that confirms, once; its speed and size are as they were.

        BudgetError if it loses more than the budget allows, by all of the expected interval.
        """
        folder = self.folder / "confirmed"
        self.write(best.shrunk, folder)
        claim = self.confirming.confirm(folder, self.confidence)
        shutil.rmtree(folder)
        most, (low, high) = self.budget.max_loss, claim.expected
        found = f"{best.measurement.recipe} loses {claim.loss:.2%} ({low:.2%} to {high:.2%})"
        if most is not None and low > most:
            raise BudgetError(
                f"{found} on the half of the texts that did not choose it, and the budget is "
                f"{most:.2%}; give more minutes or texts, or a larger loss; nothing is written"
            )
        if most is not None and claim.loss > most:
            note(f"{found} on the half of the texts that did not choose it: more than {most:.2%}")
        return replace(best.measurement, **claim._asdict())

    def milliseconds(self, folders: Sequence[Path]) -> list[float]:
        """p50 of encoding one query, ms, of each encoder; in turns."""
        return query_milliseconds(folders, self.trial.choosing.asked())

    def align(self, shrunk: Shrunk, minutes: float) -> Shrunk:
        """The encoder after training on the user's text towards the float32 vectors."""
        began = time.monotonic()
        # a power of two: an interrupted run goes on only if it takes the same texts again
        tokens = 2 ** math.floor(math.log2(TEACHING * 60 * minutes * self.tokens_per_second))
        texts = self.training_texts(tokens)
        lessons = self.lessons(texts, shrunk.checkpoint)
        left = minutes - (time.monotonic() - began) / 60
        settings = replace(self.alignment, minutes=max(left, LEAST_TRAINING / 2))
        stored = str(shrunk.quantization)  # training may go through its rounding
        parts = (self.base.sha256, self.start.sha256, self.role, stored, *shrunk.steps)
        key = text_hash([*parts, *texts])
        state = make_folder(load_settings().home / "training") / f"{key}.safetensors"
        module, _ = train(
            shrunk.checkpoint,
            lessons,
            settings,
            quantization=shrunk.quantization,
            state=state,
            report=self.report,
        )
        count = len(lessons.training.ids)
        step = f"align on {count:,} texts for {settings.minutes:.1f} minutes"
        weights = recalibrated(module.weights(), self.shrinker.texts)
        aligned = replace(shrunk.checkpoint, weights=weights)
        return shrunk._replace(checkpoint=aligned, steps=(*shrunk.steps, step))

    @property
    def role(self) -> str:
        """Whose vectors training is towards."""
        return "query" if self.query_only else "document"

    def lessons(self, texts: Sequence[str], student: Checkpoint) -> Lessons:
        """What training learns from."""
        same = student.tokenizer is self.base.tokenizer
        return teach(
            *(self.reference, texts, self.role),
            neighbours=self.alignment.neighbours,
            tokenizer=None if same else tokenizer_of(student, self.role),
        )

    def can_prune(self) -> bool:
        """Whether there are enough texts to calibrate on."""
        return is_enough(self.shrinker.texts)

    def least_keep(self) -> float:
        """The least share of heads and neurons that can be kept."""
        return least_share(self.start.weights)

    def can_train(self) -> bool:
        """Whether there are enough texts to train on."""
        return len(self.training_texts(math.inf)) >= FEWEST

    def training_texts(self, tokens: float) -> list[str]:
        """Queries, sentences and documents, until they have so many tokens.

        Texts in which a judged query occurs word by word are left out, and short ones in which
        one made from the texts does.
        """
        judged = QueryMatcher(self.trial.judged_queries())
        made = QueryMatcher(self.trial.choosing.made.values())
        long = [] if self.query_only else list(self.texts)
        chosen = random.Random(0)  # noqa: S311 - a sample, not a secret
        texts = [*self.queries, *self.short_texts, *long]
        if long:  # mix documents with what stands for queries
            chosen.shuffle(texts)
        kept, spent, whole = [], 0.0, set(long)
        for text in texts:
            words = text.split()
            if not judged.occurs_in(words) and (text in whole or not made.occurs_in(words)):
                kept.append(text)
                spent += TOKENS_A_WORD * min(len(words), self.base.max_tokens)
            if spent > tokens:
                break
        return kept
