"""Makes small recommenders of one base and measures each, as ``candidates`` does of encoders.

What is made smaller is the tower for histories. Loss is that of nDCG@10 of what users took last,
among all items that they had not had. Training is towards the base's vectors of histories, whose
scores of items are to be in the same order: nobody's last item is looked at.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimseek.compression.candidates import CALIBRATION_TOKENS, Compressor
from trimseek.encoders.cached import embed_with
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.recommender.events import EventLog
from trimseek.encoders.recommender.histories import SCORES, training_histories
from trimseek.encoders.recommender.items import history_text
from trimseek.encoders.shrink.align import AlignmentSettings
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.lessons import Lessons, TrainingTexts
from trimseek.encoders.shrink.recipe import Shrunk
from trimseek.encoders.weights import FloatArray

CANDIDATES = 16  # items whose scores are compared, of each history
BEGINNINGS = 4  # of a history that are trained on, beside the whole
HELD_OUT = 0.02  # share of the histories
MOST_HELD_OUT = 2_000


class HistoryCompressor(Compressor):
    """As ``Compressor``, of a recommender; ``texts`` are histories, ids of items one a line.

    ``query_only``: the items' vectors stay those of the base at int8.
    """

    # scores are what softmax was trained on, so that their differences count as they are
    alignment = AlignmentSettings(
        minutes=0.0, ranking=1.0, temperature=1.0, neighbours=CANDIDATES, table_rank=0
    )
    role = "query"

    def starting(self, student: Checkpoint | None) -> Checkpoint:
        """The tower for histories."""
        assert self.base.query is not None  # noqa: S101 - compress() has looked
        return self.base.query

    def complete(self, shrunk: Shrunk, *, to_keep: bool) -> Checkpoint:
        """The recommender with another tower for histories; one to measure needs none for texts."""
        text = self.base.text if to_keep else None
        return replace(self.base, query=shrunk.checkpoint, text=text)

    def calibration(self) -> list[Ids]:
        """Token ids of histories, and of their beginnings where there are few."""
        texts = self.training_texts(CALIBRATION_TOKENS[1])
        return [text.ids for text in self.tokenizer.encode(texts)]

    def confirming_seconds(self) -> float:
        """How long the confirmation takes at most: as long as it took float32 to choose."""
        began = time.monotonic()
        QueryEncoder(self.reference).encode(list(self.trial.confirming.queries.values()))
        return 2 * (time.monotonic() - began)

    def training_texts(self, tokens: float) -> list[str]:
        """Histories and their beginnings, until they have so many items."""
        chosen = random.Random(0)  # noqa: S311 - a sample, not a secret
        kept, spent = [], 0.0
        for text in self.texts:
            items = text.split("\n")
            lengths = set(chosen.choices(range(1, len(items) + 1), k=BEGINNINGS)) | {len(items)}
            kept += [history_text(items[:length]) for length in sorted(lengths)]
            spent += sum(lengths)
            if spent > tokens:
                break
        return list(dict.fromkeys(kept))

    def lessons(self, texts: Sequence[str], student: Checkpoint) -> Lessons:
        """The base's vectors of histories, and the items that it scores highest."""
        encoder = QueryEncoder(self.reference)
        items = list(self.trial.choosing.documents.values())
        bank = DocumentEncoder(self.reference).encode(items).vectors
        apart = min(MOST_HELD_OUT, int(HELD_OUT * len(texts)))

        def taught(texts: Sequence[str]) -> TrainingTexts:
            vectors = embed_with(encoder, texts, "the base's vectors", cached=False)
            ids = [text.ids for text in self.tokenizer.encode(texts)]
            return TrainingTexts(ids, vectors, bank, best_items(vectors, bank))

        order = np.random.default_rng(0).permutation(len(texts))
        held_out, training = ([texts[i] for i in part] for part in np.split(order, [apart]))
        return Lessons(taught(training), {"histories": taught(held_out)})


def best_items(vectors: FloatArray, items: FloatArray) -> NDArray[np.int32]:
    """The places ``(n, CANDIDATES)`` of the items with the highest scores, in any order."""
    count = min(CANDIDATES, len(items) - 1)
    found = np.empty((len(vectors), count), np.int32)
    block = max(1, SCORES // len(items))
    for start in range(0, len(vectors), block):
        scores = vectors[start : start + block] @ items.T
        found[start : start + block] = np.argpartition(-scores, count, axis=1)[:, :count]
    return found


def history_texts(log: EventLog, length: int) -> list[str]:
    """What users took, without what is held out, as texts of at most so many items."""
    return [
        history_text(log.items[item] for item in history.tolist())
        for history in training_histories(log, length)
    ]
