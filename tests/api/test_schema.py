"""The OpenAPI document, and whether the service keeps to it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.serving import DOCUMENTS, make_keys, serving
from tests.conftest import ingest, write_jsonl
from trimseek.api.schemas import SearchAnswer

SECONDS = 60
EXAMPLES = 15
# Many documents are put at once, some of which may fail: what was "created" need not be there.
# What a filter, a name or a text may be is more than a schema can say.
LEFT_OUT = "ensure_resource_availability,positive_data_acceptance"


def test_every_call_says_all_that_can_happen(pets: Path) -> None:
    with serving(pets) as service:
        openapi = service.call("GET", "/openapi.json").json()
        found = service.call("POST", "/v1/indexes/pets/search", {"query": "cat"}).json()
    assert SearchAnswer.model_validate(found, strict=True).model_dump(exclude_unset=True) == found
    for path, methods in openapi["paths"].items():
        for method, call in methods.items():
            said = call["responses"].keys()
            assert {"401", "403", "404", "405", "413", "422", "429", "503"} <= said, path
            assert any(status.startswith("2") for status in said)
            assert call["description"], path
            if "requestBody" in call:
                name = call["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                schema = openapi["components"]["schemas"][name.rpartition("/")[2]]
                assert schema["examples"], (method, path)


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Examples, coverage, fuzzing and sequences of calls that follow from one another."""
    keys = make_keys()
    corpus = write_jsonl(tmp_path / "c.jsonl", DOCUMENTS)
    ingest(corpus, tmp_path / "data" / "pets", "minilm-swift")
    program = Path(sys.executable).with_name("schemathesis")
    with serving(
        data=tmp_path / "data", headers=keys.header("admin"), keys=keys.setting
    ) as service:
        done = subprocess.run(
            [
                program, "run", f"{service.url}/openapi.json",
                "-H", f"Authorization: Bearer {keys.admin}", "--continue-on-failure", "--no-color",
                "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS),
                "--exclude-checks", LEFT_OUT,
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Stateful" in done.stdout
