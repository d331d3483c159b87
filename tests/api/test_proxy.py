"""Behind a proxy that serves it under a path of its own."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.api.serving import DOCUMENTS, Service, serving
from tests.api.test_page import chromium
from tests.conftest import ingest, write_jsonl
from trimseek.api.settings import ServiceSettings
from trimseek.errors import ConfigError
from trimseek.settings import make_settings

ROOT = "/tools/ts"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    base = tmp_path_factory.mktemp("proxy")
    ingest(write_jsonl(base / "c.jsonl", DOCUMENTS), base / "pets", tiny_encoder)
    return base / "pets"


@contextmanager
def proxied(service: Service, *, strips: bool) -> Iterator[str]:
    """The address of a proxy in front of a service; nothing but its path is passed on."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            if not (self.path + "/").startswith(f"{ROOT}/"):
                self.send_error(404)
                return
            path = self.path.removeprefix(ROOT) if strips else self.path
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name != "Host"}
            connection = http.client.HTTPConnection(service.host, service.port, timeout=30)
            with closing(connection) as upstream, suppress(ConnectionError):  # of a page left early
                upstream.request(self.command, path or "/", body or None, kept)
                answer = upstream.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_HEAD = pass_on  # noqa: N815 - as http.server calls them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{ROOT}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("strips", "setting"), [(True, ""), (True, ROOT), (False, ROOT)], ids=["bare", "told", "whole"]
)
def test_the_page_works_behind_a_proxy(strips: bool, setting: str, folder: Path) -> None:
    with (
        serving(folder, root_path=setting) as service,
        proxied(service, strips=strips) as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        mistakes: list[str] = []
        page.on("response", lambda got: mistakes.append(got.url) if got.status >= 400 else None)
        page.goto(f"{url}/")
        expect(page.locator("#admin")).to_contain_text("documents 3")
        page.fill("#query", "kitten")
        expect(page.locator("#status")).to_contain_text(" ms")
        expect(page.locator(".hit").first).to_be_visible()
        page.get_by_role("link", name="API").click()
        expect(page.locator("h1")).to_have_text("trimseek API")
        assert page.url == f"{url}/docs"
        page.goto(f"{url}/docs/")  # a slash too many does not lead out of the proxy's path
        expect(page.locator("h1")).to_have_text("trimseek API")
        assert page.url == f"{url}/docs"
        assert mistakes == []
        page.get_by_role("link", name="openapi.json").click()
        assert json.loads(page.locator("body").inner_text())["openapi"]
        browser.close()


def test_the_root_path(folder: Path) -> None:
    with serving(folder, root_path=ROOT) as service:
        for prefix in ("", ROOT):
            assert service.call("GET", f"{prefix}/v1/indexes").status == 200
            body = {"query": "kitten"}
            assert service.call("POST", f"{prefix}/v1/indexes/pets/search", body).status == 200
        moved = service.call("GET", f"{ROOT}?a=1")
        assert (moved.status, moved.headers["Location"]) == (308, "ts/?a=1")
        assert service.call("GET", f"{ROOT}x/v1/indexes").status == 404
        document = service.call("GET", "/openapi.json").json()
        assert document["servers"] == [{"url": ROOT}]
        assert f"{ROOT}/v1/indexes" in service.call("GET", "/docs").content.decode()


@pytest.mark.parametrize("wrong", ["ts", "/ts/", "/", "/a b", "//ts", "/<x>"])
def test_a_wrong_root_path_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="a path as /search"):
        make_settings(ServiceSettings, root_path=wrong)
