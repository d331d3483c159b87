"""Reranking, in the shapes of Cohere's, Jina's and Text Embeddings Inference's APIs."""

from collections.abc import Sequence
from uuid import uuid4

import numpy as np
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api.endpoints import Endpoint, as_json
from trimseek.api.errors import TooLargeError, UnknownModelError, is_text
from trimseek.api.indexes import shown
from trimseek.api.keys import Role
from trimseek.api.routes.embedding import parts_of
from trimseek.api.routes.searching import check_limits, unless_gone
from trimseek.api.schemas import RerankAnswer, RerankRequest, TextRank
from trimseek.api.service import Service, service_of
from trimseek.encoders.catalog import split_precision
from trimseek.encoders.cross_encoder import CrossEncoder, probabilities
from trimseek.encoders.weights import FloatArray
from trimseek.errors import QueryError
from trimseek.search.content import Content
from trimseek.search.options import check_query


async def rerank(body: RerankRequest, request: Request) -> Response:
    """Texts in the order in which they answer a query; many are worked off in parts."""
    service = service_of(request)
    request.state.query = body.query
    check_query(body.query, 1)
    check_limits(service.settings, body.query)
    texts = texts_of(body)
    check_texts(texts, service)
    return await unless_gone(request, ranked(service, body, texts))


async def ranked(service: Service, body: RerankRequest, texts: Sequence[str]) -> Response:
    """The answer of a request whose texts are valid."""
    encoder = await run_in_threadpool(service.cross_encoder)
    name = shown(service.settings.reranker or "")
    if body.model not in (None, name, split_precision(name, relative=False)[0]):
        raise UnknownModelError(f"no model {body.model!a}; there is {name}")
    parts: list[FloatArray] = []
    tokens = 0
    for start, end in parts_of(texts):
        part = await service.engine.run(
            *(CrossEncoder.scores, encoder, body.query, texts[start:end]),
            seconds=service.settings.deadline,
            turn=service.engine.embedding_turn,
            admitted=bool(parts),
        )
        parts.append(part.scores)
        tokens += part.tokens
    scores = np.concatenate(parts)
    order = np.argsort(-scores, kind="stable")[: body.top_n].tolist()
    shown_scores = (scores if body.raw_scores else probabilities(scores)).tolist()
    if body.texts is not None:
        return as_json(
            [
                {"index": i, "score": shown_scores[i]}
                | ({"text": texts[i]} if body.return_text or body.return_documents else {})
                for i in order
            ]
        )
    results: list[Content] = [
        {"index": i, "relevance_score": shown_scores[i]}
        | ({"document": {"text": texts[i]}} if body.return_documents or body.return_text else {})
        for i in order
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return as_json({"id": str(uuid4()), "model": name, "results": results, "usage": usage})


def texts_of(body: RerankRequest) -> list[str]:
    """The texts of a request; QueryError for none, or for a document without any."""
    if (body.documents is None) == (body.texts is None):
        raise QueryError("give the texts as documents, or as texts; one of the two")
    if body.documents is None:
        return body.texts or []
    fields = body.rank_fields or ["text"]
    texts = []
    for i, document in enumerate(body.documents):
        if isinstance(document, str):
            texts.append(document)
            continue
        parts = [document[field] for field in fields if field in document]
        if not parts or not all(isinstance(part, str) for part in parts):
            raise QueryError(f"documents[{i}]: no text in {' or '.join(fields)}")
        texts.append("\n".join(map(str, parts)))
    return texts


def check_texts(texts: Sequence[str], service: Service) -> None:
    """QueryError for texts that cannot be read, TooLargeError for too many."""
    settings = service.settings
    if not texts:
        raise QueryError("documents: give at least one text")
    if len(texts) > settings.max_texts:
        raise TooLargeError(f"{len(texts)} texts at once; the most is {settings.max_texts}")
    for i, text in enumerate(texts):
        if len(text) > settings.max_document:
            raise QueryError(f"text {i}: more than {settings.max_document:,} characters")
        if not is_text(text):
            raise QueryError(f"text {i}: not Unicode text")


ENDPOINTS = (
    Endpoint("POST", "/v1/rerank", Role.READ, rerank, answer=RerankAnswer | list[TextRank]),
    # where Cohere's second client and Text Embeddings Inference's look for it
    Endpoint("POST", "/v2/rerank", Role.READ, rerank, answer=RerankAnswer, listed=False),
    Endpoint("POST", "/rerank", Role.READ, rerank, answer=list[TextRank], listed=False),
)
