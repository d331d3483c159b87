"""Settings, logs, metrics, readiness, and how the service ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.serving import DOCUMENTS, Keys, serving
from tests.conftest import ROOT, Run, ingest, write_jsonl

DEPLOY = ROOT / "api" / "deploy"
SEARCH = "/v1/indexes/pets/search"


def test_flag_before_environment_before_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(
        'port = 1111\nqueue = 7\nlog = "json"\norigins = ["http://a"]\n'
    )
    shown = run(
        "config", "--config", "t.toml", TRIMSEEK_QUEUE="9", TRIMSEEK_KEYS="x:read:" + "0" * 64
    )
    lines = shown.stdout.splitlines()
    assert any(re.match(r"port = 1111  # t.toml", line) for line in lines), shown
    assert any(re.match(r"queue = 9  # TRIMSEEK_QUEUE", line) for line in lines)
    assert any(re.match(r'host = "127.0.0.1"  # default', line) for line in lines)
    assert "0" * 64 not in shown.stdout
    as_json = json.loads(run("config", "--json", TRIMSEEK_CONFIG="t.toml").stdout)
    assert as_json["origins"] == {"value": ["http://a"], "from": "t.toml"}
    (tmp_path / "again.toml").write_text(run("config", "--config", "t.toml").stdout)
    again = json.loads(run("config", "--config", "again.toml", "--json").stdout)
    assert {name: each["value"] for name, each in again.items()} == {
        name: each["value"] for name, each in as_json.items()
    }


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("porrt = 1", "t.toml: porrt: there is no such setting"),
        ("port = 'x'", "t.toml: port='x'"),
        ("port = ", "t.toml: not TOML"),
        ("queue = 0", "t.toml: queue=0"),
    ],
)
def test_a_wrong_file_is_one_line(toml: str, message: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(toml)
    done = run("config", "--config", "t.toml")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert run("config", "--config", "none.toml").returncode == 2
    assert "TRIMSEEK_PORT='x'" in run("config", TRIMSEEK_PORT="x").stderr


def test_a_request_is_one_line_without_what_was_asked(pets: Path, keys: Keys) -> None:
    with serving(pets, headers=keys.header("read"), keys=keys.setting, log="json") as service:
        service.call("GET", f"{SEARCH}?q=secret+thoughts", headers=keys.header("read"))
        answer = service.call(
            "POST", SEARCH, {"query": "secret"}, keys.header("read") | {"X-Request-ID": "mine-1"}
        )
        assert answer.headers["X-Request-ID"] == "mine-1"
        odd = service.call("GET", "/healthz", headers={"X-Request-ID": "a b" * 40})
        assert re.fullmatch(r"[0-9a-f]{16}", odd.headers["X-Request-ID"])
        log = service.end()
    rows = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    mine = next(row for row in rows if row["request"] == "mine-1")
    assert mine["route"] == "/v1/indexes/{index}/search"
    assert (mine["method"], mine["status"], mine["key"]) == ("POST", 200, "read")
    assert "secret" not in log
    assert keys.read not in log


def test_queries_are_logged_when_that_is_asked_for(pets: Path) -> None:
    with serving(pets, log="text", log_queries=1) as service:
        service.call("POST", SEARCH, {"query": "line\nbreak"})
        log = service.end()
    assert "query='line\\nbreak'" in log


def test_metrics_are_what_prometheus_reads(pets: Path) -> None:
    with serving(pets) as service:
        for _ in range(5):
            service.call("POST", SEARCH, {"query": "cat"})
        for i in range(20):
            service.call("GET", f"/nothing/{i}")
            service.call("GET", f"/v1/indexes/none{i}/search?q=x")
        answer = service.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = {each.name: each for each in text_string_to_metric_families(answer.content.decode())}
    for name in ("trimseek_search_seconds", "trimseek_queue", "trimseek_batch_queries",
                 "trimseek_index_generation", "process_resident_memory_bytes"):  # fmt: skip
        assert families[name].samples
    encoded = [s for s in families["trimseek_search_seconds"].samples if s.name.endswith("_count")]
    assert {s.labels["phase"]: s.value for s in encoded} == {"encode": 5, "search": 5, "total": 5}
    routes = {s.labels["route"] for s in families["trimseek_requests"].samples}
    assert routes <= {SEARCH.replace("pets", "{index}"), "unknown", "/readyz"}
    documents = families["trimseek_index_documents"].samples
    assert [(s.labels["index"], s.value) for s in documents] == [("pets", 3)]


def test_headers_keep_browsers_careful(pets: Path) -> None:
    with serving(pets, origins='["http://friend.example"]') as service:
        page = service.call("GET", "/")
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        answer = service.call("GET", "/v1/indexes", headers={"Origin": "http://friend.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "http://friend.example"
        assert answer.headers["Cache-Control"] == "no-store"
        stranger = service.call("GET", "/v1/indexes", headers={"Origin": "http://evil.example"})
        assert stranger.headers["Access-Control-Allow-Origin"] is None
        assert stranger.headers["X-Content-Type-Options"] == "nosniff"
        assert stranger.headers["Server"] is None
    with serving(pets) as service:
        plain = service.call("GET", "/v1/indexes", headers={"Origin": "http://friend.example"})
        assert plain.headers["Access-Control-Allow-Origin"] is None


def test_not_ready_first_then_drained(pets: Path) -> None:
    with serving(pets, notice=60) as service:
        service.process.terminate()
        while service.call("GET", "/readyz").status != 503:
            time.sleep(0.01)
        assert service.call("POST", SEARCH, {"query": "cat"}).status == 200
        service.process.terminate()  # a second signal ends the notice
        assert service.process.wait(30) == 0


def test_the_notice_ends(pets: Path) -> None:
    with serving(pets, notice=0.2) as service:
        service.process.terminate()
        assert service.process.wait(30) == 0


def test_sigterm_under_load_loses_nothing(pets: Path) -> None:
    """Every request whose connection was taken is answered."""
    with serving(pets) as service:
        statuses: list[int] = []
        refused = threading.Event()

        def ask() -> None:
            while not refused.is_set():
                try:
                    statuses.append(service.call("POST", SEARCH, {"query": "cat"}).status)
                except ConnectionError:  # nobody listens; or in the backlog of who did
                    refused.set()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(statuses) <= 20:
            time.sleep(0.01)
        os.kill(service.process.pid, signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert service.process.wait(30) == 0
    assert set(statuses) == {200}


def test_an_index_that_is_replaced_is_opened_anew(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", DOCUMENTS)
    ingest(corpus, tmp_path / "pets", tiny_encoder)
    assert run("backup", "pets", "-o", "copy").returncode == 0
    with serving(tmp_path / "pets") as service:
        new = write_jsonl(tmp_path / "n.jsonl", [{"_id": "new", "text": "more"}])
        ingest(new, tmp_path / "pets", tiny_encoder)
        assert service.call("GET", "/v1/indexes/pets").json()["documents"] == 4
        assert run("restore", "copy", "--into", "pets", "--yes").returncode == 0
        hits = service.call("POST", SEARCH, {"query": "more"}).json()["hits"]
        assert sorted(hit["id"] for hit in hits) == ["a/b", "c d", "e"]


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    unit = (
        (DEPLOY / "trimseek.service").read_text().replace("/opt/trimseek/bin/trimseek", "/bin/true")
    )
    (tmp_path / "trimseek.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "trimseek.service"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "trimseek.service" in line]
    assert complaints == []


def test_the_dockerfile_copies_what_there_is() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    sources = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(sources)
    assert any(line.startswith("USER") for line in lines)
