"""Histories to train on, and the events that are held out: of each user the last two.

Leave one out (Kang & McAuley 2018): the last event tests, the one before validates. Users with
fewer than three events have none held out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.recommender.events import EventLog

FEWEST = 3  # events of a user of whom some are held out
HELD_OUT = 2
TEST, VALIDATION = 1, 2  # which event from the end
SCORES = 2**26  # computed at a time
CUTOFF = 10  # of the measures

History = NDArray[np.int32]


class HeldOut(NamedTuple):
    """Users by their numbers, what they took before, and what they took then ``(users,) int64``.

    ``again``: how many users are left out because they took then what they had had before, and
    what a user has had is not recommended.
    """

    users: list[int]
    histories: list[History]
    targets: NDArray[np.int64]
    again: int


class Found(NamedTuple):
    """Means over users: hit rate and nDCG of the first ten of all items."""

    hit_rate: float
    ndcg: float


def training_histories(log: EventLog, length: int) -> list[History]:
    """What is trained on, in pieces of at most so many items; each has two at least.

    A piece begins with the last item of the one before, so that every item is once to be told from
    what comes before it.
    """
    pieces = []
    for user, events in enumerate(log.lengths.tolist()):
        history = log.history(user)
        if events >= FEWEST:
            history = history[:-HELD_OUT]
        end = len(history)
        while end > 1:
            start = max(0, end - length)
            pieces.append(history[start:end])
            end = start + 1 if start else 0
    return pieces


def held_out(log: EventLog, which: int) -> HeldOut:
    """What is held out for the test or for validation (``TEST``, ``VALIDATION``)."""
    users, histories, targets, again = [], [], [], 0
    for user in np.flatnonzero(log.lengths >= FEWEST).tolist():
        history = log.history(user)
        before, target = history[:-which], int(history[-which])
        if target in before:
            again += 1
            continue
        users.append(user)
        histories.append(before)
        targets.append(target)
    return HeldOut(users, histories, np.array(targets, np.int64), again)


def ranks(
    vectors: NDArray[np.float32],
    items: NDArray[np.float32],
    targets: NDArray[np.int64],
    seen: Sequence[History],
) -> NDArray[np.int64]:
    """The rank of each target ``(users,)`` among all items that its user has not seen, from 1.

    ``vectors (users, dim)`` and ``items (items, dim)``: scores are their products. Of all items,
    not of a sample of them, which measures something else (Krichene & Rendle 2020). Where others
    have the same score, the target comes last.
    """
    found = np.empty(len(targets), np.int64)
    block = max(1, SCORES // len(items))
    for start in range(0, len(targets), block):
        scores = vectors[start : start + block] @ items.T
        rows = np.arange(len(scores))
        own = scores[rows, targets[start : start + block]].copy()
        for row, history in enumerate(seen[start : start + block]):
            scores[row, history] = -np.inf
        found[start : start + block] = (scores >= own[:, None]).sum(1)  # the target itself is one
    return found


def measures(found: NDArray[np.int64]) -> Found:
    """Of ranks; 0 where there are none."""
    if not len(found):
        return Found(0.0, 0.0)
    return Found(float((found <= CUTOFF).mean()), float(gains(found).mean()))


def gains(found: NDArray[np.int64]) -> NDArray[np.float64]:
    """nDCG@10 of each user ``(users,)``, of whom one item is relevant: 1 / log2(rank + 1)."""
    values: NDArray[np.float64] = np.where(found <= CUTOFF, 1 / np.log2(found + 1), 0.0)
    return values
