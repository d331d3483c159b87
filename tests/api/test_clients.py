"""Other people's clients and databases, as their users call them, against a real service.

They run in an environment of their own, which ``make clients`` makes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.clients import calls, databases, reranks
from tests.api.serving import DOCUMENTS, Service, serving
from tests.conftest import ROOT, ingest, write_jsonl
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.encoders.cross_encoder import load_cross_encoder, probabilities
from trimseek.encoders.weights import FloatArray
from trimseek.indexer.export import export_index

pytestmark = pytest.mark.clients

ENVIRONMENT = ROOT / ".venv-clients"
PYTHON = ENVIRONMENT / "bin" / "python"
SCRIPTS = Path(__file__).with_name("clients")
TEXTS = [f"text {i} on cats, dogs and the weather" for i in range(1000)]


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, tiny_cross_encoder: Path
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS), folder / "pets", "minilm-int8")
    with serving(folder / "pets", reranker=tiny_cross_encoder) as running:
        yield running


@pytest.fixture(scope="module")
def expected(minilm: Path) -> dict[str, FloatArray]:
    query = QueryEncoder(minilm).encode(TEXTS).vectors
    short = query[:, :64] / np.linalg.norm(query[:, :64], axis=1, keepdims=True)
    document = DocumentEncoder(minilm).encode(TEXTS).vectors
    every = dict.fromkeys(("query", "float", "null", "asynchronous"), query)
    return {**every, "short": short, "document": document}


def printed(command: Sequence[object], given: Any) -> Any:
    """What a script prints, which gets something as JSON."""
    done = subprocess.run(
        list(map(str, command)),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "NODE_PATH": str(ENVIRONMENT / "node_modules"),
            "HF_HUB_OFFLINE": "1",
            "HAYSTACK_TELEMETRY_ENABLED": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
    )
    sys.stderr.write(done.stderr)
    assert done.returncode == 0
    return json.loads(done.stdout)


@pytest.mark.parametrize("client", reranks.CLIENTS)
def test_a_client_reranks(client: str, service: Service, tiny_cross_encoder: Path) -> None:
    query, texts = "which animal purrs", [str(document["text"]) for document in DOCUMENTS]
    script = SCRIPTS / "reranks.py"
    found = printed([PYTHON, script, client, service.url], [query, *texts])
    scores = probabilities(load_cross_encoder(tiny_cross_encoder).scores(query, texts).scores)
    assert [index for index, _ in found] == np.argsort(-scores, kind="stable").tolist()
    assert [score for _, score in found] == pytest.approx(sorted(scores, reverse=True), abs=1e-6)


def test_databases_read_exported_passages(tmp_path: Path, tiny_encoder: Path) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    export_index(tmp_path / "pets", tmp_path / "p.parquet", passages=True)
    for document in DOCUMENTS:
        text = f"{document.get('title', '')} {document['text']}".strip()
        vector = DocumentEncoder(tiny_encoder).encode([text]).vectors[0].tolist()
        found = printed([PYTHON, SCRIPTS / "databases.py", tmp_path / "p.parquet"], vector)
        assert found == dict.fromkeys(databases.DATABASES, f"{document['_id']}#0")


@pytest.mark.parametrize("client", [*calls.CLIENTS, "javascript"])
def test_a_client_gets_the_encoders_vectors(
    client: str, service: Service, expected: dict[str, FloatArray]
) -> None:
    command: list[Any] = [PYTHON, SCRIPTS / "calls.py", client]
    if client == "javascript":
        command = [shutil.which("node") or "node", SCRIPTS / "calls.cjs"]
    found = printed([*command, service.url], TEXTS)
    compared = expected.keys() & found.keys()
    assert compared
    for name in compared:
        vectors = np.array(found[name], np.float32)
        np.testing.assert_allclose(vectors, expected[name][: len(vectors)], atol=1e-4)
        assert len(vectors) in (3, len(TEXTS))
    if "models" in found:
        assert (found["models"], found["model"]) == (["minilm-int8"], "minilm-int8")
        assert found["unknown"][0] == 404
        assert "minilm-int8" in found["unknown"][1]
        assert found["empty"][0] == 422
        assert found["tokens"][0] == 422
    if "tokens" in found:
        assert "check_embedding_ctx_length=False" in str(found["tokens"])
