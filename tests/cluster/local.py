"""A build and a cluster in this process: the same steps and the same files, without Ray."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimseek.cluster.build import Build, Workers, built_shard, is_piece
from trimseek.cluster.checking import CheckedPart, check_part, first_twice
from trimseek.cluster.embedding import CorpusReader, PieceWriter
from trimseek.cluster.fetch import fetched_shard
from trimseek.cluster.manifest import served_manifest
from trimseek.cluster.planning import planned
from trimseek.cluster.searcher import ClusterSearcher, Generation
from trimseek.cluster.shard import Shard
from trimseek.cluster.shard_builder import BuiltShard
from trimseek.cluster.shards import Answers, OpenShards, Question
from trimseek.cluster.storage import Storage
from trimseek.indexer.documents import ReadOptions
from trimseek.indexer.kinds import SnapshotKind


class LocalBuild(Build):
    """A build whose workers are this process."""

    def checked_parts(self) -> list[CheckedPart]:
        checked = [check_part(self.plan, file) for file in range(len(self.plan.parts))]
        for share in range(self.plan.shards):
            hash_ = first_twice(share, self.plan.shards, *(ids for _, ids in checked))
            assert hash_ is None
        return [part for part, _ in checked]

    def write_pieces(self, documents: int, names: dict[str, int]) -> None:
        pieces = frozenset(name for name in names if is_piece(name, self.plan.work))
        reader, writer = CorpusReader(self.plan, pieces), PieceWriter(self.plan, self.reusable, 1)
        for file in range(len(self.plan.parts)):
            for row in reader({"file": file}):
                written = writer({name: [value] for name, value in row.items()})
                self.embedded += written["embedded"][0]

    def build_shards(self) -> list[BuiltShard]:
        names = self.storage.names(self.plan.work)
        pieces = sorted(name for name in names if is_piece(name, self.plan.work))
        shards = range(self.plan.shards)
        return [built_shard(self.plan, shard, pieces, self.reusable) for shard in shards]


def build(
    corpora: Sequence[Path | str],
    uri: Path,
    encoder: Path | str | None,
    shards: int = 4,
    *,
    kind: SnapshotKind = SnapshotKind.AUTO,
    facets: Sequence[str] = (),
) -> int:
    """Build a generation; how many documents were embedded."""
    plan = planned(
        *([str(corpus) for corpus in corpora], str(uri), shards, ReadOptions()),
        skip_empty=False,
        encoder=None if encoder is None else str(encoder),
        prompts=(None, None),
        overlap=32,
        facets=facets,
        kind=kind,
        language=None,
    )
    return LocalBuild(plan, Workers(1, 1)).run().embedded


class FailingShards(OpenShards):
    """``silent``: shards that do not answer; ``questions``: how many were asked."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__(shards)
        self.silent: set[int] = set()
        self.silent_for: set[str] = set()
        self.questions = 0

    def ask(self, questions: Mapping[int, Question], seconds: float) -> Answers:
        self.questions += len(questions)
        heard = {
            shard: question
            for shard, question in questions.items()
            if shard not in self.silent and not (shard == 0 and question.method in self.silent_for)
        }
        answers = super().ask(heard, seconds)
        answers.failed.update((shard, "silent") for shard in questions if shard not in heard)
        return answers


def open_cluster(uri: Path, **options: Any) -> tuple[ClusterSearcher, FailingShards]:
    """What serves a cluster, with its shards in this process."""
    storage = Storage(str(uri))
    manifest = served_manifest(storage)
    shards = FailingShards(
        [Shard(fetched_shard(storage, manifest, i)) for i in range(len(manifest.shards))]
    )
    generation = Generation(storage, manifest, shards, None)
    return ClusterSearcher("corpus", str(uri), generation, **options), shards
