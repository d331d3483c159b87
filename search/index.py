"""An index as a Python program uses it: documents in, hits out, in one object.

with trimseek.create_index("notes", [{"id": "a", "text": "Bread rises when warm."}]) as notes:
for hit in notes.search("how to let dough rise").hits:
print(hit.score, hit.id, hit.passage.text)
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders import DEFAULT_ENCODER, find_encoder, open_encoder
from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder
from trimseek.encoders.pairs import encoder_pair, query_encoder_name
from trimseek.errors import CorpusError, QueryError, UnknownDocumentError
from trimseek.indexer import folder as index_folder
from trimseek.indexer.card import read_card
from trimseek.indexer.chunks import DEFAULT_OVERLAP
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.documents import USUAL_IDS, Document, Fields, document_from_row
from trimseek.indexer.filter_notes import FilterNotes, conditions_asked
from trimseek.indexer.filters import Filter, from_json, parse_field, to_sql
from trimseek.indexer.folder import check_space
from trimseek.indexer.folder import open_index as open_store
from trimseek.indexer.ingest import BATCH_CHARACTERS, BATCH_DOCUMENTS, batches
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.prompts import document_encoder, new_card
from trimseek.indexer.store import Store
from trimseek.indexer.summary import IndexSummary, summarize
from trimseek.indexer.where import parse_where
from trimseek.indexer.writer import IndexWriter, PutCounts
from trimseek.search.hits import Hit, Results
from trimseek.search.listing import DocumentPage
from trimseek.search.options import (
    DEFAULT_RERANK_DEPTH,
    DEFAULT_WEIGHT,
    Fusion,
    Mode,
    Options,
)
from trimseek.search.recommend import Examples, History, Recommendations, recommend
from trimseek.search.searcher import Searcher

DOCUMENTS_AT_A_TIME = 256

Row = Mapping[str, Any] | Document
Documents = Iterable[Row] | str | Path  # rows, or a corpus as ``trimseek index`` takes it
Where = str | Mapping[str, Any] | Filter  # 'year >= 2020', or a filter as HTTP has it


class SearchOptions(TypedDict, total=False):
    """What ``Index.search`` takes beside the query and ``k``."""

    mode: Mode | str
    where: Where | None
    offset: int
    group_by: str | None
    diversity: float
    min_score: float | None
    highlight: bool
    facets: Sequence[str]
    effort: int | None
    weight: float
    fusion: Fusion | str
    title_weight: float
    prefix: bool
    suggest: bool
    rerank: "str | Path | CrossEncoder | None"
    rerank_depth: int
    vector: "Sequence[float] | NDArray[np.floating] | None"


def create_index(
    folder: str | Path,
    documents: Documents = (),
    *,
    encoder: str | Path = DEFAULT_ENCODER,
    facets: Sequence[str] = (),
    kind: str | None = None,
    language: str | None = None,
    overlap: int = DEFAULT_OVERLAP,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> "Index":
    """Make an index in a new folder, and add documents to it.

    :param documents: see ``Index.add``.
    :param encoder: "fast", "balanced" or "best"; or one of documents: "minilm", a model folder or
        a hub id, with ``-int8`` (the default) or ``-float32`` behind it, and with ``+`` one of
        queries, as "minilm+minilm-swift".
    :param facets: metadata fields (``author.name``) whose filters are to be fast.
    :param kind: "exact", "sq8", "hnsw" or "ivf"; by the number of passages where it is None.
    :param language: of the texts, whose words are reduced to their stems for lexical search:
        "english", "german", ...; "none"; by the texts where it is None.
    :param overlap: tokens that neighbouring passages of a document share.
    :param query_prompt: what stands before each query, as "query: "; the encoder's own where it is
        None.
    :param document_prompt: what stands before each document, as "passage: ".
    :raises IndexFolderError: if the folder exists already; ``open_index`` opens it.
    :raises EncoderError: if there is no such encoder.
    :raises CorpusError: for a document that cannot be stored; those of earlier batches are there,
        and no folder if there were none.
    """
    path, pair = Path(folder), encoder_pair(str(encoder))
    encoder_folder = find_encoder(pair.documents)
    card = open_encoder(encoder_folder)
    index_card = new_card(encoder_folder, card, *pair, overlap, query_prompt, document_prompt)
    index_folder.create_index(
        path, index_card, facets=facets, kind=as_kind(kind), language=language
    )
    index = Index(path)
    try:
        index.add(documents)
    except BaseException:
        index.close()
        if not len(index):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return index


def open_index(folder: str | Path, *, query_encoder: str | Path | None = None) -> "Index":
    """Open an index that exists.

    :param query_encoder: of the index's space, such as "minilm-swift" for an index that minilm
        embedded, or "fast", "balanced", "best"; by default the index's own encoder.
    :raises IndexFolderError: if there is no index, or it is damaged, or of another space.
    :raises EncoderError: if there is no such encoder.
    """
    index = Index(folder, query_encoder=query_encoder)
    index.summary()
    if query_encoder is not None:
        encoder = open_encoder(find_encoder(query_encoder_name(str(query_encoder))))
        check_space(read_card(index.folder), encoder.space, index.folder, encoder.name)
    return index


class Index:
    """An index folder, opened to be searched and changed; close it, or use it in a ``with`` block.

    Its encoders are opened when they are first needed. Searches are safe from several threads;
    other processes may search and write at the same time. What a method wrote is on the disk when
    it returns.
    """

    def __init__(self, folder: str | Path, *, query_encoder: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self._query_encoder = None if query_encoder is None else str(query_encoder)
        self._cross_encoders: dict[str, CrossEncoder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its files; what was opened is opened again when it is used again."""
        self._cross_encoders = {}
        for name in ("searcher", "_writer"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def __len__(self) -> int:
        """How many documents there are."""
        return self.summary().documents

    def __repr__(self) -> str:
        return f"trimseek.Index({str(self.folder)!r})"

    @cached_property
    def searcher(self) -> Searcher:
        """What answers its queries."""
        return Searcher(self.folder, self._query_encoder)

    @cached_property
    def _writer(self) -> IndexWriter:
        card = read_card(self.folder)
        return IndexWriter(self.folder, document_encoder(card, self.folder))

    def summary(self) -> IndexSummary:
        """Counts of documents and passages, encoder, size on disk; IndexFolderError."""
        return summarize(self.folder)

    def add(self, documents: Documents) -> PutCounts:
        """Add documents, or replace those of the same ids; unchanged ones are not embedded again.

        A document is a mapping with an ``id`` (or ``_id``), a ``text`` and perhaps a ``title``; its
        other fields are metadata. Or give the name of a corpus: a file, a folder, "hub:owner/name".
        They are stored in batches, each wholly or not at all.

        :raises CorpusError: for a document that cannot be stored; earlier batches stay.
        """
        counts = PutCounts(0, 0, 0)
        for batch in batches(documents_of(documents), BATCH_DOCUMENTS, BATCH_CHARACTERS):
            stored = self._writer.put(batch)
            counts = PutCounts(*(a + b for a, b in zip(counts, stored, strict=True)))
        self._writer.refresh()
        return counts

    def search(
        self,
        query: str = "",
        k: int = 10,
        *,
        mode: Mode | str = Mode.HYBRID,
        where: Where | None = None,
        offset: int = 0,
        group_by: str | None = None,
        diversity: float = 0.0,
        min_score: float | None = None,
        highlight: bool = False,
        facets: Sequence[str] = (),
        effort: int | None = None,
        weight: float = DEFAULT_WEIGHT,
        fusion: Fusion | str = Fusion.SCORES,
        title_weight: float = 1.0,
        prefix: bool = False,
        suggest: bool = False,
        rerank: str | Path | CrossEncoder | None = None,
        rerank_depth: int = DEFAULT_RERANK_DEPTH,
        vector: "Sequence[float] | NDArray[np.floating] | None" = None,
    ) -> Results:
        """The ``k`` documents that answer a query best; fewer if there are fewer.

        :param mode: "hybrid" (by meaning and words), "dense" (by meaning) or "lexical" (by words,
            BM25).
        :param where: which documents count: ``'year >= 2020 and lang = "en"'``, or a filter as
            HTTP has it.
        :param offset: hits to leave out, for the next page.
        :param group_by: a metadata field; only the best hit of each of its values is given.
        :param diversity: 0 to 1: how much hits should differ from one another.
        :param min_score: the least score of a hit, in the scores of the mode.
        :param highlight: say where the query's words are in each passage.
        :param facets: metadata fields whose values among the best documents are counted.
        :param effort: of an hnsw or ivf index: more finds more and takes longer.
        :param weight: of meaning in hybrid mode, from 0 (words alone) to 1.
        :param fusion: of hybrid mode: "scores" (a weighted sum) or "ranks" (reciprocal ranks).
        :param title_weight: how often a word of a title counts for BM25.
        :param prefix: the query's last word is only begun and stands for all words that begin so:
            for searching while somebody types.
        :param suggest: look for what was meant by words that no document has; it is in the
            results' ``suggestion``.
        :param rerank: a cross-encoder, or the name of one as ``load_cross_encoder`` takes it, which
            puts the best documents into another order.
        :param rerank_depth: so many of the best are reranked, and no others are found.
        :param vector: of the query ``(dim,)``, in the place of the encoder's; the query may then be
            left out.
        :raises QueryError: for a blank query, or an option that makes no sense.
        :raises EncoderError: if there is no such cross-encoder.
        """
        options = self._options(
            mode=mode,
            where=where,
            offset=offset,
            group_by=group_by,
            diversity=diversity,
            min_score=min_score,
            highlight=highlight,
            facets=facets,
            effort=effort,
            weight=weight,
            fusion=fusion,
            title_weight=title_weight,
            prefix=prefix,
            suggest=suggest,
            rerank=rerank,
            rerank_depth=rerank_depth,
            vector=vector,
        )
        return self.searcher.search(query, k, options)

    def search_batch(
        self, queries: Sequence[str], k: int = 10, **options: Unpack[SearchOptions]
    ) -> list[Results]:
        """As ``search``, for several queries, which are encoded together; with the same options."""
        texts = several(queries, "queries")
        return self.searcher.search_batch(texts, k, self._options(**options))

    def _options(self, **given: Unpack[SearchOptions]) -> Options:
        """As ``options_of``; a cross-encoder that is named stays open until ``close``."""
        scorer = given.pop("rerank", None)
        if isinstance(scorer, str | Path):
            name = str(scorer)
            if name not in self._cross_encoders:
                self._cross_encoders[name] = load_cross_encoder(name)
            scorer = self._cross_encoders[name]
        return replace(options_of(**given), scorer=scorer)

    def recommend(
        self,
        like: Sequence[str],
        k: int = 10,
        *,
        unlike: Sequence[str] = (),
        weights: Sequence[float] | None = None,
        where: Where | None = None,
        offset: int = 0,
        group_by: str | None = None,
        diversity: float = 0.0,
        effort: int | None = None,
    ) -> list[Hit]:
        """The ``k`` documents most like some of the index and unlike others, none of these.

        :param like: ids of documents that are liked.
        :param unlike: ids of documents that are not.
        :param weights: one for each liked document, by default 1; ``history_weights`` of
            ``trimseek.search.recommend`` makes the latest of a history count most.
        :raises UnknownDocumentError: for an id that is not there.
        """
        options = options_of(
            where=where, offset=offset, group_by=group_by, diversity=diversity, effort=effort
        )
        given = None if weights is None else tuple(weights)
        examples = Examples(tuple(several(like, "like")), tuple(several(unlike, "unlike")), given)
        return recommend(self.searcher, examples, k, options).hits

    def recommend_next(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        seen: Sequence[str] = (),
        again: bool = False,
        where: Where | None = None,
        offset: int = 0,
        group_by: str | None = None,
        diversity: float = 0.0,
        effort: int | None = None,
    ) -> Recommendations:
        """The ``k`` items that are likeliest to follow a history.

        Of an index whose encoder is a recommender (``trimseek.train_recommender``). Items that it
        does not know are left out, and counted in ``unknown``; where none is left, the most popular
        items are recommended, as ``basis`` then says.

        :param history: ids of the items that somebody took, the latest last.
        :param seen: further items that are not recommended.
        :param again: recommend also what is in the history.
        :raises QueryError: where the index's encoder reads no histories.
        """
        options = options_of(
            where=where, offset=offset, group_by=group_by, diversity=diversity, effort=effort
        )
        taken = History(tuple(several(history, "history")), tuple(several(seen, "seen")), again)
        return recommend(self.searcher, taken, k, options)

    def get(self, id_: str) -> Document:
        """A document as it was added; UnknownDocumentError."""
        with open_store(self.folder) as (_, store):
            document = store.document(id_)
        if document is None:
            raise UnknownDocumentError(f"{self.folder}: no document {id_!r}")
        return document

    def __contains__(self, id_: object) -> bool:
        with open_store(self.folder) as (_, store):
            return isinstance(id_, str) and bool(store.keys_of([id_]))

    def documents(self) -> Iterator[Document]:
        """Every document, in the order in which they came, as of the moment of the call."""
        with ExitStack() as opened:
            _, store = opened.enter_context(open_store(self.folder))
            frozen = opened.enter_context(store.reading())
            return documents_in(frozen, opened.pop_all())

    def get_many(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents of some ids, in their order; None for each that is not there."""
        wanted = several(ids, "ids")
        with open_store(self.folder) as (_, store):
            found: dict[str, Document] = {}
            for start in range(0, len(wanted), DOCUMENTS_AT_A_TIME):
                found |= store.documents_by_id(wanted[start : start + DOCUMENTS_AT_A_TIME])
        return [found.get(id_) for id_ in wanted]

    def page(
        self, *, where: Where | None = None, limit: int = 100, cursor: str | None = None
    ) -> DocumentPage:
        """Some documents in the order in which they came, and the cursor of the next page.

        Each document that is there all the time is given once, whatever is written meanwhile.

        :param where: which documents count.
        :param limit: so many at most, up to 1,000.
        :param cursor: of the page before; None begins.
        :raises QueryError: for a cursor of another index or filter.
        """
        return self.searcher.page(as_filter(where), limit, cursor)

    def count(self, ids: Sequence[str] | None = None, *, where: Where | None = None) -> int:
        """How many documents have one of these ids, or are let through by a filter; or all."""
        condition = as_filter(where)
        with open_store(self.folder) as (_, store):
            if condition is not None:
                return store.count_where(to_sql(condition, store.facets()))
            return store.counts().documents if ids is None else len(store.keys_of(ids))

    def warnings(self, where: Where | None = None, fields: Sequence[str] = ()) -> tuple[str, ...]:
        """What a filter asks for, or which of the fields, no document has: a sentence each.

        Those of a search are in its ``warnings``.
        """
        named = tuple(map(parse_field, several(fields, "fields")))
        conditions = conditions_asked(as_filter(where), named)
        with open_store(self.folder) as (card, store):
            return FilterNotes().of(store, card.id, 0, conditions)

    def delete(self, ids: Sequence[str] | str | None = None, *, where: Where | None = None) -> int:
        """Delete documents by ids or by a filter; how many there were.

        :raises QueryError: unless one of the two is given.
        """
        condition = as_filter(where)
        if (ids is None) == (condition is None):
            raise QueryError("say which documents: ids or where, one of the two")
        with IndexWriter(self.folder) as writer:
            if condition is not None:
                count = writer.delete_where(condition)
            else:
                count = writer.delete([ids] if isinstance(ids, str) else ids or [])
            writer.refresh()
        return count

    def patch(self, id_: str, metadata: Mapping[str, Any]) -> Document:
        """Change a document's metadata without embedding it again; the document as it is now.

        Fields given as None are removed (JSON Merge Patch, RFC 7396, at the first level).

        :raises UnknownDocumentError: if there is no such document.
        """
        with IndexWriter(self.folder) as writer:
            return writer.patch(id_, metadata)


def options_of(**given: Unpack[SearchOptions]) -> Options:
    """The options as the searcher has them; QueryError, TypeError for one that there is not."""
    chosen: dict[str, Any] = {**given}
    chosen["mode"] = as_mode(given.get("mode", Mode.HYBRID))
    chosen["fusion"] = as_fusion(given.get("fusion", Fusion.SCORES))
    chosen["where"] = as_filter(given.get("where"))
    vector = given.get("vector")
    chosen["vector"] = None if vector is None else tuple(map(float, vector))
    group_by = given.get("group_by")
    chosen["group_by"] = parse_field(group_by) if group_by else None
    chosen["facets"] = tuple(map(parse_field, several(given.get("facets", ()), "facets")))
    return Options(**chosen)


def several(texts: Sequence[str], name: str) -> Sequence[str]:
    """The texts themselves; QueryError for a single one, whose letters would be taken for them."""
    if isinstance(texts, str):
        raise QueryError(f"{name}: give a list of texts, not one text")
    return texts


def documents_in(store: Store, opened: ExitStack) -> Iterator[Document]:
    """Every document of a store; what was opened for it is closed at the end."""
    with opened:
        for part in store.all_documents(DOCUMENTS_AT_A_TIME):
            yield from (document for _, document in part)


def documents_of(documents: Documents) -> Iterator[Document]:
    """Documents of mappings, of documents, or of a corpus's name; CorpusError."""
    if isinstance(documents, str | Path):
        yield from open_corpus(str(documents)).documents()
        return
    if isinstance(documents, Mapping):
        raise CorpusError("give a list of documents, not one document")
    for number, row in enumerate(documents, 1):
        where = f"document {number}"
        if isinstance(row, Document):
            yield row if row.where else replace(row, where=where)
            continue
        if isinstance(row, Mapping) and not any(name in row for name in USUAL_IDS):
            raise CorpusError(f"{where}: no field 'id'; every document needs one of its own")
        yield document_from_row(row, Fields(), number, where)


def as_filter(where: Where | None) -> Filter | None:
    """A filter as text or as HTTP has it; QueryError says what is wrong."""
    if isinstance(where, str):
        return parse_where(where)
    return from_json(where) if isinstance(where, Mapping) else where


def as_fusion(fusion: Fusion | str) -> Fusion:
    """QueryError for a way to fuse that there is not."""
    try:
        return Fusion(fusion)
    except ValueError:
        known = ", ".join(each.value for each in Fusion)
        raise QueryError(f"no fusion {fusion!r}; there are: {known}") from None


def as_mode(mode: Mode | str) -> Mode:
    """QueryError for a mode that there is not."""
    try:
        return Mode(mode)
    except ValueError:
        known = ", ".join(known_mode.value for known_mode in Mode)
        raise QueryError(f"no mode {mode!r}; there are {known}") from None


def as_kind(kind: str | None) -> SnapshotKind | None:
    """QueryError for a kind that there is not."""
    try:
        return None if kind is None else SnapshotKind(kind)
    except ValueError:
        known = ", ".join(known_kind.value for known_kind in SnapshotKind)
        raise QueryError(f"no kind of index {kind!r}; there are {known}") from None
