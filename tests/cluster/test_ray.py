"""A cluster by the command line: built by Ray's workers, served by Ray Serve, and killed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import pytest

from tests.cluster.served import Answer, call, replicas, run_build, serving, started, stop
from tests.conftest import ingest, write_jsonl
from tests.search.test_modes import documents
from trimseek.api.keys import Role, new_key
from trimseek.search import Searcher
from trimseek.search.content import search_content
from trimseek.search.options import Mode, Options

pytestmark = pytest.mark.cluster

SHARDS = 3
ROWS = documents(600)
QUERIES = ["qed", "shell words", "list of files", "x7 number split", "about shell", "the"]


class Cluster(NamedTuple):
    """``url``: of the served index; ``single``: one index of the same documents."""

    url: str
    key: str
    uri: Path
    corpus: Path
    single: Searcher

    def call(self, path: str, body: object = None, **options: Any) -> Answer:
        """Ask for something of the index."""
        return call(f"{self.url}/{path}", body, key=self.key, **options)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Cluster]:
    path = tmp_path_factory.mktemp("ray")
    files = [write_jsonl(path / "a.jsonl", ROWS[:350]), write_jsonl(path / "b.jsonl", ROWS[350:])]
    said = run_build(files, path / "corpus", "--shards", SHARDS, "--encoder", tiny_encoder)
    assert "600 documents in 3 shards, 600 of them embedded now" in said
    ingest(write_jsonl(path / "c.jsonl", ROWS), path / "single", tiny_encoder)
    secret, key = new_key("tests", Role.ADMIN)
    (path / "keys").write_text(key.line() + "\n")
    with (
        Searcher(path / "single") as single,
        serving(path / "corpus", "--keys-file", path / "keys") as url,
    ):
        yield Cluster(url, secret, path / "corpus", path / "b.jsonl", single)


def test_the_same_answers_over_http(cluster: Cluster) -> None:
    for mode in Mode:
        for query in QUERIES:
            body = {"query": query, "k": 20, "mode": mode.value, "facets": ["topic"]}
            answer = cluster.call("search", body)
            assert answer.status == 200
            options = Options(mode=mode, facets=(("topic",),))
            expected = search_content(cluster.single.search(query, 20, options))
            assert answer.content["shards"] == {"answered": SHARDS, "of": SHARDS}
            assert answer.content["facets"] == expected["facets"]
            for hit, same in zip(answer.content["hits"], expected["hits"], strict=True):
                assert hit["id"] == same["id"]
                assert hit["score"] == pytest.approx(same["score"], abs=1e-6)
    assert cluster.call("documents/d7").content["id"] == "d7"
    where = {"field": "year", "op": "<", "value": 2003}
    counted = cluster.call("documents/count", {"filter": where})
    assert counted.content["documents"] == sum(row["year"] < 2003 for row in ROWS)


def test_writes_are_refused_with_what_to_do(cluster: Cluster) -> None:
    written = {"documents": [{"id": "x", "text": "y"}]}
    for answer in (
        cluster.call("documents", written),
        cluster.call("documents/d1", method="DELETE"),
    ):
        assert answer.status == 409
        assert "trimseek cluster build CORPUS --into" in answer.content["error"]["message"]


class Asking(Thread):
    """Asks until it is stopped, and keeps every answer."""

    def __init__(self, cluster: Cluster, query: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.query, self.ended = cluster, query, Event()
        self.answers: list[Answer] = []

    def run(self) -> None:
        while not self.ended.is_set():
            self.answers.append(self.cluster.call("search", {"query": self.query, "k": 5}))

    def stopped(self) -> list[Answer]:
        self.ended.set()
        self.join()
        return self.answers


def is_whole(answer: Answer) -> bool:
    """Whether an answer claims that nothing is missing."""
    shards = answer.content["shards"] if answer.status == 200 else {"answered": 0, "of": 1}
    return bool(shards["answered"] == shards["of"])


def wait_until_whole(cluster: Cluster, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_whole(cluster.call("search", {"query": "qed", "k": 5})):
        assert time.monotonic() < end, "not whole again in time"
        time.sleep(0.2)


def test_a_dead_shard_is_told_and_replaced(cluster: Cluster) -> None:
    expected = [hit.id for hit in cluster.single.search("qed", 5).hits]
    asking = Asking(cluster, "qed")
    asking.start()
    time.sleep(1)
    os.kill(replicas("shard")[0], signal.SIGKILL)
    time.sleep(5)
    wait_until_whole(cluster)
    answers = asking.stopped()
    for answer in answers:
        assert answer.status in (200, 503)
        if answer.status == 200 and is_whole(answer):
            assert [hit["id"] for hit in answer.content["hits"]] == expected
        elif answer.status == 200:
            assert answer.content["warnings"]


def test_a_dead_front_is_replaced(cluster: Cluster) -> None:
    (process,) = replicas("front")
    os.kill(process, signal.SIGKILL)
    wait_until_whole(cluster)


def test_a_new_generation_is_taken_up_without_a_lost_request(
    cluster: Cluster, tiny_encoder: Path
) -> None:
    asking = Asking(cluster, "qed of the new")
    asking.start()
    rows = [*ROWS[350:], {"_id": "new", "text": "qed of the new"}]
    write_jsonl(cluster.corpus, rows)
    files = [cluster.corpus.with_name("a.jsonl"), cluster.corpus]
    said = run_build(files, cluster.uri, "--shards", SHARDS, "--encoder", tiny_encoder)
    assert "601 documents in 3 shards, 1 of them embedded now" in said
    end = time.monotonic() + 60
    while not asking.answers or asking.answers[-1].content["hits"][0]["id"] != "new":
        assert time.monotonic() < end, "not taken up in time"
        time.sleep(0.2)
    time.sleep(2)
    answers = asking.stopped()
    assert {answer.status for answer in answers} == {200}
    assert all(map(is_whole, answers))
    # from some moment on all are of the new generation
    first = [answer.content["hits"][0]["id"] == "new" for answer in answers]
    assert first == sorted(first)


def test_a_killed_build_goes_on(tmp_path: Path, tiny_encoder: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", ROWS)
    options = ("--shards", 2, "--encoder", tiny_encoder)
    process = started("build", corpus, "--into", tmp_path / "corpus", *options)
    end = time.monotonic() + 60
    while not list((tmp_path / "corpus").glob("work-*/piece-*")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    stop(process, signal.SIGKILL)
    process.communicate()
    said = run_build([corpus], tmp_path / "corpus", *options)
    assert "going on: 1 pieces are written already" in said
    assert "600 documents in 2 shards" in said
