"""``trimseek.evaluate``: quality and speed of encoders on test collections."""

from collections.abc import Sequence
from pathlib import Path

from trimseek.errors import ConfigError
from trimseek.eval.bench.grid import DEFAULT_BATCHES, DEFAULT_CLIENTS, DEFAULT_ENCODERS, plan
from trimseek.eval.bench.results import BenchReport
from trimseek.eval.bench.run import run_bench
from trimseek.eval.quality.collection import read_collection
from trimseek.eval.quality.measures import DEFAULT_MEASURES
from trimseek.eval.quality.retrieval import EXACT


def evaluate(
    collections: str | Path | Sequence[str | Path],
    encoders: str | Sequence[str] = DEFAULT_ENCODERS,
    *,
    indexes: Sequence[str] = (EXACT,),
    reference: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    split: str = "test",
    queries: str | Path | None = None,
    timing: bool = False,
    peers: Sequence[str] = (),
    batches: Sequence[int] = DEFAULT_BATCHES,
    clients: Sequence[int] = DEFAULT_CLIENTS,
    cached: bool = True,
    runs: Path | None = None,
    command: str = "",
    unfinished: Path | None = None,
) -> BenchReport:
    """Measure encoders on test collections, as ``trimseek bench`` does. Needs the extra bench.

    :param collections: BEIR folders, "hub:owner/name", "sample:python", or a corpus without
        judgments, whose rankings are then compared with the reference's.
    :param encoders: names as ``load_encoder`` takes them, or "DOCUMENT+QUERY" for two of one space.
    :param indexes: "exact", or descriptions as FAISS's index_factory takes them.
    :param reference: what losses are relative to; float32 of the first encoder's base by default.
    :param measures: "nDCG@10", "recall@100", "MRR@10", "MAP@100", "P@5"; the first is the main one.
    :param split: which judgments: qrels/SPLIT.tsv.
    :param queries: a file of queries for a corpus without judgments.
    :param timing: measure speed as well, which takes minutes.
    :param peers: other libraries to time in the same run, of the environment of `make peers`.
    :param batches: sizes of the query batches that are timed.
    :param clients: numbers of clients at once that are timed.
    :param cached: keep embeddings for the next run, and use them.
    :param runs: a folder for TREC run files.
    :param command: written into the report as the command that made it.
    :param unfinished: a file of finished collections, from which the same call goes on.
    :returns: ``rows`` by collection and encoder: ``row.quality.measures["nDCG@10"]``.
    :raises CorpusError: for a collection that cannot be read.
    :raises ConfigError: for an option that makes no sense.
    """
    names = [collections] if isinstance(collections, str | Path) else list(collections)
    file = None if queries is None else Path(queries)
    trials = [read_collection(str(name), split, file) for name in names]
    labels = [trial.name for trial in trials]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise ConfigError(f"two collections are called {min(twice)}; rename one's folder")
    grid = plan(
        [encoders] if isinstance(encoders, str) else encoders,
        indexes=indexes,
        reference=reference,
        measures=measures,
        peers=peers,
        batches=batches,
        clients=clients,
        timing=timing,
        cached=cached,
        runs=runs,
    )
    return run_bench(trials, grid, command, unfinished)
