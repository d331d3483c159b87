"""``trimseek.compress``: from a base model and a budget to an encoder folder."""

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trimseek.compression.estimate import CONFIDENCE
from trimseek.compression.trial import (
    MOST_DOCUMENTS,
    Trial,
    history_trial,
    judged_trial,
    unlabelled_trial,
)
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import read_encoder, split_precision
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.folder import as_checkpoint, is_encoder_folder
from trimseek.encoders.recommender.events import is_event_log, read_events
from trimseek.encoders.unlabelled import read_unlabelled
from trimseek.errors import BudgetError, ConfigError, MissingExtraError, OutOfTimeError
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.eval.quality.event_collection import event_collection
from trimseek.settings import load_settings
from trimseek.time_limit import time_left, time_limit

try:
    from trimseek.compression.budget import Budget, CandidateReport, Measurement, not_told
    from trimseek.compression.candidates import Compressor, EncoderCandidate
    from trimseek.compression.cross_candidates import CrossCompressor
    from trimseek.compression.history_candidates import HistoryCompressor, history_texts
    from trimseek.compression.report import write_compressed
    from trimseek.compression.search import search
    from trimseek.encoders.shrink.recipe import Recipe
    from trimseek.encoders.shrink.validation import Report, note_validation
except ImportError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError("making an encoder smaller", "compress") from None

ENCODING = 0.2  # share of the minutes in which float32 encodes the documents
RATE = 25e9  # multiply-accumulates a second of float32 on a thread, about
TYPICAL_TOKENS = 200  # of a document
FEWEST_DOCUMENTS = 500  # in a half, however little time there is
FINISHING = 10.0  # seconds kept to write the best encoder; at most a tenth of all minutes

Texts = str | Path | Sequence[str]


class Compressed(NamedTuple):
    """The encoder that was written, how it was made, and everything that was measured.

    ``best``: its loss, on the half of the texts that confirms, its speed and size; ``tried``: those
    of every candidate, in order, on the half that chooses. ``steps``: what was done to the base, in
    words.
    """

    folder: Path
    card: EncoderCard
    best: Measurement
    steps: tuple[str, ...]
    tried: tuple[Measurement, ...]


def compress(
    base: str | Path,
    into: str | Path,
    *,
    texts: Texts | None = None,
    queries: Texts | None = None,
    collection: str | None = None,
    max_loss: float | None = None,
    speedup: float | None = None,
    max_ms: float | None = None,
    max_mb: float | None = None,
    recipe: Recipe | None = None,
    minutes: float = 10.0,
    confidence: float = CONFIDENCE,
    query_only: bool = False,
    student: str | Path | None = None,
    static: bool = False,
    report: Report = note_validation,
    measured: CandidateReport = not_told,
) -> Compressed:
    """Make an encoder as small and fast as a stated loss allows, and write it to a new folder.

    With a budget it searches; with a recipe it makes just that. One half of the texts chooses, and
    what is chosen is measured on the other half, once. An interrupted search goes on with the same
    call: what was measured and trained is not again. Needs the extra compress.

    :param base: "minilm", a hub id, a checkpoint folder or an encoder folder; also of a
        cross-encoder, whose loss is that of the order of what BM25 finds, and of a recommender,
        whose loss is that of what users took last.
    :param into: the encoder folder to write, which must not exist.
    :param texts: your own documents, unlabelled: a file, or a list; 500 or more are good.
    :param queries: what your users ask, unlabelled; for training.
    :param collection: a judged collection, as ``evaluate`` takes it, to measure the loss on; of a
        recommender, its event log.
    :param max_loss: the most nDCG@10 to lose, relative to float32: 0.01.
    :param speedup: how many times float32's query speed at least.
    :param max_ms: the most milliseconds for one query (p50).
    :param max_mb: the most MB of the graph that runs.
    :param recipe: what to make, instead of a budget.
    :param minutes: wall clock for everything, with a budget.
    :param confidence: of all intervals; by the upper end of one a loss keeps to ``max_loss``.
    :param query_only: a query encoder for an index that the base embeds, not one for both.
    :param student: with ``query_only``, another encoder, which is projected into the base's space
        and made for its queries: "minilm" for a base of "mpnet".
    :param static: instead of a budget, a static encoder of the base's space, a table of its tokens'
        vectors: tens of microseconds a query, at a loss that is measured.
    :param report: called after each validation while an encoder is trained.
    :param measured: called with the number and the measurement of each candidate.
    :raises BudgetError: if nothing keeps to the budget, with the closest, or the other half does
        not confirm it; nothing is written then.
    :raises ConfigError: for options that make no sense together.
    """
    began, folder = time.monotonic(), Path(into)
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; name a folder that does not")
    if not 0 < minutes < float("inf"):
        raise ConfigError(f"minutes {minutes:g}: must be more than 0")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence {confidence:g}: must be between 0 and 1, such as 0.95")
    budget = Budget(max_loss, speedup, max_ms, max_mb)
    if (recipe is not None) + (budget != Budget()) + static != 1:
        raise ConfigError(
            "say what to keep to (--max-loss 1%, --speedup 10x, --max-ms 0.3, "
            "--max-mb 12), "
            "or what to make (--recipe, --heads, --neurons, --layers, --precision, --static), one "
            "of the two"
        )
    student = student or (recipe.student if recipe else None) or None
    if student is not None and not query_only:
        raise ConfigError("--student: is for queries of what the base embeds; add --query-only")
    checkpoint = base_of(str(base))
    if static and (checkpoint.items or checkpoint.head is not None or student is not None):
        raise ConfigError("--static: is made of an encoder of single texts, without --student")
    if checkpoint.query is not None and not checkpoint.items:
        raise ConfigError(f"{base}: has two towers, and one is made smaller; name a model of one")
    kind: type[Compressor] = Compressor
    if checkpoint.items:
        kind = HistoryCompressor
        if texts is not None or queries is not None or student is not None:
            raise ConfigError(f"{base}: a recommender; give --collection EVENTS and no texts")
        documents, trial = read_histories(checkpoint, collection)
    else:
        most = most_documents(checkpoint, minutes if recipe is None else math.inf)
        documents, trial = read_texts(texts, collection, most)
    user_queries = [] if queries is None else texts_of(queries)
    if checkpoint.head is not None:
        kind = CrossCompressor
        if query_only:
            raise ConfigError("--query-only: a cross-encoder reads queries and documents together")
        if recipe is not None and recipe.align_minutes:
            raise ConfigError("align_minutes: cross-encoders are not aligned; leave it out")
    ends = began + 60 * minutes - min(FINISHING, 6 * minutes)
    with tempfile.TemporaryDirectory(prefix="trimseek-compress-") as name:
        try:
            with time_limit(ends if recipe is None else math.inf):
                compressor = kind(
                    checkpoint,
                    trial,
                    documents,
                    user_queries,
                    budget,
                    Path(name),
                    confidence=confidence,
                    query_only=query_only,
                    student=None if student is None else student_of(str(student)),
                    report=report,
                    measured=measured,
                )
                if static:
                    best = compressor.attempt_static("a static encoder", 0.8 * minutes)
                else:
                    best = searched(compressor, recipe)
        except OutOfTimeError:
            raise BudgetError(
                f"minutes {minutes:g} was too little to encode {trial.documents:,} texts by "
                "float32 and to measure one smaller encoder; give more minutes or fewer documents; "
                "nothing is written, but what float32 encoded is kept for the next run"
            ) from None
        confirmed = compressor.confirm(best)
        card = write_compressed(compressor, best, confirmed, folder)
        tried = tuple(candidate.measurement for candidate in compressor.candidates)
        return Compressed(folder, card, confirmed, best.shrunk.steps, tried)


