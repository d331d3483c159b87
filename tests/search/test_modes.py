"""By words, by both, filtered, grouped, paged: each against a plain reading of the same."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run, as_format, ingest, write_jsonl
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.errors import IndexFolderError, QueryError, UnknownDocumentError
from trimseek.indexer.filters import to_sql
from trimseek.indexer.where import parse_where
from trimseek.search import Searcher
from trimseek.search.candidates import diversified
from trimseek.search.hits import Hit, Source
from trimseek.search.options import Fusion, Mode, Options
from trimseek.search.ranking import find
from trimseek.search.reader import IndexReader
from trimseek.search.recommend import Examples, document_vectors, history_weights, recommend

TOPICS = ["shell", "split", "words", "list", "files", "number"]


def documents(count: int = 240) -> list[dict[str, Any]]:
    chosen = random.Random(3)
    return [
        {
            "_id": f"d{i}",
            "title": f"about {chosen.choice(TOPICS)}",
            "text": " ".join(chosen.choices([*TOPICS, "qed", "x7", "the", "of"], k=12)),
            "year": 2000 + i % 20,
            "topic": TOPICS[i % 6],
            "tags": [f"t{i % 3}", f"u{i % 4}"],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    path = tmp_path_factory.mktemp("modes")
    ingest(write_jsonl(path / "c.jsonl", documents()), path / "index", tiny_encoder)
    return path / "index"


@pytest.fixture(scope="module")
def searcher(folder: Path) -> Iterator[Searcher]:
    opened = Searcher(folder)
    yield opened
    opened.close()


def ids(searcher: Searcher, query: str, k: int = 10, **options: Any) -> list[str]:
    return [hit.id for hit in searcher.search(query, k, Options(**options)).hits]


def bm25(query: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Okapi BM25 with k1 = 1.2, b = 0.75, over title and text together."""
    texts = {row["_id"]: f"{row['title']} {row['text']}".lower().split() for row in rows}
    mean = np.mean([len(words) for words in texts.values()])
    scores: dict[str, float] = {}
    for word in dict.fromkeys(query.split()):
        matching = [id_ for id_, words in texts.items() if word in words]
        idf = np.log(1 + (len(rows) - len(matching) + 0.5) / (len(matching) + 0.5))
        for id_ in matching:
            count, length = texts[id_].count(word), len(texts[id_])
            part = count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))
            scores[id_] = scores.get(id_, 0) + idf * part
    return scores


def test_lexical_scores_are_bm25(searcher: Searcher) -> None:
    expected = bm25("qed x7", documents())
    hits = searcher.search("QED, x7!", 50, Options(mode=Mode.LEXICAL)).hits
    scores = [hit.score for hit in hits]
    assert scores == pytest.approx(sorted(expected.values())[::-1][:50], rel=1e-5)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id], rel=1e-5)
        assert hit.sources == {"lexical": Source(hits.index(hit) + 1, hit.score)}


