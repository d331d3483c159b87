"""A combination of encoders and an index, which a benchmark measures as one row."""

from dataclasses import dataclass
from pathlib import Path

from trimseek.eval.bench.contenders import Contender
from trimseek.eval.bench.results import pair_name
from trimseek.eval.quality.agreement import Ranking
from trimseek.eval.quality.retrieval import BuiltIndex


@dataclass(frozen=True)
class Combination:
    """What one row measures: an encoder of documents, one of queries, and an index."""

    documents: Contender
    queries: Contender
    index: str

    @property
    def peer(self) -> bool:
        """Whether it is another library's."""
        return self.queries.peer

    @property
    def encoders(self) -> str:
        """The pair as it is named on the command line."""
        return pair_name(self.documents.name, self.queries.name)


@dataclass(frozen=True)
class CombinationRanking:
    """A combination's ranking, and the index that gave it.

    ``path``: the index as a FAISS file. ``per_query``: ``[measure][query]``, empty where nothing is
    judged. ``taken_from``: the encoder whose ranking it is, where the vectors are the same.
    """

    ranking: Ranking
    index: BuiltIndex
    path: Path
    per_query: dict[str, dict[str, float]]
    taken_from: str | None = None
