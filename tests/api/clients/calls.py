"""Runs in .venv-clients: ``python calls.py CLIENT URL`` asks a service as that client's users do.

Prints JSON: what the client got, by the name of each call. ``URL`` is the service's, without
``/v1``; the texts come as a JSON list on standard input.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

MODEL = "minilm-int8"
KEY = "none"


def openai(url: str, texts: list[str]) -> dict[str, Any]:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY)

    def vectors(**options: Any) -> list[list[float]]:
        answer = client.embeddings.create(**{"model": MODEL, "input": texts, **options})
        assert answer.model == MODEL
        assert answer.usage.total_tokens > 0
        return [each.embedding for each in answer.data]

    async def asynchronous() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as other:
            answer = await other.embeddings.create(model=MODEL, input=texts)
        return [each.embedding for each in answer.data]

    def refused(**options: Any) -> list[Any]:
        try:
            vectors(**options)
        except openai.APIStatusError as error:
            return [error.status_code, str(error)]
        raise AssertionError(options)

    return {
        "query": vectors(),
        "float": vectors(encoding_format="float"),
        "document": vectors(extra_body={"role": "document"}),
        "null": vectors(encoding_format=None),
        "short": vectors(dimensions=64),
        "asynchronous": asyncio.run(asynchronous()),
        "models": [each.id for each in client.models.list()],
        "model": client.models.retrieve(MODEL).id,
        "tokens": refused(input=[[1, 2], [3]]),
        "unknown": refused(model="text-embedding-3-small"),
        "empty": refused(input=[]),
    }


def langchain(url: str, texts: list[str]) -> dict[str, Any]:
    import openai
    import tiktoken
    from langchain_openai import OpenAIEmbeddings

    options: dict[str, Any] = {"model": MODEL, "base_url": f"{url}/v1", "api_key": KEY}
    embeddings = OpenAIEmbeddings(check_embedding_ctx_length=False, **options)
    # OpenAI's own vocabulary would be fetched from the network; any will do to send numbers
    tiktoken.get_encoding = lambda name: tiktoken.Encoding(
        name,
        pat_str=r"\S+|\s+",
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={},
    )
    try:
        OpenAIEmbeddings(**options).embed_documents(texts)
    except openai.UnprocessableEntityError as error:
        said = str(error)
    return {
        "document": embeddings.embed_documents(texts),
        "query": [embeddings.embed_query(text) for text in texts[:3]],
        "tokens": said,
    }


def llamaindex(url: str, texts: list[str]) -> dict[str, Any]:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embeddings = OpenAILikeEmbedding(
        model_name=MODEL, api_base=f"{url}/v1", api_key=KEY, embed_batch_size=2048
    )
    return {
        "document": embeddings.get_text_embedding_batch(texts),
        "query": [embeddings.get_query_embedding(text) for text in texts[:3]],
    }


def litellm(url: str, texts: list[str]) -> dict[str, Any]:
    import litellm

    answer = litellm.embedding(f"openai/{MODEL}", input=texts, api_base=f"{url}/v1", api_key=KEY)
    return {"query": [each["embedding"] for each in answer.data]}


def haystack(url: str, texts: list[str]) -> dict[str, Any]:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    options: dict[str, Any] = {
        "api_key": Secret.from_token(KEY), "model": MODEL, "api_base_url": f"{url}/v1"
    }  # fmt: skip
    embedder = OpenAIDocumentEmbedder(batch_size=1000, progress_bar=False, **options)
    found = embedder.run([Document(content=text) for text in texts])["documents"]
    query = OpenAITextEmbedder(**options)
    return {
        "document": [each.embedding for each in found],
        "query": [query.run(text)["embedding"] for text in texts[:3]],
    }


def mteb(url: str, texts: list[str]) -> dict[str, Any]:
    import mteb
    from mteb.models.openai_wrappers import OpenAIAPIEncodeWrapper
    from torch.utils.data import DataLoader

    model = OpenAIAPIEncodeWrapper(url, MODEL, use_chat_template=False, modalities=["text"])
    batches: Any = DataLoader([{"text": text} for text in texts], batch_size=100)  # type: ignore[arg-type]
    found = model.encode(
        batches,
        task_metadata=mteb.get_task("SciFact").metadata,
        hf_split="test",
        hf_subset="default",
        show_progress_bar=False,
    )
    return {"document": [list(map(float, vector)) for vector in found]}


CLIENTS: dict[str, Callable[[str, list[str]], dict[str, Any]]] = {
    each.__name__: each for each in (openai, langchain, llamaindex, litellm, haystack, mteb)
}

if __name__ == "__main__":
    json.dump(CLIENTS[sys.argv[1]](sys.argv[2], json.load(sys.stdin)), sys.stdout)
