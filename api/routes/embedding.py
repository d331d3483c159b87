"""Embeddings, in the shape of OpenAI's API."""

import base64

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api.endpoints import Endpoint, as_json
from trimseek.api.errors import TooLargeError, is_text
from trimseek.api.indexes import shown as shown_name
from trimseek.api.keys import Role
from trimseek.api.schemas import EmbeddingsAnswer, EmbeddingsRequest
from trimseek.api.service import Service, service_of
from trimseek.api.settings import ServiceSettings
from trimseek.encoders.encoder import Encoded
from trimseek.encoders.weights import FloatArray
from trimseek.errors import QueryError


async def embeddings(body: EmbeddingsRequest, request: Request) -> Response:
    """Vectors of texts."""
    service = service_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    check_texts(texts, service.settings)
    names = await run_in_threadpool(served_encoders, service, body.role)
    if not names:
        raise QueryError("this service has no index, and so no encoder yet")
    model = body.model or next(iter(names))
    if model not in names:
        raise QueryError(f"no model {model!a}; there are: {', '.join(names)}")

    def encode() -> Encoded:
        return service.encoder(names[model], body.role).encode(texts)

    encoded = await service.engine.run(encode, seconds=service.settings.deadline)
    dim = encoded.vectors.shape[1]
    if body.dimensions not in (None, dim):
        raise QueryError(f"dimensions: {model} has {dim}, no other number")
    return as_json(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": i,
                    "embedding": in_format(vector, body.encoding_format),
                }
                for i, vector in enumerate(encoded.vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens},
        }
    )


def check_texts(texts: list[str], settings: ServiceSettings) -> None:
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


def served_encoders(service: Service, role: str) -> dict[str, str]:
    """The indexes' encoders of a role: the name that ``find_encoder`` takes, by the name shown."""
    names = [
        searcher.encoder_name if role == "query" else searcher.card.encoder
        for searcher in service.indexes.all().working
    ]
    return {shown_name(name): name for name in names}


def in_format(vector: FloatArray, encoding_format: str) -> list[float] | str:
    """A vector ``(dim,) float32`` as numbers, or as base64 of little-endian float32."""
    if encoding_format == "float":
        return list(map(float, vector))
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


ENDPOINTS = (Endpoint("POST", "/v1/embeddings", Role.READ, embeddings, answer=EmbeddingsAnswer),)