def test_words_are_folded_and_stemmed(tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [
        {"_id": "a", "text": "The cafés were splitting their bills."},
        {"_id": "b", "text": "Nothing of the kind."},
        {"_id": "c", "text": "Ein Gedicht über Flüsse", "title": "Rivers"},
    ]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    searcher = Searcher(tmp_path / "i")
    lexical: dict[str, Any] = {"mode": Mode.LEXICAL}
    assert ids(searcher, "cafe", **lexical) == ids(searcher, "split bill", **lexical) == ["a"]
    assert ids(searcher, "flusse", **lexical) == ids(searcher, "river", **lexical) == ["c"]
    assert ids(searcher, "zebra", **lexical) == ids(searcher, "?!", **lexical) == []
    assert ids(searcher, "the", **lexical) == ["b", "a"]  # a word of no meaning alone still counts
    assert ids(searcher, "the cafe", **lexical) == ["a", "b"]
    (hit,) = searcher.search("split cafés", 1, Options(mode=Mode.LEXICAL, highlight=True)).hits
    marked = [hit.passage.text[each.start : each.end] for each in hit.highlights]
    assert marked == ["cafés", "splitting"]
    searcher.close()


@pytest.mark.parametrize(
    "query", ['"', "a OR b", "NEAR(qed", "title:qed", "qed*", "^qed", "-x7", "(("]
)
def test_query_syntax_is_only_words(query: str, searcher: Searcher) -> None:
    found = ids(searcher, query, 240, mode=Mode.LEXICAL)
    words = re.findall(r"\w+", query.lower())
    expected = {
        row["_id"]
        for row in documents()
        if set(f"{row['title']} {row['text']}".split()) & set(words)
    }
    assert set(found) == expected


RARE = ["alpha", "beta", "gamma"]


def with_rare_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each word of ``RARE`` in one of so many documents, so that it tells them apart."""
    return [
        row | {"text": f"{row['text']} {' '.join(RARE[n % 3] for n in range(i % 5))}"}
        if i % 3 == 0
        else row
        for i, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Searcher]:
    path = tmp_path_factory.mktemp("telling")
    rows = with_rare_words(documents())
    ingest(write_jsonl(path / "c.jsonl", rows), path / "index", tiny_encoder)
    with Searcher(path / "index") as opened:
        yield opened


def test_hybrid_by_ranks_is_reciprocal_rank_fusion(tmp_path: Path, tiny_encoder: Path) -> None:
    rows = with_rare_words(documents(60))
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    query = "split beta words"
    with Searcher(tmp_path / "i") as searcher:
        dense, lexical = (
            ids(searcher, query, 60, mode=mode) for mode in (Mode.DENSE, Mode.LEXICAL)
        )
        hits = searcher.search(query, 60, Options(mode=Mode.HYBRID, fusion=Fusion.RANKS)).hits
    expected: dict[str, float] = {}
    for ranking in (dense, lexical):
        for rank, id_ in enumerate(ranking, 1):
            expected[id_] = expected.get(id_, 0) + 1 / (60 + rank)
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values())[::-1])
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id])
        assert {name: source.rank for name, source in hit.sources.items()} == {
            name: ranking.index(hit.id) + 1
            for name, ranking in (("dense", dense), ("lexical", lexical))
            if hit.id in ranking
        }


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.85, 1.0])
@pytest.mark.parametrize("query", ["split gamma x7", "alpha", "list of beta files"])
def test_hybrid_is_the_weighted_sum_of_scaled_scores(
    query: str, weight: float, telling: Searcher
) -> None:
    """Of every document, as if all scores had been looked at."""
    cosines, bm25s = (
        {hit.id: hit.score for hit in telling.search(query, 240, Options(mode=mode)).hits}
        for mode in (Mode.DENSE, Mode.LEXICAL)
    )
    expected = {
        id_: weight * (cosine + 1) / (max(cosines.values()) + 1)
        + (1 - weight) * bm25s.get(id_, 0.0) / max(bm25s.values())
        for id_, cosine in cosines.items()
    }
    hits = telling.search(query, 50, Options(mode=Mode.HYBRID, weight=weight)).hits
    assert [hit.score for hit in hits] == pytest.approx(
        sorted(expected.values())[::-1][:50], rel=1e-5
    )
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id], rel=1e-5)
        sources = {name: source.score for name, source in hit.sources.items()}
        known = {"dense": cosines[hit.id], "lexical": bm25s.get(hit.id)}
        assert sources == pytest.approx({k: v for k, v in known.items() if v}, rel=1e-5)


@pytest.mark.parametrize("query", ["zebra", "?!", "the", "the zebra"])
def test_words_that_tell_nothing_leave_the_ranking_to_meaning(
    query: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [row | {"text": f"the {row['text']}"} for row in documents(40)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    with Searcher(tmp_path / "i") as searcher:
        hybrid = searcher.search(query, 40, Options(mode=Mode.HYBRID)).hits
        assert [hit.id for hit in hybrid] == ids(searcher, query, 40)
        assert hybrid[0].score == pytest.approx(1)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "where",
    ["year >= 2010", "topic in ('shell', 'list') and not tags = 't0'", "year = 2003", "year < 0",
     "topic != 'shell' or year exists", "_id prefix 'd1'"],
)  # fmt: skip
def test_filtered_hits_equal_brute_force(where: str, mode: Mode, searcher: Searcher) -> None:
    condition = parse_where(where)
    let_through = set(searcher.read(lambda now: now.store.ids_where(to_sql(condition))))
    everything = ids(searcher, "split qed words", 240, mode=mode)
    found = ids(searcher, "split qed words", 240, mode=mode, where=condition)
    assert set(found) == set(everything) & let_through
    if mode is not Mode.HYBRID:  # ranks within the filter are others
        assert found == [id_ for id_ in everything if id_ in let_through]
    assert ids(searcher, "split qed words", 3, mode=mode, where=condition) == found[:3]


@pytest.mark.parametrize("mode", Mode)
def test_pages_are_one_list(mode: Mode, searcher: Searcher) -> None:
    whole = ids(searcher, "split qed words", 60, mode=mode)
    pages = [ids(searcher, "split qed words", 20, mode=mode, offset=o) for o in (0, 20, 40)]
    assert [id_ for page in pages for id_ in page] == whole
    assert ids(searcher, "split qed words", 10, mode=mode, offset=9000) == []


def test_groups_give_the_best_of_each_value(searcher: Searcher) -> None:
    topic = {row["_id"]: row["topic"] for row in documents()}
    best: dict[str, str] = {}
    for id_ in ids(searcher, "qed", 240):
        best.setdefault(topic[id_], id_)
    assert ids(searcher, "qed", 10, group_by=("topic",)) == list(best.values())
    assert ids(searcher, "qed", 2, group_by=("topic",), offset=1) == list(best.values())[1:3]
    assert len(ids(searcher, "qed", 10, group_by=("nothing",))) == 10


def test_a_least_score(searcher: Searcher) -> None:
    hits = searcher.search("qed x7", 240).hits
    middle = hits[100].score
    found = searcher.search("qed x7", 240, Options(min_score=middle)).hits
    assert [hit.id for hit in found] == [hit.id for hit in hits if hit.score >= middle]


def test_facets_count_the_best_documents(searcher: Searcher) -> None:
    rows = {row["_id"]: row for row in documents()}
    best = ids(searcher, "qed", 100)
    results = searcher.search("qed", 5, Options(facets=(("topic",), ("tags",), ("none",))))
    for field in ("topic", "tags"):
        counts: dict[str, int] = {}
        for id_ in best:
            value = rows[id_][field]
            for each in [value] if isinstance(value, str) else value:
                counts[each] = counts.get(each, 0) + 1
        expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        assert [tuple(each) for each in results.facets[field]] == expected
    assert results.facets["none"] == []


def test_maximal_marginal_relevance_by_hand() -> None:
    vectors = np.array([[1, 0], [0.995, 0.0999], [0, 1], [0.6, 0.8]], np.float32)
    relevance = np.array([1.0, 0.99, 0.5, 0.7], np.float32)
    assert diversified(relevance, vectors, 4, 0) == [0, 1, 3, 2]
    assert diversified(relevance, vectors, 4, 0.5) == [0, 2, 1, 3]
    assert diversified(relevance, vectors, 2, 0.5) == [0, 2]


def test_diverse_hits_are_less_alike(searcher: Searcher) -> None:
    def likeness(found: list[str]) -> float:
        vectors = searcher.reading(lambda reader: document_vectors(reader, found))
        return float((vectors @ vectors.T)[np.triu_indices(len(found), 1)].mean())

    plain, diverse = ids(searcher, "qed"), ids(searcher, "qed", diversity=0.6)
    assert diverse[0] == plain[0]
    assert likeness(diverse) < likeness(plain)


def test_recommended_are_near_what_is_liked(searcher: Searcher, tiny_encoder: Path) -> None:
    rows = documents()
    encoder = DocumentEncoder(tiny_encoder)
    stored = encoder.encode([f"{row['title']} {row['text']}" for row in rows]).vectors
    stored = stored.astype(np.float16).astype(np.float32)
    weights = history_weights(2, 1)
    assert weights == (0.5, 1.0)
    vector = (0.5 * stored[3] + stored[8]) / 1.5 - 0.5 * stored[20]
    scores = stored @ (vector / np.linalg.norm(vector))
    expected = [f"d{i}" for i in np.argsort(-scores) if i not in (3, 8, 20)][:5]
    hits = recommend(searcher, Examples(("d3", "d8"), ("d20",), weights), 5).hits
    assert [hit.id for hit in hits] == expected
    in_2003 = Options(where=parse_where("year = 2003"))
    filtered = recommend(searcher, Examples(("d3",)), 5, in_2003).hits
    assert {hit.metadata["year"] for hit in filtered} == {2003}
    assert "d3" not in {hit.id for hit in filtered}


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (Examples(()), "at least one document"),
        (Examples(("d1",), ("d1",)), None),
        (Examples(("d1",), weights=(1.0, 2.0)), "2 weights for 1"),
        (Examples(("d1",), weights=(-1.0,)), "a number above 0"),
        (Examples(("d1",) * 2000), "more than 1,000"),
    ],
)
def test_bad_examples(examples: Examples, message: str | None, searcher: Searcher) -> None:
    if message is None:
        assert recommend(searcher, examples).hits  # half of what is liked is left
        return
    with pytest.raises(QueryError, match=message):
        recommend(searcher, examples)


def test_an_unknown_example(searcher: Searcher) -> None:
    with pytest.raises(UnknownDocumentError, match="no document 'gone'"):
        recommend(searcher, Examples(("gone",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "offset is -1"),
        ({"offset": 10**9}, "it must be from 0 to 9000"),
        ({"effort": 0}, "effort is 0"),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"weight": -0.1}, "weight is -0.1"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"title_weight": 101}, "title_weight is 101"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({"facets": (("a",),) * 17}, "17 facets"),
        ({"facets": (("_id",),)}, "every document has its own"),
        ({"group_by": ('a"b',)}, "cannot filter by a field"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, searcher: Searcher) -> None:
    with pytest.raises(QueryError, match=message):
        searcher.search("x", 1, replace(Options(), **options))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_index_of_an_earlier_format_is_searched_and_upgraded(
    version: int, tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", documents(30)), tmp_path / "i", tiny_encoder)
    as_format(version, tmp_path / "i")
    searcher = Searcher(tmp_path / "i")
    assert len(searcher.search("qed", 30).hits) == 30
    assert searcher.search("qed", 3, Options(where=parse_where("year = 2003"))).hits
    with pytest.raises(IndexFolderError, match="without words; 'trimseek compact .*' adds them"):
        searcher.search("qed", 3, Options(mode=Mode.LEXICAL))
    both = searcher.search("qed", 3, Options(mode=Mode.HYBRID))
    assert [hit.id for hit in both.hits] == [hit.id for hit in searcher.search("qed", 3).hits]
    assert "no words yet" in both.warnings[0]
    searcher.close()
    assert run("compact", "i").returncode == 0
    searcher = Searcher(tmp_path / "i")
    expected = bm25("qed", documents(30))
    assert set(ids(searcher, "qed", 30, mode=Mode.LEXICAL)) == expected.keys()
    searcher.close()
    assert run("verify", "i", "--deep").returncode == 0


def test_the_command_shows_what_is_asked_for(folder: Path, run: Run) -> None:
    done = run(
        "search", folder, "qed words", "-k", 3, "--mode", "hybrid", "--where", "year >= 2010",
        "--facet", "topic", "--group-by", "topic", "--diversity", 0.2, "--offset", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "topic: " in done.stdout
    alike = run("recommend", folder, "--like", "d3", "--like", "d4", "--unlike", "d5", "-k", 4)
    assert len(re.findall(r"^-?0\.\d+  d", alike.stdout, re.MULTILINE)) == 4
    wrong = run("search", folder, "x", "--where", "year >")
    assert wrong.returncode == 2
    assert "filter, character 7: expected a value" in wrong.stderr


def test_a_hit_is_scored_by_its_query_encoder(searcher: Searcher, tiny_encoder: Path) -> None:
    vector = QueryEncoder(tiny_encoder).encode(["qed"]).vectors[0]

    def nothing_asked(reader: IndexReader) -> list[Hit]:
        return find(reader, reader.words(""), vector, 5, Options()).hits

    hits = searcher.reading(nothing_asked)
    assert [hit.id for hit in hits] == ids(searcher, "qed", 5)


@pytest.mark.parametrize("highlight", [False, True])
def test_a_lexical_hit_shows_the_passage_with_the_words(
    highlight: bool, tmp_path: Path, tiny_encoder: Path
) -> None:
    text = "of the list " * 60 + "split qed x7 " + "of the files " * 60
    rows = [{"_id": "long", "text": text}, {"_id": "short", "text": "nothing"}]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    searcher = Searcher(tmp_path / "i")
    options = Options(mode=Mode.LEXICAL, highlight=highlight)
    (hit,) = searcher.search("qed split", 5, options).hits
    searcher.close()
    assert "split qed" in hit.passage.text
    assert len(hit.passage.text) < len(text) / 3
    marked = [hit.passage.text[each.start : each.end] for each in hit.highlights]
    assert marked == (["split", "qed"] if highlight else [])


@pytest.mark.parametrize("mode", Mode)
def test_diversity_is_for_every_mode(mode: Mode, searcher: Searcher) -> None:
    plain = ids(searcher, "qed x7", mode=mode)
    diverse = ids(searcher, "qed x7", mode=mode, diversity=0.7)
    assert diverse[0] == plain[0]
    assert diverse != plain
