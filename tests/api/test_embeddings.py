"""/v1/embeddings and /v1/models, as OpenAI's clients use them."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimseek
from tests.api.serving import DOCUMENTS, Keys, Service, serving
from tests.conftest import ingest, write_jsonl
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.encoders.weights import FloatArray

URL = "/v1/embeddings"
TEXTS = ["a cat", "dogs"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Without keys, as someone who tries it has it."""
    folder = tmp_path_factory.mktemp("embeddings")
    corpus = write_jsonl(folder / "c.jsonl", DOCUMENTS)
    ingest(corpus, folder / "pets", "minilm-int8")
    trimseek.create_index(
        folder / "asked",
        DOCUMENTS,
        encoder="minilm-int8",
        query_prompt="query: ",
        document_prompt="passage: ",
    ).close()
    with serving(folder / "pets", folder / "asked") as running:
        yield running


@pytest.fixture(scope="module")
def expected(minilm: Path) -> FloatArray:
    return QueryEncoder(minilm).encode(TEXTS).vectors


def embed(service: Service, **fields: Any) -> FloatArray:
    answer = service.call("POST", URL, {"input": TEXTS, **fields})
    assert answer.status == 200, answer
    data = answer.json()["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    assert {each["object"] for each in data} == {"embedding"}
    return np.array([each["embedding"] for each in data], np.float32)


def test_the_answer_has_openais_shape(service: Service, expected: FloatArray) -> None:
    np.testing.assert_allclose(embed(service), expected, atol=1e-5)
    body = {"input": TEXTS, "encoding_format": "base64", "model": "minilm-int8", "user": "me"}
    answer = service.call("POST", URL, body).json()
    assert (answer["object"], answer["model"]) == ("list", "minilm-int8")
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    vectors = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in answer["data"]]
    np.testing.assert_allclose(np.array(vectors), expected, atol=1e-5)


def test_null_counts_as_left_out(service: Service, expected: FloatArray) -> None:
    nulls = dict.fromkeys(
        ("model", "encoding_format", "role", "input_type", "dimensions", "user"), None
    )
    np.testing.assert_allclose(embed(service, **nulls), expected, atol=1e-5)
    answer = service.call("POST", URL, {"input": None})
    assert answer.status == 422
    assert "input" in answer.json()["error"]["message"]


@pytest.mark.parametrize("dim", [1, 5, 383, 384])
def test_fewer_dimensions_are_of_unit_length_again(
    dim: int, service: Service, expected: FloatArray
) -> None:
    cut = expected[:, :dim] / np.linalg.norm(expected[:, :dim], axis=1, keepdims=True)
    np.testing.assert_allclose(embed(service, dimensions=dim), cut, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"role": "query"}, "query"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "search_query"}, "query"),
        ({"role": "document"}, "document"),
        ({"input_type": "document"}, "document"),
        ({"input_type": "search_document", "role": "document"}, "document"),
        ({"input_type": "passage"}, "document"),
    ],
)
def test_a_model_that_is_an_index_has_its_prompts(
    fields: dict[str, str], role: str, service: Service, minilm: Path
) -> None:
    prompt = {"query": "query: ", "document": "passage: "}[role]
    encoder = (QueryEncoder if role == "query" else DocumentEncoder)(minilm)
    vectors = encoder.encode([prompt + text for text in TEXTS]).vectors
    np.testing.assert_allclose(embed(service, model="asked", **fields), vectors, atol=1e-5)


@pytest.mark.parametrize("name", ["minilm", "minilm-int8", "pets"])
def test_names_of_a_model(name: str, service: Service) -> None:
    answer = service.call("POST", URL, {"input": "x", "model": name})
    assert (answer.status, answer.json()["model"]) == (200, "minilm-int8")


