"""A service of our own: a real process on a real port."""

import http.client
import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from trimseek.api.keys import Role, new_key
from trimseek.child import module_command

DOCUMENTS: list[dict[str, object]] = [
    {"_id": "a/b", "title": "Path", "text": "an id with a slash", "n": 1},
    {"_id": "c d", "text": "an id with a space"},
    {"_id": "e", "text": "the kitten sleeps", "tags": ["x", "y"]},
]
Headers = Mapping[str, str]


class Keys(NamedTuple):
    """Secrets by role, and the setting that lets them in."""

    read: str
    write: str
    admin: str
    setting: str

    def header(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {getattr(self, role)}"}


def make_keys() -> Keys:
    roles = (Role.READ, Role.WRITE, Role.ADMIN)
    read, write, admin = (new_key(role.name.lower(), role) for role in roles)
    setting = ",".join(key.line() for _, key in (read, write, admin))
    return Keys(read[0], write[0], admin[0], setting)


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Service(NamedTuple):
    host: str
    port: int
    process: subprocess.Popen[str]
    headers: Headers

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Headers | None = None,
    ) -> Answer:
        """``body``: bytes as they are, anything else as JSON."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        own = self.headers if headers is None else headers
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, content, {**kind, **own})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        answer = self.call(method, path, body, {**self.headers, "Content-Type": kind})
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status, answer.json()

    def end(self) -> str:
        """End it as systemd would; its log."""
        self.process.terminate()
        assert self.process.stderr is not None
        log = self.process.stderr.read()
        self.process.wait()
        return log

    def get(self, path: str) -> tuple[int, Any]:
        return self.send("GET", path)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        return self.send("POST", path, json.dumps(body).encode())


@contextmanager
def serving(
    *words: object,
    headers: Headers | None = None,
    command: object = None,
    **settings: object,
) -> Iterator[Service]:
    """``words``: folders and options; ``settings``: of the environment, as TRIMSEEK_<name>.

    ``command``: a ``trimseek`` other than that of the tests.
    """
    environment = {f"TRIMSEEK_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [
            *(module_command("trimseek") if command is None else [str(command)]),
            *("serve", *map(str, words), "--port", "0"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TRIMSEEK_LOG": "off"} | environment,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    try:
        while not line.startswith("serving ") and line:
            line = process.stderr.readline()
        url = urllib.parse.urlsplit(line.split(" at ")[1].split()[0])
        service = Service(str(url.hostname), int(url.port or 0), process, headers or {})
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError):
                if service.call("GET", "/readyz").status != 503:
                    break
            time.sleep(0.02)
        yield service
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def eventually(service: Service, task: str) -> dict[str, Any]:
    """A task when it is over."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found: dict[str, Any] = service.call("GET", f"/v1/tasks/{task}").json()
        if found["state"] in ("done", "failed"):
            return found
        time.sleep(0.02)
    raise AssertionError(f"task {task} does not end")
