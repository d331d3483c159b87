"""Runs in .venv-clients: ``python reranks.py CLIENT URL`` reranks as that client's users do.

Reads a query and texts as a JSON list from standard input; prints the order and the scores.
"""

import json
import sys
from typing import Any


def cohere(url: str, query: str, texts: list[str]) -> list[list[Any]]:
    import cohere

    client = cohere.ClientV2(api_key="none", base_url=url)
    answer = client.rerank(model="tiny", query=query, documents=texts, top_n=len(texts))
    return [[each.index, each.relevance_score] for each in answer.results]


def litellm(url: str, query: str, texts: list[str]) -> list[list[Any]]:
    import litellm

    answer: Any = litellm.rerank(
        model="cohere/tiny",
        query=query,
        documents=texts,
        top_n=len(texts),
        api_base=f"{url}/v1/rerank",
        api_key="none",
    )
    return [[each["index"], each["relevance_score"]] for each in answer.results]


def jina(url: str, query: str, texts: list[str]) -> list[list[Any]]:
    import litellm

    answer: Any = litellm.rerank(
        model="jina_ai/tiny",
        query=query,
        documents=texts,
        top_n=len(texts),
        return_documents=True,
        api_base=f"{url}/v1/rerank",
        api_key="none",
    )
    assert [each["document"]["text"] for each in answer.results]
    return [[each["index"], each["relevance_score"]] for each in answer.results]


CLIENTS = {"cohere": cohere, "litellm": litellm, "jina": jina}

if __name__ == "__main__":
    question, *passages = json.load(sys.stdin)
    print(json.dumps(CLIENTS[sys.argv[1]](sys.argv[2], question, passages)))