@pytest.mark.parametrize("name", ["", "gpt", "minilm-float32", "minilm-int4", "../pets", "mini"])
def test_an_unknown_model_is_named_with_those_there_are(name: str, service: Service) -> None:
    answer = service.call("POST", URL, {"input": "x", "model": name})
    assert answer.status == 404
    assert answer.json()["error"]["type"] == "unknown_model"
    assert "minilm-int8" in answer.json()["error"]["message"]


def test_models(service: Service) -> None:
    listed = service.call("GET", "/v1/models").json()
    assert listed["object"] == "list"
    [found] = listed["data"]
    assert (found["id"], found["object"], found["owned_by"]) == ("minilm-int8", "model", "trimseek")
    assert 1_600_000_000 < found["created"] < 10_000_000_000
    assert service.call("GET", "/v1/models/minilm-int8").json() == found
    missing = service.call("GET", "/v1/models/a/b")
    assert (missing.status, missing.json()["error"]["type"]) == (404, "unknown_model")


@pytest.mark.parametrize(
    "given", [[1, 2], [[1, 2], [3]], [[0]], [101, "a"]], ids=["one", "several", "short", "mixed"]
)
def test_token_numbers_are_refused_with_the_clients_option(
    given: list[Any], service: Service
) -> None:
    answer = service.call("POST", URL, {"input": given, "model": "minilm-int8"})
    assert answer.status == 422
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": []},
        {"input": " "},
        {"input": ["x", ""]},
        {"input": {}},
        {"input": [None]},
        {"input": [[]]},
        {"input": "x", "dimensions": 0},
        {"input": "x", "dimensions": 385},
        {"input": "x", "dimensions": 2.5},
        {"input": "x", "encoding_format": "int8"},
        {"input": "x", "role": "query", "input_type": "passage"},
        {"input": "x", "input_type": "poem"},
        {"input": "x", "inputs": "x"},
        {"input": ["\ud800"]},
        {"input": "x" * 2_000_000},
    ],
    ids=str,
)
def test_what_is_refused(wrong: dict[str, Any], service: Service) -> None:
    answer = service.call("POST", URL, wrong)
    assert answer.status == 422
    assert answer.json()["error"]["message"]


def test_searches_go_on_beside_thousands_of_texts(service: Service, minilm: Path) -> None:
    """2,048 texts are worked off in parts: a search is answered while they are."""
    texts = [f"{i} words about cats" for i in range(2048)]
    answers: list[Any] = []
    asker = threading.Thread(
        target=lambda: answers.append(service.call("POST", URL, {"input": texts}))
    )
    asker.start()
    searches = 0
    while asker.is_alive():
        found = service.call("POST", "/v1/indexes/pets/search", {"query": f"kitten {searches}"})
        assert found.status == 200
        searches += asker.is_alive()
    asker.join()
    assert searches >= 2
    data = answers[0].json()["data"]
    assert [each["index"] for each in data] == list(range(2048))
    some = [0, 1, 31, 32, 33, 1024, 2047]
    vectors = QueryEncoder(minilm).encode([texts[i] for i in some]).vectors
    np.testing.assert_allclose([data[i]["embedding"] for i in some], vectors, atol=1e-5)
    more = service.call("POST", URL, {"input": [*texts, "one more"]})
    assert more.status == 413
    assert "2048" in more.json()["error"]["message"]


def test_with_keys_reading_needs_one(tmp_path: Path, tiny_encoder: Path, keys: Keys) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    with serving(tmp_path / "pets", keys=keys.setting) as service:
        for method, url, body in (("POST", URL, {"input": "x"}), ("GET", "/v1/models", None)):
            assert service.call(method, url, body).status == 401
            assert service.call(method, url, body, keys.header("read")).status == 200


def test_without_an_index_there_is_no_model(tmp_path: Path) -> None:
    with serving("--data", tmp_path) as service:
        assert service.call("GET", "/v1/models").json()["data"] == []
        answer = service.call("POST", URL, {"input": "x", "model": "minilm"})
        assert answer.status in (404, 422)
        assert "no index" in answer.json()["error"]["message"]
