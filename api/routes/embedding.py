"""Embeddings and models, in the shape of OpenAI's API."""

import base64
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastapi import Request
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api.endpoints import JSON, Endpoint, as_json
from trimseek.api.errors import TooLargeError, UnknownModelError, is_text
from trimseek.api.indexes import shown
from trimseek.api.keys import Role
from trimseek.api.routes.searching import unless_gone
from trimseek.api.schemas import EmbeddingsAnswer, EmbeddingsRequest, ModelAnswer, ModelList
from trimseek.api.service import Service, service_of
from trimseek.api.settings import ServiceSettings
from trimseek.encoders.catalog import split_precision
from trimseek.encoders.encoder import Encoder, shortened
from trimseek.encoders.weights import FloatArray
from trimseek.errors import QueryError
from trimseek.indexer.card import CARD
from trimseek.search.content import Content
from trimseek.search.reader_searcher import ReaderSearcher

# Of one part of a request's texts: a part takes tenths of a second, then others have their turn.
PART_TEXTS = 32
PART_CHARACTERS = 8192


class Part(NamedTuple):
    """The answer for some of the texts: items of its ``data`` as JSON, and the tokens encoded."""

    items: bytes
    tokens: int


async def embeddings(body: EmbeddingsRequest, request: Request) -> Response:
    """Vectors of texts; many texts are worked off in parts, beside searches."""
    service = service_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    check_texts(texts, service.settings)
    return await unless_gone(request, embed(service, body, texts))


async def embed(service: Service, body: EmbeddingsRequest, texts: Sequence[str]) -> Response:
    """The answer of a request whose texts are valid."""
    name, searcher = await run_in_threadpool(find_model, service, body.model, body.role)
    encoder = await run_in_threadpool(service.encoder_of, searcher, body.role)
    dim = body.dimensions or encoder.dim
    if dim > encoder.dim:
        raise QueryError(f"dimensions: {dim}; {name} has {encoder.dim}")
    parts: list[Part] = []
    for start, end in parts_of(texts):
        part = await service.engine.run(
            *(encoded_part, encoder, texts[start:end], start, dim, body.encoding_format),
            seconds=service.settings.deadline,
            turn=service.engine.embedding_turn,
            admitted=bool(parts),
        )
        parts.append(part)
    tokens = sum(part.tokens for part in parts)
    rest = to_json({"model": name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    items = b",".join(part.items for part in parts)
    return Response(b'{"object":"list","data":[' + items + b"]," + rest[1:], media_type=JSON)


def parts_of(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends."""
    start = characters = 0
    for i, text in enumerate(texts):
        characters += len(text)
        if i > start and (characters > PART_CHARACTERS or i - start == PART_TEXTS):
            yield start, i
            start, characters = i, len(text)
    yield start, len(texts)


def encoded_part(
    encoder: Encoder, texts: Sequence[str], first: int, dim: int, encoding_format: str
) -> Part:
    """Some of the texts, the first of them number ``first``; vectors of ``dim`` dimensions."""
    encoded = encoder.encode(texts)
    vectors = encoded.vectors
    if dim < encoder.dim:
        vectors = shortened(vectors, dim, normalize=True)
    items = [
        {"object": "embedding", "index": first + i, "embedding": in_format(vector, encoding_format)}
        for i, vector in enumerate(vectors)
    ]
    return Part(to_json(items)[1:-1], encoded.tokens)


def in_format(vector: FloatArray, encoding_format: str) -> list[float] | str:
    """A vector ``(dim,) float32`` as numbers, or as base64 of little-endian float32."""
    if encoding_format == "float":
        numbers: list[float] = vector.tolist()
        return numbers
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def check_texts(texts: Sequence[str], settings: ServiceSettings) -> None:
    """QueryError for texts that cannot be encoded, TooLargeError for too many."""
    if not texts:
        raise QueryError("input: give at least one text")
    if len(texts) > settings.max_texts:
        raise TooLargeError(f"{len(texts)} texts at once; the most is {settings.max_texts}")
    for i, text in enumerate(texts):
        if not text.strip() or len(text) > settings.max_document:
            raise QueryError(
                f"input[{i}]: must have from 1 to {settings.max_document:,} characters"
            )
        if not is_text(text):
            raise QueryError(f"input[{i}]: not Unicode text")


def served_models(service: Service, role: str) -> dict[str, ReaderSearcher]:
    """Encoders of a role by the name shown, each with the first index that has it."""
    models: dict[str, ReaderSearcher] = {}
    for searcher in service.indexes.all().working:
        name = searcher.encoder_name if role == "query" else searcher.card.encoder
        models.setdefault(shown(name), searcher)
    return models


def find_model(service: Service, wanted: str | None, role: str) -> tuple[str, ReaderSearcher]:
    """The name shown of the encoder that is wanted, and an index that has it.

    By the name shown, by the encoder's name with or without its precision, or by an index's name;
    the first one where ``wanted`` is None. UnknownModelError.
    """
    models = served_models(service, role)
    if not models:
        raise QueryError("this service has no index, and so no encoder yet")
    if wanted is None:
        return next(iter(models.items()))
    if wanted in models:
        return wanted, models[wanted]
    exact = split_precision(wanted, relative=False)
    for name, searcher in models.items():
        if split_precision(name, relative=False) == exact:
            return name, searcher
    for name, searcher in models.items():
        if split_precision(name, relative=False)[0] == wanted:
            return name, searcher
    if wanted in service.indexes.names():
        searcher = service.indexes.get(wanted)
        return shown(searcher.encoder_name if role == "query" else searcher.card.encoder), searcher
    raise UnknownModelError(f"no model {wanted!a}; there are: {', '.join(models)}")


def models(request: Request) -> Response:
    """The encoders of the indexes, those of queries first."""
    return as_json({"object": "list", "data": list(described_models(service_of(request)).values())})


def model(model: str, request: Request) -> Response:
    """One of the encoders."""
    known = described_models(service_of(request))
    if model not in known:
        raise UnknownModelError(f"no model {model!a}; there are: {', '.join(known)}")
    return as_json(known[model])


def described_models(service: Service) -> dict[str, Content]:
    """``schemas.ModelAnswer`` of each encoder of the indexes, by the name shown."""
    found = served_models(service, "query")
    for name, searcher in served_models(service, "document").items():
        found.setdefault(name, searcher)
    return {
        name: {
            "id": name,
            "object": "model",
            "created": int((searcher.folder / CARD).stat().st_mtime),
            "owned_by": "trimseek",
        }
        for name, searcher in found.items()
    }


ENDPOINTS = (
    Endpoint("POST", "/v1/embeddings", Role.READ, embeddings, answer=EmbeddingsAnswer),
    Endpoint("GET", "/v1/models", Role.READ, models, answer=ModelList),
    Endpoint("GET", "/v1/models/{model:path}", Role.READ, model, answer=ModelAnswer),
)
