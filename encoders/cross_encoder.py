"""Scores of a query with each of several texts, read together by one encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import find_cross_encoder
from trimseek.encoders.checkpoint_files import load_tokenizer
from trimseek.encoders.folder import GRAPH, HEAD, TOKENIZER, open_cross_encoder
from trimseek.encoders.head import load_head
from trimseek.encoders.runtime import Runtime, open_runtime
from trimseek.encoders.tokens import PairTokenizer
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError
from trimseek.settings import load_settings
from trimseek.time_limit import check_time

PAIRS_AT_A_TIME = 64  # between checks of the time limit


class PairScores(NamedTuple):
    """``scores (n,) float32`` in the order of the texts: logits, of which larger is better.

    ``tokens``: how many were read. ``truncated``: how many pairs were longer than max_tokens.
    """

    scores: FloatArray
    tokens: int
    truncated: int


class CrossEncoder:
    """Scores of pairs; safe to call from several threads at once.

    ``folder``: as ``find_cross_encoder`` gives it. ``threads``, ``shared``: see ``Encoder``.
    EncoderError if the folder is damaged, or an encoder of single texts.
    """

    def __init__(self, folder: Path, threads: int | None = None, *, shared: bool = False) -> None:
        self.folder = folder
        self.card: EncoderCard = open_cross_encoder(folder)
        self.tokenizer = PairTokenizer(load_tokenizer(folder / TOKENIZER), self.card.max_tokens)
        self.head = load_head(folder / HEAD, self.card.dim)
        threads = threads or load_settings().threads
        self.runtime: Runtime = open_runtime(folder / GRAPH, self.card, threads, shared=shared)

    def scores(self, query: str, texts: Sequence[str]) -> PairScores:
        """The score of each text for the query; OutOfTimeError when a ``time_limit`` passes."""
        scores = np.empty(len(texts), np.float32)
        tokens = truncated = 0
        for start in range(0, len(texts), PAIRS_AT_A_TIME):
            check_time()
            pairs = self.tokenizer.encode(query, texts[start : start + PAIRS_AT_A_TIME])
            part = self.head.scores(self.runtime.run(pairs))
            if not np.isfinite(part).all():
                raise EncoderError(
                    f"{self.folder}: damaged: its scores are not finite; make or fetch it anew"
                )
            scores[start : start + len(pairs)] = part
            tokens += sum(len(pair.ids) for pair in pairs)
            truncated += sum(pair.truncated for pair in pairs)
        return PairScores(scores, tokens, truncated)


def load_cross_encoder(name: str | Path) -> CrossEncoder:
    """Load a cross-encoder, fetched and built first if need be.

    :param name: a model folder, an encoder folder or a hub id, with ``-int8`` (the default) or
        ``-float32`` behind it.
    :raises EncoderError: if there is no such model, or it is damaged or no cross-encoder.
    :raises DownloadError: if it cannot be fetched from anywhere.
    """
    return CrossEncoder(find_cross_encoder(str(name)))


def probabilities(scores: FloatArray) -> NDArray[np.float64]:
    """Logits as numbers from 0 to 1, in the same order: 1 / (1 + e^-score)."""
    return np.asarray(1 / (1 + np.exp(-scores.astype(np.float64))), np.float64)
