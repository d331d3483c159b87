"""Kill shards, fronts and builds of a cluster at random moments; see what is lost, and how long.

python -m tests.cluster.kills 20 [builds shard front]

Of each kind so many, all by default. No answer may claim to be whole and be another than one
index's; no build that is run again may lack a document.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.cluster.served import Answer, call, replicas, run_build, serving, started, stop
from tests.conftest import ingest, write_jsonl
from tests.search.test_modes import documents
from tests.tiny import write_tiny
from trimseek.search import Searcher

SHARDS = 3
DOCUMENTS = 6000
LONGEST_BUILD = 12.0  # seconds after which a build is killed at the latest
LONGEST_PAUSE = 2.0  # seconds between a whole answer and the next kill
QUERIES = ["qed words", "shell", "list of files", "x7 number", "split of the"]
HITS = 10
GIVE_UP = 120.0  # seconds


def say(text: str) -> None:
    print(text, flush=True)


def ids_of(answer: Answer) -> list[str]:
    return [hit["id"] for hit in answer.content["hits"]]


def kill_builds(
    corpus: Path, folder: Path, encoder: Path, times: int, chance: random.Random
) -> None:
    """Builds that are killed, each run again until it ends."""
    took = []
    for number in range(times):
        uri = folder / f"killed-{number}"
        options = ("--shards", SHARDS, "--encoder", encoder)
        process = started("build", corpus, "--into", uri, *options)
        time.sleep(chance.uniform(0.5, LONGEST_BUILD))
        stop(process, signal.SIGKILL)
        process.communicate()
        began = time.monotonic()
        said = run_build([corpus], uri, *options)
        took.append(time.monotonic() - began)
        assert f"{DOCUMENTS:,} documents in {SHARDS} shards" in said, said
    say(f"builds: {times} killed, all whole when run again, median {median(took):.1f} s")


def kill_replicas(
    what: str, url: str, expected: dict[str, list[str]], times: int, chance: random.Random
) -> None:
    """Replicas that are killed while questions are asked."""
    took, whole, partial, none = [], 0, 0, 0
    for _ in range(times):
        time.sleep(chance.uniform(0, LONGEST_PAUSE))
        os.kill(chance.choice(replicas(what)), signal.SIGKILL)
        began, recovered = time.monotonic(), 0
        while recovered < 5:
            query = chance.choice(QUERIES)
            answer = call(f"{url}/search", {"query": query, "k": HITS}, seconds=10)
            if answer.status != 200:
                none, recovered = none + 1, 0
                assert answer.status in (0, 500, 503), answer
                time.sleep(0.05)
            elif answer.content["shards"]["answered"] == SHARDS:
                assert ids_of(answer) == expected[query], (query, answer)
                whole, recovered = whole + 1, recovered + 1
                last = time.monotonic()
            else:
                assert answer.content["warnings"]
                assert set(ids_of(answer)).isdisjoint({""})
                partial, recovered = partial + 1, 0
            assert time.monotonic() - began < GIVE_UP
        took.append(last - began)
    say(
        f"{what}: {times} killed; {whole} whole answers, all right; {partial} partial, {none} "
        f"refused; whole again after {median(took):.1f} s (median), {max(took):.1f} s at most"
    )


def main(times: int, kinds: Sequence[str]) -> None:
    chance = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="trimseek-kills-") as name:
        folder = Path(name)
        encoder = write_tiny(folder / "tiny")
        corpus = write_jsonl(folder / "c.jsonl", documents(DOCUMENTS))
        uri = folder / "cluster"
        run_build([corpus], uri, "--shards", SHARDS, "--encoder", encoder)
        if "builds" in kinds:
            kill_builds(corpus, folder, encoder, times, chance)
        ingest(corpus, folder / "single", encoder)
        with Searcher(folder / "single") as single:
            expected = {
                query: [hit.id for hit in single.search(query, HITS).hits] for query in QUERIES
            }
        with serving(uri) as url:
            for what in ("shard", "front"):
                if what in kinds:
                    kill_replicas(what, url, expected, times, chance)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] or ["builds", "shard", "front"])
