"""How the front of a cluster asks its shards, and what comes of those that do not answer."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from trimseek.cluster.shard import Shard
from trimseek.errors import TrimseekError
from trimseek.time_limit import time_left

LEAST_SECONDS = 0.05


class Question(NamedTuple):
    """A method of ``Shard`` and its arguments."""

    method: str
    arguments: tuple[Any, ...]


class Answers(NamedTuple):
    """By shard: what they say, and why others do not."""

    by_shard: dict[int, Any]
    failed: dict[int, str]


class Shards(Protocol):
    """The shards of one generation."""

    @property
    def count(self) -> int:
        """How many there are."""

    def ask(self, questions: Mapping[int, Question], seconds: float) -> Answers:
        """Ask several at once, and wait so long at most; errors of ours are raised.

        An error that a shard raises because of the question (a QueryError) is the answer of all.
        """

    def close(self) -> None:
        """Ask no more."""


class OpenShards:
    """Shards in this process."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self.count = len(shards)
        self._threads = ThreadPoolExecutor(max(1, len(shards)), "shard")

    def ask(self, questions: Mapping[int, Question], seconds: float) -> Answers:
        """As ``Shards.ask``."""
        futures: dict[int, Future[Any]] = {
            shard: self._threads.submit(
                self.shards[shard].ask, question.method, *question.arguments
            )
            for shard, question in questions.items()
        }
        answers = Answers({}, {})
        for shard, future in futures.items():
            try:
                answers.by_shard[shard] = future.result(seconds)
            except TrimseekError:
                raise
            except Exception as error:
                answers.failed[shard] = str(error) or type(error).__name__
        return answers

    def close(self) -> None:
        """Close them."""
        self._threads.shutdown()
        for shard in self.shards:
            shard.close()


def seconds_left(most: float) -> float:
    """How long to wait for shards: no longer than the request has time."""
    return max(LEAST_SECONDS, min(most, time_left()))
