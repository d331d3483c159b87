"""Compare a cluster with one index of the same texts: every mode and kind, by many questions.

python -m tests.cluster.compare TEXTS.jsonl.gz QUESTIONS.jsonl.gz [ENCODER]

Kinds that compare every vector must give the same; graphs and lists find nearly the same.
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.cluster.local import build, open_cluster
from tests.conftest import ingest
from trimseek.encoders.unlabelled import read_unlabelled, sample_texts
from trimseek.indexer.kinds import SnapshotKind
from trimseek.search import Results, Searcher
from trimseek.search.options import Fusion, Mode, Options

TEXTS, QUESTIONS, SHARDS = 40_000, 500, 4
TOP = 10
CLOSE = 1e-6  # of scores
VARIANTS = {
    "dense": Options(mode=Mode.DENSE),
    "lexical": Options(mode=Mode.LEXICAL),
    "hybrid": Options(),
    "hybrid, offset 90": Options(offset=90),
    "hybrid by ranks": Options(fusion=Fusion.RANKS),
    "hybrid, diverse": Options(diversity=0.3),
}


def same(one: Results, other: Results) -> bool:
    """Whether both have the same hits with the same scores."""
    return [hit.id for hit in one.hits] == [hit.id for hit in other.hits] and all(
        abs(hit.score - twin.score) <= CLOSE for hit, twin in zip(one.hits, other.hits, strict=True)
    )


def shared(one: Results, other: Results) -> float:
    """Of the hits of one, the share that the other has."""
    ids = {hit.id for hit in one.hits}
    return len(ids & {hit.id for hit in other.hits}) / len(ids) if ids else 1.0


def main(texts: str, questions: str, encoder: str = "minilm-swift") -> None:
    chosen = list(dict.fromkeys(row.text for row in read_unlabelled(Path(texts))))[:TEXTS]
    asked = sample_texts(Path(questions), QUESTIONS)
    with tempfile.TemporaryDirectory(prefix="trimseek-compare-") as name:
        folder = Path(name)
        corpus = folder / "corpus.jsonl"
        rows = (json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(chosen))
        corpus.write_text("\n".join(rows) + "\n", "utf-8")
        for kind in (each for each in SnapshotKind if each is not SnapshotKind.AUTO):
            single, uri = folder / f"single-{kind.value}", folder / f"cluster-{kind.value}"
            ingest(corpus, single, encoder, kind=kind)
            build([corpus], uri, encoder, SHARDS, kind=kind)
            cluster, _ = open_cluster(uri)
            with Searcher(single) as index, cluster:
                for variant, options in VARIANTS.items():
                    pairs = [
                        (index.search(query, TOP, options), cluster.search(query, TOP, options))
                        for query in asked
                    ]
                    equal = sum(same(*pair) for pair in pairs)
                    found = sum(shared(*pair) for pair in pairs) / len(pairs)
                    print(
                        f"{kind.value}, {variant}: {equal} of {len(pairs)} the same, "
                        f"{found:.2%} of hits shared",
                        flush=True,
                    )


if __name__ == "__main__":
    main(*sys.argv[1:])
