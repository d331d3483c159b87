"""A cluster answers as one index of all its documents does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.cluster.local import FailingShards, build, open_cluster
from tests.conftest import ingest, write_jsonl
from tests.search.test_modes import documents
from trimseek.cluster.searcher import ClusterSearcher
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.errors import UnknownDocumentError
from trimseek.indexer.filters import parse_field
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.where import parse_where
from trimseek.search import Results, Searcher
from trimseek.search.options import DEFAULT, Fusion, Mode, Options
from trimseek.search.recommend import Examples, recommend

QUERIES = [
    "qed", "shell words", "list of files", "x7 number split", "the", "about shell", "splitt wrds",
    "nothing of the kind", "ße ﬁles", "QED", "split split split", "of",
]  # fmt: skip


class Both(NamedTuple):
    """One index, and a cluster of the same documents."""

    single: Searcher
    cluster: ClusterSearcher
    shards: FailingShards


def corpus() -> list[dict[str, Any]]:
    """Some documents are long, some are the same; one field only a few have."""
    rows = documents(300)
    rows[7]["text"] = " ".join([rows[7]["text"], "shell list files split"] * 40)
    rows[8]["text"] = " ".join([rows[9]["text"], "words qed"] * 60)
    for i in (20, 21, 22, 120, 121):
        rows[i] |= {"text": "qed list of files", "title": "about words"}
    rows[31]["rare"] = "one"
    rows[32]["rare"] = 2
    return rows


@pytest.fixture(scope="module", params=[SnapshotKind.EXACT, SnapshotKind.SQ8])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path
) -> Iterator[Both]:
    path, rows = tmp_path_factory.mktemp("equality"), corpus()
    files = [
        write_jsonl(path / "a.jsonl", rows[:190]),
        write_jsonl(path / "b.jsonl", rows[190:]),
    ]
    whole = write_jsonl(path / "whole.jsonl", rows)
    ingest(whole, path / "index", tiny_encoder, kind=request.param, facets=["topic"])
    build(files, path / "cluster", tiny_encoder, kind=request.param, facets=["topic"])
    cluster, shards = open_cluster(path / "cluster")
    with Searcher(path / "index") as single, cluster:
        yield Both(single, cluster, shards)


def assert_same(one: Results, other: Results, query: str = "") -> None:
    assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits], query
    for hit, same in zip(one.hits, other.hits, strict=True):
        assert same.score == pytest.approx(hit.score, abs=1e-6)
        assert same.sources.keys() == hit.sources.keys()
        for name, source in hit.sources.items():
            assert same.sources[name].rank == source.rank, (query, hit.id, name)
            assert same.sources[name].score == pytest.approx(source.score, abs=1e-6)
        assert replace_scores(same) == replace_scores(hit)
    assert one.facets == other.facets
    assert one.warnings == other.warnings
    assert one.suggestion == other.suggestion
    assert (one.query_tokens, one.truncated) == (other.query_tokens, other.truncated)


def replace_scores(hit: Any) -> Any:
    return hit._replace(score=0, sources={})


OPTIONS = {
    "plain": DEFAULT,
    "offset": Options(offset=35),
    "filter": Options(where=parse_where('year >= 2010 and topic != "shell"')),
    "nothing": Options(where=parse_where("year > 3000")),
    "one": Options(where=parse_where('_id = "d17"')),
    "missing field": Options(where=parse_where("colour = 3 or year = 2003")),
    "wrong kind": Options(where=parse_where('year = "2003"')),
    "rare field": Options(where=parse_where('rare = "one"'), facets=(parse_field("rare"),)),
    "facets": Options(facets=(parse_field("topic"), parse_field("tags"), parse_field("year"))),
    "group": Options(group_by=parse_field("topic")),
    "group and score": Options(group_by=parse_field("tags"), min_score=0.2),
    "diversity": Options(diversity=0.4, offset=3),
    "highlight": Options(highlight=True),
    "prefix": Options(prefix=True),
    "suggest": Options(suggest=True),
    "titles": Options(title_weight=3.5, weight=0.3),
    "ranks": Options(fusion=Fusion.RANKS),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_option_of_a_search(name: str, mode: Mode, both: Both) -> None:
    options = replace(OPTIONS[name], mode=mode)
    for query in QUERIES:
        for k in (1, 10, 120):
            one = both.single.search(query, k, options)
            assert_same(one, both.cluster.search(query, k, options), query)


def test_a_vector_in_the_place_of_the_query(both: Both) -> None:
    vector = np.random.default_rng(1).standard_normal(both.single.card.dim)
    options = Options(vector=tuple(vector.tolist()))
    assert_same(both.single.search("qed", 20, options), both.cluster.search("qed", 20, options))


def test_reranked(both: Both, tiny_cross_encoder: Path) -> None:
    options = Options(scorer=CrossEncoder(tiny_cross_encoder), rerank_depth=20)
    for query in QUERIES[:4]:
        assert_same(both.single.search(query, 10, options), both.cluster.search(query, 10, options))


def test_recommended(both: Both) -> None:
    examples = Examples(("d3", "d8", "d200"), ("d20",), (1.0, 2.0, 0.5))
    for options in (Options(), Options(where=parse_where("year < 2010"), diversity=0.3)):
        one, other = (recommend(each, examples, 12, options) for each in both[:2])
        assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
    with pytest.raises(UnknownDocumentError, match="no document 'gone'"):
        recommend(both.cluster, Examples(("gone",)))


def test_facets_of_all_documents(both: Both) -> None:
    for field in map(parse_field, ("topic", "tags", "year", "rare", "none")):
        for where in (None, parse_where("year >= 2012")):
            assert both.single.facets(field, where) == both.cluster.facets(field, where)


def test_documents_and_their_pages(both: Both) -> None:
    for where in (None, parse_where('topic = "split"')):
        assert both.single.count(where) == both.cluster.count(where)
        listed: list[list[str]] = []
        for searcher in both[:2]:
            cursor, ids = None, list[str]()
            while True:
                page = searcher.page(where, 23, cursor)
                ids += [document.id for document in page.documents]
                cursor = page.cursor
                if cursor is None:
                    break
            listed.append(ids)
        assert listed[0] == listed[1]
    wanted = ["d5", "gone", "d299", "d5"]
    assert both.single.documents(wanted) == both.cluster.documents(wanted)
    assert both.single.document("d31") == both.cluster.document("d31")
    with pytest.raises(UnknownDocumentError):
        both.cluster.document("gone")
    assert both.cluster.fields().keys() == both.single.fields().keys()


def test_what_it_says_of_itself(both: Both) -> None:
    one, other = both.single.summary(), both.cluster.summary()
    for name in ("documents", "chunks", "space", "dim", "facets", "prompts", "language"):
        assert getattr(one, name) == getattr(other, name)
    both.cluster.probe()


def test_the_front_reads_no_more_of_lists_than_it_needs(both: Both) -> None:
    asked = both.shards.questions
    both.cluster.search("qed", 10, Options(mode=Mode.DENSE))
    assert both.shards.questions - asked <= 3 * both.shards.count
