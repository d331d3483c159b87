"""Embeddings, in the shape of OpenAI's API."""

import base64

from starlette.responses import Response

from api.errors import TooLargeError, is_text
from api.indexes import shown as shown_name
from api.keys import Role
from api.routes.register import Endpoints, as_json
from api.schemas import EmbeddingsAnswer, EmbeddingsRequest
from api.service import Service
from encoders.encoder import Encoded
from encoders.weights import FloatArray
from trimseek.errors import QueryError


def add_embedding(endpoints: Endpoints, service: Service) -> None:
    settings = service.settings

    def served(role: str) -> dict[str, str]:
        """The indexes' encoders of a role, by the names to be shown."""
        names = [
            each.encoder_name if role == "query" else each.card.encoder
            for each in service.indexes.all()
        ]
        return {shown_name(name): name for name in names}

    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Vectors of texts."""
        texts = [body.input] if isinstance(body.input, str) else body.input
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
        names = served(body.role)
        if not names:
            raise QueryError("this service has no index, and so no encoder yet")
        model = body.model or next(iter(names))
        if model not in names:
            raise QueryError(f"no model {model!a}; there are: {', '.join(names)}")

        def encode() -> Encoded:
            return service.encoder(names[model], body.role).encode(texts)

        encoded = await service.engine.run(encode, seconds=settings.deadline)
        dim = encoded.vectors.shape[1]
        if body.dimensions not in (None, dim):
            raise QueryError(f"dimensions: {model} has {dim}, no other number")

        def as_asked(vector: FloatArray) -> list[float] | str:
            if body.encoding_format == "float":
                return list(map(float, vector))
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()

        return as_json(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": i, "embedding": as_asked(vector)}
                    for i, vector in enumerate(encoded.vectors)
                ],
                "model": model,
                "usage": {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens},
            }
        )

    endpoints.add("POST", "/v1/embeddings", Role.READ, embeddings, answer=EmbeddingsAnswer)
