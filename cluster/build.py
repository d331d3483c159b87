"""``trimseek cluster build``: a corpus to shards and their manifest, by Ray's workers.

1. Every part of the corpus is read once and checked.
2. Ray Data reads it again, embeds what an earlier build has not, and writes pieces.
3. Each shard is built from its rows of all pieces, and its files are stored.
4. The words of all shards are counted together; the manifest names all files, and takes the place
   of the one before.

Pieces and finished shards lie below the URI: a build that was interrupted goes on with them.
"""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trimseek.cluster.checking import CheckedPart, check_part, first_twice, places_of_id
from trimseek.cluster.embedding import CorpusReader, PieceWriter
from trimseek.cluster.manifest import (
    Manifest,
    WordStatistics,
    file_folder,
    read_manifest,
    write_manifest,
)
from trimseek.cluster.plan import BuildPlan, shard_file, work_folders
from trimseek.cluster.ray_cluster import quiet_data, ray_errors
from trimseek.cluster.shard_builder import BuiltShard, ShardBuilder
from trimseek.cluster.statistics import read_term_counts, write_statistics
from trimseek.cluster.storage import Storage, StoredFile
from trimseek.console import note, progress
from trimseek.errors import CorpusError, StorageError
from trimseek.formats import adapter
from trimseek.indexer.stems import AUTO, NO_STEMS, language_of
from trimseek.indexer.word_store import SAMPLED


@dataclass(frozen=True)
class BuildReport:
    """What a build did, in documents. ``embedded``: anew; ``seconds``: without the start of Ray."""

    documents: int
    chunks: int
    embedded: int
    skipped: int
    bad: int
    generation: int
    seconds: float


@dataclass(frozen=True)
class Workers:
    """``encoders``: so many work at once, each with so many threads (``cpus``)."""

    encoders: int
    cpus: int