def searched(compressor: Compressor, recipe: Recipe | None) -> EncoderCandidate:
    """What the recipe makes, or the best within the budget, found with time left to confirm it."""
    if recipe is not None:
        candidate = compressor.attempt(recipe, "as asked")
        compressor.state.remove()
        return candidate
    try:
        with time_limit(time.monotonic() + time_left() - compressor.confirming_seconds()):
            best = search(compressor)
            best.shrunk  # noqa: B018 - made now, if it is to be made again
    except BudgetError:
        compressor.state.remove()
        raise
    compressor.state.remove()
    return best


def most_documents(base: Checkpoint, minutes: float) -> int:
    """How many documents a half may have, so that float32 has time for both."""
    if minutes == math.inf:
        return MOST_DOCUMENTS
    for_float32 = 60 * minutes * ENCODING * load_settings().threads * RATE
    one = multiply_accumulates(base.weights, [TYPICAL_TOKENS])
    return max(FEWEST_DOCUMENTS, min(MOST_DOCUMENTS, round(for_float32 / one / 2)))


def student_of(name: str) -> Checkpoint:
    """The checkpoint of a student; ConfigError for a cross-encoder."""
    student = base_of(name)
    if student.head is not None:
        raise ConfigError(f"--student {name}: a cross-encoder; name an encoder of single texts")
    return student


def read_texts(texts: Texts | None, collection: str | None, most: int) -> tuple[list[str], Trial]:
    """Documents to calibrate on, and what losses are measured on; ConfigError without any text.

    ``most``: documents in a half, where nothing is judged.
    """
    if texts is None and collection is None:
        raise ConfigError(
            "no calibration text; give --texts FILE (500 of your documents or more) "
            "or --collection FOLDER"
        )
    documents = [] if texts is None else texts_of(texts)
    if collection is None:
        name = str(texts) if isinstance(texts, str | Path) else "the texts"
        return documents, unlabelled_trial(documents, name, most)
    judged = read_collection(collection)
    if judged.histories:
        raise ConfigError(f"{collection}: an event log, which recommenders are measured on")
    own = list(judged.documents.values())
    if judged.is_judged:
        return documents or own, judged_trial(judged)
    trial = unlabelled_trial(own, judged.name, most)
    return documents or own, trial


def read_histories(base: Checkpoint, collection: str | None) -> tuple[list[str], Trial]:
    """Histories to calibrate and train on, and what losses are measured on; ConfigError."""
    if collection is None or not is_event_log(Path(collection)):
        raise ConfigError(
            "a recommender is measured on an event log, of user, item and time: --collection EVENTS"
        )
    log = read_events(Path(collection))
    parts = event_collection(log)
    trial = history_trial(TestCollection(log.name, *parts, histories=True))
    read = base if base.query is None else base.query
    return history_texts(log, read.max_tokens), trial


def texts_of(texts: Texts) -> list[str]:
    """The texts of a list, or those of a file with their titles before them; CorpusError."""
    if not isinstance(texts, str | Path):
        return list(texts)
    return [f"{line.title} {line.text}".strip() for line in read_unlabelled(Path(texts))]


def base_of(name: str) -> Checkpoint:
    """The checkpoint of an encoder folder, or of a name without a precision; EncoderError."""
    if is_encoder_folder(Path(name)):
        return as_checkpoint(Path(name))
    checkpoint, _ = read_encoder(split_precision(name)[0])
    return checkpoint
