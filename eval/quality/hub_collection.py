"""A test collection of the hub, in the two layouts that BEIR's data sets have there.

``BeIR/scifact`` keeps its qrels in another data set, ``BeIR/scifact-qrels``; ``mteb/scifact`` keeps
them in its configuration ``default``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimseek.eval.quality.judgments import Qrels, collect_qrels
from trimseek.indexer.corpus import HUB
from trimseek.indexer.readers.hub import ask_hub, hub_rows


def read_hub_collection(name: str, split: str) -> tuple[dict[str, str], dict[str, str], Qrels]:
    """Documents, queries and qrels of ``hub:owner/name`` or of a local folder in that layout."""
    path = name.removeprefix(HUB)
    documents = {
        str(row["_id"]): f"{row.get('title') or ''} {row['text']}".strip()
        for row in collection_rows(name, path, "corpus", "corpus")
    }
    queries = {
        str(row["_id"]): row["text"] for row in collection_rows(name, path, "queries", "queries")
    }
    qrels_apart = data_set_exists(f"{path}-qrels")
    judged = collection_rows(name, f"{path}-qrels" if qrels_apart else path, "default", split)
    qrels = collect_qrels(
        (
            (
                f"{name}: qrels row {number}",
                [str(row["query-id"]), str(row["corpus-id"]), f"{float(row['score']):g}"],
            )
            for number, row in enumerate(judged, 1)
        ),
        name,
    )
    return documents, queries, qrels


def data_set_exists(path: str) -> bool:
    """Whether there is a data set of that name, as a folder or at the hub."""
    if Path(path).exists():
        return True
    if Path(path.removesuffix("-qrels")).exists():
        return False
    try:
        ask_hub(path)
    except Exception:  # the client's errors have no common base
        return False
    return True


def collection_rows(name: str, path: str, config: str, split: str) -> Iterator[dict[str, Any]]:
    """Rows of a configuration; CorpusError, before any row, if the hub does not answer."""
    return hub_rows(path, config, split, f"{name}: its {config} cannot be read")