class Build:
    """One build, driven by this process; Ray is connected."""

    def __init__(self, plan: BuildPlan, workers: Workers) -> None:
        self.plan, self.workers = plan, workers
        self.storage = Storage(plan.uri)
        self._before = read_manifest(self.storage)
        self.embedded = 0

    def run(self) -> BuildReport:
        """Do it; CorpusError, EncoderError or StorageError leave what is there as it is."""
        began = time.perf_counter()
        parts = self.checked_parts()
        texts = [text for part in parts for text in part.texts]
        self.plan = replace(self.plan, language=guessed_language(self.plan.language, texts))
        names = self.storage.names("")
        for other in work_folders(list(names)) - {self.plan.work}:
            note(f"{self.storage.path(other)}: left by another build; deleted")
            self.storage.remove(other)
        self.write_pieces(sum(part.documents for part in parts), names)
        built = self.build_shards()
        manifest = self.publish(built)
        self._remove_old(manifest)
        return BuildReport(
            manifest.documents,
            manifest.chunks,
            self.embedded,
            sum(part.skipped for part in parts),
            sum(part.bad for part in parts),
            manifest.generation,
            time.perf_counter() - began,
        )

    def checked_parts(self) -> list[CheckedPart]:
        """Read the corpus once; CorpusError for what is wrong, and for ids that come twice."""
        import ray

        plan = ray.put(self.plan)
        check = ray.remote(num_returns=2)(check_part)
        references = [check.remote(plan, file) for file in range(len(self.plan.parts))]
        parts = collected("checking", [part for part, _ in references])
        if not sum(part.documents for part in parts):
            raise CorpusError(f"{self.plan.parts[0].name}: no documents")
        ids = [hashes for _, hashes in references]
        shares = self.plan.shards
        check_share = ray.remote(first_twice)
        twice = collected(
            "comparing ids", [check_share.remote(share, shares, *ids) for share in range(shares)]
        )
        for hash_ in twice:
            if hash_ is not None:
                raise self._twice(hash_)
        return parts

    def _twice(self, hash_: bytes) -> CorpusError:
        import ray

        find, plan = ray.remote(places_of_id), ray.put(self.plan)
        with ray_errors():
            found = ray.get([find.remote(plan, i, hash_) for i in range(len(self.plan.parts))])
        places = [place for some in found for place in some]
        return CorpusError(
            f"{places[1]} is that of {places[0].rpartition(': the id ')[0]}, too; ids must differ "
            "in all files (--id-field names the field)"
        )

    def write_pieces(self, documents: int, names: dict[str, int]) -> None:
        """Embed what is new and write it, but for the pieces that are there already."""
        import ray

        plan = self.plan
        pieces = frozenset(name for name in names if is_piece(name, plan.work))
        if pieces:
            note(f"going on: {len(pieces)} pieces are written already")
        with ray_errors(), quiet_data():
            parts = ray.data.from_items(
                [{"file": file} for file in range(len(plan.parts))],
                override_num_blocks=len(plan.parts),
            )
            batches = parts.flat_map(CorpusReader(plan, pieces).__call__, num_cpus=0.01)
            written = batches.map_batches(
                PieceWriter,
                fn_constructor_args=(plan, self.reusable, self.workers.cpus),
                batch_size=1,
                num_cpus=self.workers.cpus * 0.95,  # reading takes the rest
                compute=ray.data.ActorPoolStrategy(size=self.workers.encoders),
            )
            with progress("embedding", documents) as ticker:
                for row in written.iter_rows():
                    ticker.advance(int(row["documents"]))
                    self.embedded += int(row["embedded"])

    @property
    def reusable(self) -> Manifest | None:
        """The generation before, where its vectors are those that would be made now."""
        before, card = self._before, self.plan.card
        if before is None:
            return None
        same = (before.space, before.overlap, before.prompts) == (
            *(card.space, card.overlap, card.prompts),
        )
        return before if same else None

    def build_shards(self) -> list[BuiltShard]:
        """Build every shard that is not finished yet."""
        import ray

        plan = ray.put(self.plan)
        names = self.storage.names(self.plan.work)
        pieces = ray.put(sorted(name for name in names if is_piece(name, self.plan.work)))
        before = ray.put(self.reusable)
        build = ray.remote(num_cpus=1, max_retries=3)(built_shard)
        shards = range(self.plan.shards)
        done = {
            shard: self._finished(shard)
            for shard in shards
            if finished_name(self.plan, shard) in names
        }
        if done:
            note(f"going on: {len(done)} shards are finished already")
        left = [shard for shard in shards if shard not in done]
        built = collected(
            "building shards", [build.remote(plan, shard, pieces, before) for shard in left]
        )
        self.embedded += sum(shard.embedded for shard in built)
        done |= dict(zip(left, built, strict=True))
        return [done[shard] for shard in shards]

    def _finished(self, shard: int) -> BuiltShard:
        content = self.storage.read(finished_name(self.plan, shard))
        built: BuiltShard = adapter(BuiltShard).validate_json(content or b"")
        return built

    def publish(self, built: Sequence[BuiltShard]) -> Manifest:
        """Count the words of all shards, write the manifest, and delete what was for this build."""
        plan, card = self.plan, self.plan.card
        prompts = card.prompts
        assert prompts is not None  # noqa: S101 - a new card has them
        manifest = Manifest(
            generation=plan.generation,
            id=secrets.token_hex(16),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            space=card.space,
            dim=card.dim,
            encoder=card.encoder,
            overlap=card.overlap,
            prompts=prompts,
            facets=plan.facets,
            shards=tuple(shard.entry for shard in built),
            words=WordStatistics(
                self._statistics(built),
                sum(shard.in_texts for shard in built),
                sum(shard.in_titles for shard in built),
                plan.language,
            ),
            queries=card.queries,
        )
        current = read_manifest(self.storage)
        if ("" if current is None else current.id) != plan.before:
            raise StorageError(
                f"{self.storage.uri}: another build has finished meanwhile; run this one again"
            )
        write_manifest(manifest, self.storage)
        self.storage.remove(plan.work)
        return manifest

    def _statistics(self, built: Sequence[BuiltShard]) -> StoredFile:
        with TemporaryDirectory(prefix="trimseek-words-") as folder:
            paths = []
            for number, shard in enumerate(built):
                paths.append(Path(folder) / f"terms-{number}")
                self.storage.download(shard.terms, paths[-1])
            merged = Path(folder) / "words.db"
            write_statistics(list(map(read_term_counts, paths)), merged)
            return self.storage.upload(merged, f"{self.plan.folder}/words.db")

    def _remove_old(self, manifest: Manifest) -> None:
        """Delete the files of generations but this and the one before: that may be served still."""
        kept = {file_folder(manifest.words.file)}
        if self._before is not None:
            kept.add(file_folder(self._before.words.file))
        folders = {name.partition("/")[0] for name in self.storage.names("")}
        for folder in folders:
            if folder.startswith("generation-") and folder not in kept:
                self.storage.remove(folder)


def is_piece(name: str, work: str) -> bool:
    """Whether a file is a piece of the build of that folder."""
    return name.startswith(f"{work}/piece-") and name.endswith(".parquet")


def finished_name(plan: BuildPlan, shard: int) -> str:
    """The file that says that a shard is finished."""
    return shard_file(plan.work, shard, "json")


def built_shard(
    plan: BuildPlan, shard: int, pieces: Sequence[str], before: Manifest | None
) -> BuiltShard:
    """Build a shard and note that it is finished."""
    built = ShardBuilder(plan, shard, pieces, before).build()
    Storage(plan.uri).write(finished_name(plan, shard), json.dumps(asdict(built)).encode())
    return built


def collected(label: str, references: Sequence[Any]) -> list[Any]:
    """The results of Ray's tasks in their order, with progress; the first error is raised."""
    import ray

    with ray_errors(), progress(label, len(references)) as ticker:
        left = list(references)
        while left:
            done, left = ray.wait(left, num_returns=1)
            ray.get(done)  # raises what went wrong, without waiting for the others
            ticker.advance(len(done))
        return list(ray.get(list(references)))


def guessed_language(language: str, texts: Sequence[str]) -> str:
    """The language of a corpus: as it was given, or by its first texts."""
    if language != AUTO:
        return language
    return language_of(list(texts[:SAMPLED])) or NO_STEMS
