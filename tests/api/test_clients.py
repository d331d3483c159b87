"""Other people's clients of /v1/embeddings, as their users call them, against a real service.

They run in an environment of their own, which ``make clients`` makes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.clients import calls
from tests.api.serving import DOCUMENTS, Service, serving
from tests.conftest import ROOT, ingest, write_jsonl
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.encoders.weights import FloatArray

pytestmark = pytest.mark.clients

ENVIRONMENT = ROOT / ".venv-clients"
SCRIPTS = Path(__file__).with_name("clients")
TEXTS = [f"text {i} on cats, dogs and the weather" for i in range(1000)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS), folder / "pets", "minilm-int8")
    with serving(folder / "pets") as running:
        yield running


@pytest.fixture(scope="module")
def expected(minilm: Path) -> dict[str, FloatArray]:
    query = QueryEncoder(minilm).encode(TEXTS).vectors
    short = query[:, :64] / np.linalg.norm(query[:, :64], axis=1, keepdims=True)
    document = DocumentEncoder(minilm).encode(TEXTS).vectors
    every = dict.fromkeys(("query", "float", "null", "asynchronous"), query)
    return {**every, "short": short, "document": document}


@pytest.mark.parametrize("client", [*calls.CLIENTS, "javascript"])
def test_a_client_gets_the_encoders_vectors(
    client: str, service: Service, expected: dict[str, FloatArray]
) -> None:
    command: list[Any] = [ENVIRONMENT / "bin" / "python", SCRIPTS / "calls.py", client]
    if client == "javascript":
        command = [shutil.which("node") or "node", SCRIPTS / "calls.cjs"]
    done = subprocess.run(
        [*command, service.url],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        timeout=300,
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
    found = json.loads(done.stdout)
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
