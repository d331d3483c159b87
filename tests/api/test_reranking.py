"""/v1/rerank in three shapes, and searches that are reranked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import DOCUMENTS, Service, serving
from tests.conftest import Run
from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder, probabilities

QUERY = "which animal purrs"
TEXTS = [str(document["text"]) for document in DOCUMENTS]


@pytest.fixture(scope="module")
def service(pets: Path, tiny_cross_encoder: Path) -> Iterator[Service]:
    with serving(pets, reranker=str(tiny_cross_encoder)) as running:
        yield running


@pytest.fixture(scope="module")
def encoder(tiny_cross_encoder: Path) -> CrossEncoder:
    return load_cross_encoder(tiny_cross_encoder)


@pytest.fixture(scope="module")
def order(encoder: CrossEncoder) -> list[int]:
    scores = encoder.scores(QUERY, TEXTS).scores.tolist()
    return sorted(range(len(TEXTS)), key=lambda i: -scores[i])


def test_the_answer_has_coheres_and_jinas_shape(
    service: Service, encoder: CrossEncoder, order: list[int]
) -> None:
    body = {"query": QUERY, "documents": TEXTS, "top_n": 2, "model": "tiny", "user": None}
    answer = service.call("POST", "/v1/rerank", body)
    assert answer.status == 200, answer
    content = answer.json()
    assert content["model"] == "tiny"
    assert content["id"]
    scored = encoder.scores(QUERY, TEXTS)
    tokens = scored.tokens
    assert content["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    shown = probabilities(scored.scores)
    assert content["results"] == [{"index": i, "relevance_score": shown[i]} for i in order[:2]]
    with_texts = service.call("POST", "/v2/rerank", body | {"return_documents": True}).json()
    assert [each["document"] for each in with_texts["results"]] == [
        {"text": TEXTS[i]} for i in order[:2]
    ]


def test_documents_may_be_objects(service: Service, order: list[int]) -> None:
    objects = [{"text": text, "id": i} for i, text in enumerate(TEXTS)]
    answer = service.call("POST", "/v1/rerank", {"query": QUERY, "documents": objects}).json()
    assert [each["index"] for each in answer["results"]] == order
    fields = [{"body": text} for text in TEXTS]
    body = {"query": QUERY, "documents": fields, "rank_fields": ["body"]}
    answer = service.call("POST", "/v1/rerank", body).json()
    assert [each["index"] for each in answer["results"]] == order


def test_the_answer_has_the_shape_of_text_embeddings_inference(
    service: Service, encoder: CrossEncoder, order: list[int]
) -> None:
    body = {"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True}
    for path in ("/rerank", "/v1/rerank"):
        answer = service.call("POST", path, body)
        assert answer.status == 200, answer
        scores = encoder.scores(QUERY, TEXTS).scores.tolist()
        assert answer.json() == [
            {"index": i, "score": pytest.approx(scores[i], abs=1e-6), "text": TEXTS[i]}
            for i in order
        ]


def test_many_texts_are_worked_off(service: Service, encoder: CrossEncoder) -> None:
    texts = [f"number {i} " * (i % 40 + 1) for i in range(150)]
    body = {"query": QUERY, "texts": texts, "raw_scores": True}
    answer = service.call("POST", "/v1/rerank", body).json()
    expected = encoder.scores(QUERY, texts).scores
    assert {each["index"]: each["score"] for each in answer} == pytest.approx(
        dict(enumerate(expected.tolist())), abs=1e-5
    )


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"documents": []}, 422, "at least one text"),
        ({}, 422, "as documents, or as texts"),
        ({"documents": ["a"], "texts": ["a"]}, 422, "one of the two"),
        ({"documents": ["a"], "query": " "}, 422, "the query is empty"),
        ({"documents": ["a"], "query": "x" * 100_001}, 422, "the most is"),
        ({"documents": ["a"], "model": "other"}, 404, "no model 'other'; there is tiny"),
        ({"documents": [{"title": "a"}]}, 422, "documents[0]: no text in text"),
        ({"documents": [{"text": 3}]}, 422, "documents[0]: no text in text"),
        ({"documents": ["a"], "top_n": 0}, 422, "top_n"),
        ({"documents": ["a"], "nonsense": 1}, 422, "nonsense"),
        ({"documents": ["\ud800"]}, 422, "not Unicode"),
        ({"texts": ["a"] * 2049}, 413, "the most is 2048"),
    ],
)
def test_bad_requests(fields: dict[str, Any], status: int, message: str, service: Service) -> None:
    answer = service.call("POST", "/v1/rerank", {"query": QUERY} | fields)
    assert answer.status == status, answer
    assert message in answer.json()["error"]["message"]


def search(service: Service, **fields: Any) -> Any:
    return service.call("POST", "/v1/indexes/pets/search", {"query": QUERY} | fields)


def test_a_search_is_reranked(service: Service, encoder: CrossEncoder) -> None:
    answer = search(service, rerank=True, rerank_depth=3, k=2).json()
    scores = [hit["sources"]["rerank"]["score"] for hit in answer["hits"]]
    texts = [f"{hit['title']} {hit['passage']['text']}".strip() for hit in answer["hits"]]
    assert scores == pytest.approx(encoder.scores(QUERY, texts).scores.tolist(), abs=1e-6)
    assert scores == sorted(scores, reverse=True)
    assert answer["timing_ms"]["rerank"] > 0
    by_url = service.call("GET", f"/v1/indexes/pets/search?q={QUERY.replace(' ', '+')}&rerank=true")
    assert "rerank" in by_url.json()["hits"][0]["sources"]
    batch = service.call(
        "POST", "/v1/indexes/pets/search/batch", {"queries": [{"query": QUERY, "rerank": True}]}
    ).json()
    assert "rerank" in batch["results"][0]["hits"][0]["sources"]
    deep = search(service, rerank=True, rerank_depth=300)
    assert deep.status == 422
    assert "rerank_depth is 300; the most is 200" in deep.json()["error"]["message"]


def test_the_list_of_indexes_says_what_reranks(service: Service) -> None:
    assert service.call("GET", "/v1/indexes").json()["reranker"] == "tiny"


def test_a_service_without_a_cross_encoder(pets: Path) -> None:
    with serving(pets) as plain:
        for answer in (
            search(plain, rerank=True),
            plain.call("POST", "/v1/rerank", {"query": QUERY, "documents": TEXTS}),
        ):
            assert answer.status == 422
            message = answer.json()["error"]["message"]
            assert message == "this service does not rerank; start it with --reranker MODEL"
        assert plain.call("GET", "/v1/indexes").json()["reranker"] is None


def test_one_that_is_none_ends_the_start(pets: Path, tiny_encoder: Path, run_process: Run) -> None:
    done = run_process("serve", pets, "--port", 0, "--reranker", tiny_encoder)
    assert done.returncode != 0
    assert "reranking takes a cross-encoder" in done.stderr
