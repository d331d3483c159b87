"""A search service as most people would write it, to compare with: a model, FAISS, FastAPI.

python plain_service.py CHECKPOINT VECTORS.npy PORT, in the peers' environment
"""

import sys

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Question(BaseModel):
    """The body of a search."""

    query: str
    k: int = 10


def make_app(checkpoint: str, vectors: str) -> FastAPI:
    """Exact search over vectors ``(n, dim)`` of a file, with queries encoded by a checkpoint."""
    model = SentenceTransformer(checkpoint, device="cpu")
    stored = np.load(vectors)
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    texts = [f"document {i}" for i in range(len(stored))]
    app = FastAPI()

    @app.post("/search")
    def search(question: Question) -> dict[str, object]:
        vector = model.encode([question.query], normalize_embeddings=True)
        scores, keys = index.search(vector, question.k)
        hits = [
            {"id": int(i), "score": float(score), "text": texts[i]}
            for i, score in zip(keys[0], scores[0], strict=True)
        ]
        return {"hits": hits}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(*sys.argv[1:3]), port=int(sys.argv[3]), log_level="warning")
