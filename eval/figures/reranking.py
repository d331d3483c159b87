"""Reranking: how fast it is beside the machine's int8 limit, and what a cross-encoder gains.

python -m trimseek.eval.figures reranking [--model MODEL COLLECTION ...]

Without a model the speed alone is measured, with MiniLM's six layers and a head of random numbers:
the numbers do not matter to it. With one, nDCG@10 of hybrid search before and after it; of a
collection of more than ``MOST_QUERIES`` queries every n-th one.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trimseek.console import note, progress
from trimseek.encoders.catalog import DEFAULT_ENCODER, read_encoder
from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.cpu import cpu_name
from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder
from trimseek.encoders.folder import read_weights, write_encoder
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.cross_module import with_new_head
from trimseek.eval.bench.roofline import MatrixProducts
from trimseek.eval.figures.files import RESULTS, read_figures, write_figures
from trimseek.eval.figures.modes import MEASURE, make_index
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.eval.quality.measures import measure_run
from trimseek.eval.quality.significance import Values, loss, loss_interval
from trimseek.search import Searcher
from trimseek.search.options import Options
from trimseek.settings import load_settings

RERANKING = RESULTS / "reranking.json"
PASSAGES, PASSAGE_TOKENS = 50, 100
WARMING, ROUNDS = 3, 20
PAUSE = 0.1  # seconds; until then onnxruntime's threads, which multiply for the limit, still spin
MOST_QUERIES = 500
WORDS = ["heart", "blood", "water", "river", "stone", "house", "green", "paper", "music", "light"]
ONE_WORD = 5  # tokens of a pair of two words, of one token each, with those around them


@dataclass(frozen=True)
class RerankSpeed:
    """Median of ``ROUNDS`` rerankings of ``PASSAGES`` passages of ``PASSAGE_TOKENS`` tokens.

    ``rate``: 10^9 multiply-accumulates a second, of all layers for all tokens; ``limit``: of the
    machine's int8 products, measured before and after it. ``skipped``: the share of ``rate`` that
    need not be
    computed, since only the first token's vector is taken from the last layer.
    """

    cpu: str
    threads: int
    milliseconds: float
    tokens: int
    rate: float
    limit: float
    skipped: float

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.rate / self.limit


def measure_speed() -> RerankSpeed:
    """On this machine."""
    threads = load_settings().threads
    with tempfile.TemporaryDirectory(prefix="trimseek-reranking-") as name:
        folder = Path(name) / "encoder"
        base, _ = read_encoder("minilm")
        write_encoder(with_new_head(base, seed=0), folder, Quantization())
        encoder, weights = CrossEncoder(folder), read_weights(folder)
        query, passages = "how does the heart pump blood", made_passages(encoder)
        products = MatrixProducts(threads)
        seconds, limits = [], [products.rates()[0]]
        time.sleep(PAUSE)
        for _ in range(WARMING + ROUNDS):
            began = time.perf_counter()
            encoder.scores(query, passages)
            seconds.append(time.perf_counter() - began)
        limits.append(products.rates()[0])
        del seconds[:WARMING]
        lengths = [len(pair.ids) for pair in encoder.tokenizer.encode(query, passages)]
    whole = multiply_accumulates(weights, lengths)
    last = replace(weights, layers=weights.layers[-1:])
    width = last.layers[0].query.weight.shape[1]
    needed = sum(n * 3 * last.dim * width + 2 * n * width for n in lengths)  # keys, values, queries
    skipped = multiply_accumulates(last, lengths) - needed
    rate = whole / statistics.median(seconds) / 1e9
    return RerankSpeed(
        cpu_name(),
        threads,
        1e3 * statistics.median(seconds),
        sum(lengths),
        rate,
        max(limits),
        skipped / whole,
    )


def made_passages(encoder: CrossEncoder) -> list[str]:
    """Passages of words of one token each."""
    words = [
        word for word in WORDS if len(encoder.tokenizer.encode("a", [word])[0].ids) == ONE_WORD
    ]
    chosen = np.random.default_rng(0)
    return [" ".join(chosen.choice(words, PASSAGE_TOKENS)) for _ in range(PASSAGES)]


@dataclass(frozen=True)
class RerankQuality:
    """nDCG@10 of hybrid search and of the same reranked, with the gain's 95 % interval."""

    collection: str
    queries: int
    hybrid: float
    reranked: float
    gain: float
    low: float
    high: float


def measure_quality(encoder: CrossEncoder, name: str) -> RerankQuality:
    """On one collection."""
    collection = read_collection(name)
    ids = list(collection.queries)[:: -(-len(collection.queries) // MOST_QUERIES)]
    with tempfile.TemporaryDirectory(prefix="trimseek-reranking-") as folder:
        make_index(collection, Path(folder) / "index", DEFAULT_ENCODER)
        with Searcher(Path(folder) / "index") as searcher:
            before = ndcg_values(searcher, collection, ids, Options())
            after = ndcg_values(searcher, collection, ids, Options(scorer=encoder))
    low, high = loss_interval(before, after)
    return RerankQuality(
        collection.name,
        len(ids),
        float(before.mean()),
        float(after.mean()),
        -loss(before, after),
        -high,
        -low,
    )


def ndcg_values(
    searcher: Searcher, collection: TestCollection, ids: Sequence[str], options: Options
) -> Values:
    """nDCG@10 of some queries. A query that has a document's id never finds that document."""
    run: dict[str, dict[str, float]] = {}
    with progress(f"{collection.name}", len(ids)) as ticker:
        for id_ in ids:
            hits = searcher.search(collection.queries[id_], MEASURE.depth + 1, options).hits
            others = [hit.id for hit in hits if hit.id != id_]
            run[id_] = {found: -float(rank) for rank, found in enumerate(others)}
            ticker.advance(1)
    qrels = {id_: collection.qrels[id_] for id_ in ids}
    values = measure_run(qrels, run, [MEASURE])[str(MEASURE)]
    return np.array([values[id_] for id_ in ids])


def main(arguments: Sequence[str]) -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", nargs="*")
    parser.add_argument("--model")
    asked = parser.parse_args(arguments)
    if asked.model is None:
        speed = measure_speed()
        note(
            f"{PASSAGES} passages in {speed.milliseconds:.0f} ms: {speed.rate:.0f} of "
            f"{speed.limit:.0f} GMAC/s, {speed.share:.0%}; {speed.skipped:.1%} of it skipped"
        )
        write_figures(RERANKING, speed)
        return
    encoder = load_cross_encoder(asked.model)
    for name in asked.collections:
        row = measure_quality(encoder, name)
        note(
            f"{row.collection}: {row.queries} queries, hybrid {row.hybrid:.4f}, reranked "
            f"{row.reranked:.4f}: {row.gain:+.1%} ({row.low:+.1%} to {row.high:+.1%})"
        )


def read_reranking() -> RerankSpeed:
    """The committed speed."""
    return read_figures(RERANKING, RerankSpeed)
