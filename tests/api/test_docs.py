"""Every call that /docs shows, done as it is shown."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Keys, make_keys, serving
from trimseek.api.docs import calls_of, curl


def order(call: tuple[str, str, dict[str, Any]]) -> tuple[bool, ...]:
    """An index is made first and dropped last; a document is deleted after the others."""
    method, path, _ = call
    dropped = (method, path) == ("DELETE", "/v1/indexes/{index}")
    deleted = method == "DELETE" or path.endswith("/delete")
    return dropped, deleted, method != "PUT", not path.endswith("/documents")


def test_every_example_is_answered(tmp_path: Path, tiny_cross_encoder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    keys: Keys = make_keys()
    admin = keys.header("admin")
    settings = {"data": tmp_path / "data", "keys": keys.setting, "reranker": tiny_cross_encoder}
    with serving(headers=admin, **settings) as service:
        openapi = service.call("GET", "/openapi.json").json()
        calls = sorted(calls_of(openapi), key=order)
        assert len(calls) > 20
        said = {}
        for method, path, call in calls:
            if path.endswith("documents") and method == "POST":
                new = {"documents": [{"id": "random.choice", "text": "pick a random element"}]}
                service.call("POST", "/v1/indexes/python/documents", new)
            example = curl(openapi, method, path, call, base=service.url)
            words = [*shlex.split(example), "-o", "/dev/null", "-w", "%{http_code}"]
            words += ["-H", f"Authorization: {admin['Authorization']}"]
            said[method, path] = subprocess.run(
                words, capture_output=True, text=True, check=True
            ).stdout
        # a comparison opens other encoders, a task may be over before it is asked for
        wrong = {call: status for call, status in said.items() if not status.startswith("2")}
        assert wrong == {}
        shown = service.call("GET", "/docs").content.decode()
        assert all(path in shown for _, path, _ in calls)
        assert "http://127.0.0.1:8080" in shown
        assert "cdn" not in shown
