"""The engine by itself: what waits together is one batch, what nobody waits for is dropped."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from trimseek.api.engine import Engine
from trimseek.api.errors import DeadlineError, OverloadedError
from trimseek.errors import EncoderError, QueryError
from trimseek.search import Results, Searcher
from trimseek.search.options import DEFAULT, Mode, Options
from trimseek.search.reader_searcher import EncodedQuery


class Held(Searcher):
    """A searcher that encodes when it is let, and remembers what it was given together."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.let = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[str]] = []
        self.answered: list[str] = []

    def encode(self, queries: Sequence[str]) -> list[EncodedQuery]:
        self.begun.set()
        assert self.let.wait(10)
        self.batches.append(list(queries))
        if "poison" in queries:
            raise EncoderError("poisoned")
        return super().encode(queries)

    def answer(
        self, query: str, encoded: EncodedQuery | None, k: int, options: Options = DEFAULT
    ) -> Results:
        self.answered.append(query)
        return super().answer(query, encoded, k, options)


@pytest.fixture
def held(pets: Path) -> Iterator[Held]:
    searcher = Held(pets)
    yield searcher
    searcher.let.set()
    searcher.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(capacity=6, batch=4, threads=1)
    yield made
    made.close()


async def begin(
    engine: Engine, held: Held, *queries: str, seconds: float = 10
) -> list["asyncio.Task[Results]"]:
    tasks = []
    for query in queries:
        tasks.append(asyncio.create_task(engine.search(held, query, 3, DEFAULT, seconds)))
        await asyncio.sleep(0)
        await asyncio.to_thread(held.begun.wait, 10)  # the first alone, the others behind it
    return tasks


def test_what_waits_together_is_one_batch(engine: Engine, held: Held) -> None:
    async def run() -> list[Results]:
        tasks = await begin(engine, held, "a", "b", "c", "d", "e", "f")
        held.let.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(run())
    assert held.batches == [["a"], ["b", "c", "d", "e"], ["f"]]
    alone = [held.search(query, 3) for query in "abcdef"]
    for together, single in zip(answers, alone, strict=True):
        assert [hit.id for hit in together.hits] == [hit.id for hit in single.hits]
        assert together.hits[0].score == pytest.approx(single.hits[0].score, abs=1e-5)
        assert together.query_tokens == single.query_tokens


def test_one_that_cannot_be_encoded_fails_alone(engine: Engine, held: Held) -> None:
    async def run() -> list[Results | BaseException]:
        tasks = await begin(engine, held, "a", "b", "poison", "c")
        held.let.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    kinds = [type(each) for each in asyncio.run(run())]
    assert kinds == [Results, Results, EncoderError, Results]


def test_more_than_may_wait_is_refused_at_once(engine: Engine, held: Held) -> None:
    async def run() -> None:
        tasks = await begin(engine, held, *"abcdef")
        with pytest.raises(OverloadedError, match="6 queries are waiting"):
            await engine.search(held, "one too many", 3, DEFAULT, 10)
        held.let.set()
        await asyncio.gather(*tasks)
        assert engine.taken == 0
        await engine.search(held, "now", 3, DEFAULT, 10)

    asyncio.run(run())


def test_what_nobody_waits_for_is_not_done(engine: Engine, held: Held) -> None:
    async def run() -> None:
        first, gone, late = await begin(engine, held, "first", "gone", "late", seconds=0.3)
        gone.cancel()
        with pytest.raises(DeadlineError, match=r"no answer within 0\.3 s"):
            await late
        with pytest.raises(DeadlineError):
            await first
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert engine.taken == 0
        held.let.set()
        await engine.search(held, "after", 3, DEFAULT, 10)

    asyncio.run(run())
    assert held.batches == [["first"], ["after"]]
    assert held.answered == ["after"]


def test_words_need_no_encoder(engine: Engine, held: Held) -> None:
    async def run() -> Results:
        return await engine.search(held, "kitten", 3, Options(mode=Mode.LEXICAL), 10)

    assert [hit.id for hit in asyncio.run(run()).hits] == ["e"]
    assert held.batches == []


def test_mistakes_are_found_before_anything_waits(engine: Engine, held: Held) -> None:
    async def run() -> None:
        with pytest.raises(QueryError):
            await engine.search(held, " ", 3, DEFAULT, 10)
        assert engine.taken == 0

    asyncio.run(run())
