"""What a benchmark of recommenders compares: encoders of histories, and peers.

All answer the same question: the k best items of each history, none of which is in it. Peers learn
from what the encoders were trained on, all but the last two events of each user.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import as_checkpoint, graph_bytes
from trimseek.encoders.recommender.events import EventLog
from trimseek.encoders.recommender.histories import FEWEST, HELD_OUT, SCORES, History
from trimseek.encoders.recommender.items import history_text
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, EncoderError, MissingExtraError
from trimseek.eval.quality.retrieval import EXACT, build_index
from trimseek.settings import load_settings

NONE = -1  # where there are no more items
FACTORS = 64  # of matrix factorization
NEIGHBOURS = 100  # of an item
LEAST_SCORE = -1e30  # of what implicit gives; less stands for none

Best = NDArray[np.int64]


class System(Protocol):
    """A recommender; ``bytes``: of what it keeps to answer."""

    name: str
    bytes: int

    def best(self, histories: Sequence[History], k: int) -> Best:
        """Numbers of items ``(n, k)``, best first, of each history, the latest item last."""


@runtime_checkable
class EncodingSystem(System, Protocol):
    """A recommender that encodes a history before it searches."""

    def encode(self, histories: Sequence[History]) -> FloatArray:
        """Vectors ``(n, dim)`` of histories."""


class EncoderSystem:
    """An encoder folder and an exact index of its items, as the service has them."""

    def __init__(self, name: str, folder: Path, log: EventLog) -> None:
        self.name, self.log = name, log
        self.encoder = QueryEncoder(folder, shared=True)
        if not self.encoder.card.histories:
            raise EncoderError(f"{name}: reads texts; on an event log give a recommender")
        vectors = DocumentEncoder(folder).encode(list(log.items)).vectors
        self.index = build_index(EXACT, vectors).index
        self.bytes = graph_bytes(folder)

    def best(self, histories: Sequence[History], k: int) -> Best:
        """As ``System``."""
        vectors = self.encode(histories)
        more = k + max(len(history) for history in histories)
        _, found = self.index.search(vectors, min(more, len(self.log.items)))
        return unseen(found, histories, k)

    def encode(self, histories: Sequence[History]) -> FloatArray:
        """As ``EncodingSystem``."""
        return self.encoder.encode(texts_of(self.log, histories)).vectors


class TorchSystem:
    """The same weights in torch, eager, with its own search of the table."""

    def __init__(self, name: str, folder: Path, log: EventLog) -> None:
        try:
            import torch

            from trimseek.encoders.checkpoint import tokenizer_of
            from trimseek.encoders.shrink.module import EncoderModule
        except ImportError:
            raise MissingExtraError("the peer torch", "compress") from None
        base = as_checkpoint(folder)
        if base.query is None:
            raise EncoderError(f"{name}: not a recommender")
        torch.set_num_threads(load_settings().threads)
        self.name, self.log, self.torch = name, log, torch
        self.tokenizer = tokenizer_of(base.query)
        self.module = EncoderModule(
            base.query.weights, base.query.pooling, normalize=base.query.normalize
        ).eval()
        items = DocumentEncoder(folder).encode(list(log.items)).vectors
        self.items = torch.from_numpy(items)
        self.bytes = sum(array.nbytes for array in base.query.weights.arrays().values())

    def best(self, histories: Sequence[History], k: int) -> Best:
        """As ``System``."""
        with self.torch.inference_mode():
            scores = self.torch.from_numpy(self.encode(histories)) @ self.items.T
            for row, history in enumerate(histories):
                scores[row, self.torch.from_numpy(history).long()] = -self.torch.inf
            found: Best = scores.topk(k).indices.numpy()
        return found

    def encode(self, histories: Sequence[History]) -> FloatArray:
        """As ``EncodingSystem``."""
        from trimseek.encoders.shrink.calibration import padded

        texts = texts_of(self.log, histories)
        ids, mask = padded([text.ids for text in self.tokenizer.encode(texts)])
        with self.torch.inference_mode():
            vectors: FloatArray = self.module(ids, mask).numpy()
        return vectors


class PopularitySystem:
    """The items that were taken most, the same for everybody."""

    def __init__(self, name: str, _folder: Path, log: EventLog) -> None:
        self.name, self.bytes = name, 4 * len(log.items)
        counts = np.bincount(training_matrix(log).indices, minlength=len(log.items))
        self.order = np.argsort(-counts, kind="stable")

    def best(self, histories: Sequence[History], k: int) -> Best:
        """As ``System``."""
        more = k + max(len(history) for history in histories)
        found = np.broadcast_to(self.order[:more], (len(histories), min(more, len(self.order))))
        return unseen(found, histories, k)


class ImplicitSystem:
    """A model of the library implicit (Frederickson), which keeps items' factors or neighbours.

    MissingExtraError where it is not installed.
    """

    def __init__(self, name: str, log: EventLog, kind: str, **options: int) -> None:
        try:
            import implicit
            from threadpoolctl import threadpool_limits
        except ImportError:
            raise MissingExtraError("the peers item-knn and als", "recommend") from None
        kinds = {
            "als": implicit.als.AlternatingLeastSquares,
            "item-knn": implicit.nearest_neighbours.CosineRecommender,
        }
        seed = {"random_state": 0} if kind == "als" else {}
        self.name, self.items = name, len(log.items)
        with threadpool_limits(1, "blas"), warnings.catch_warnings():  # it has threads of its own
            warnings.simplefilter("ignore")  # of its own conversions
            self.model = kinds[kind](num_threads=load_settings().threads, **seed, **options)
            self.model.fit(training_matrix(log), show_progress=False)
        near = getattr(self.model, "similarity", None)
        kept = [near.data, near.indices, near.indptr] if near is not None else []
        self.bytes = sum(each.nbytes for each in kept or [self.model.item_factors])

    def best(self, histories: Sequence[History], k: int) -> Best:
        """As ``System``."""
        found, scores = self.model.recommend(
            np.arange(len(histories)),
            matrix(histories, self.items),
            N=k,
            filter_already_liked_items=True,
            recalculate_user=True,
        )
        is_real = np.isfinite(scores) & (scores > LEAST_SCORE)
        return np.where(is_real, found, NONE).astype(np.int64)


PEERS: dict[str, Callable[[str, Path, EventLog], System]] = {
    "popularity": PopularitySystem,
    # Deshpande & Karypis 2004, and Hu, Koren & Volinsky 2008
    "item-knn": lambda name, _, log: ImplicitSystem(name, log, name, K=NEIGHBOURS),
    "als": lambda name, _, log: ImplicitSystem(name, log, name, factors=FACTORS),
    "torch": TorchSystem,
}


def check_peers(names: Sequence[str]) -> None:
    """ConfigError for a name that there is not."""
    for name in names:
        if name not in PEERS:
            raise ConfigError(
                f"unknown peer {name!r} of recommenders; there are {', '.join(PEERS)}, and all"
            )


def texts_of(log: EventLog, histories: Sequence[History]) -> list[str]:
    """Histories as encoders read them."""
    return [history_text([log.items[item] for item in each.tolist()]) for each in histories]


def training_matrix(log: EventLog) -> Any:
    """What users took, without what is held out, ``(users, items)`` sparse."""
    training = [
        log.history(user)[: -HELD_OUT if events >= FEWEST else None]
        for user, events in enumerate(log.lengths.tolist())
    ]
    return matrix(training, len(log.items))


def matrix(histories: Sequence[History], items: int) -> Any:
    """Which items are in each history, ``(histories, items)`` sparse, 1 for each."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        raise MissingExtraError("the peers of recommenders", "recommend") from None
    lengths = [len(history) for history in histories]
    taken = np.concatenate(histories) if histories else np.empty(0, np.int32)
    places = np.concatenate([[0], np.cumsum(lengths)])
    found = csr_matrix((np.ones(len(taken), np.float32), taken, places), (len(histories), items))
    found.sum_duplicates()
    found.data[:] = 1
    return found


def unseen(found: Best, histories: Sequence[History], k: int) -> Best:
    """The first k of each row that are not in its history; ``NONE`` where there are no more."""
    best = np.full((len(found), k), NONE, np.int64)
    for row, (items, history) in enumerate(zip(found.tolist(), histories, strict=True)):
        seen = set(history.tolist())
        left = [item for item in items if item not in seen][:k]
        best[row, : len(left)] = left
    return best


def best_of_all(system: System, histories: Sequence[History], k: int, items: int) -> Best:
    """As ``System.best``, some histories at a time; ``items``: how many there are."""
    block = max(1, SCORES // items)
    parts = [histories[i : i + block] for i in range(0, len(histories), block)]
    return np.concatenate([system.best(part, k) for part in parts])
