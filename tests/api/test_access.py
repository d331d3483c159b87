"""Who may do what: every route, with every kind of key."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.serving import Keys, Service, serving
from tests.conftest import Run
from trimseek.api.app import ENDPOINTS
from trimseek.api.keys import Role, find_key, new_key, parse_keys
from trimseek.api.rates import RateLimit, bucket_file
from trimseek.errors import ConfigError

# Method, path, the role that it takes, and a body that makes sense.
ROUTES: list[tuple[str, str, str, object]] = [
    ("GET", "/", "none", None),
    ("GET", "/page.js", "none", None),
    ("GET", "/page.css", "none", None),
    ("GET", "/icon.svg", "none", None),
    ("GET", "/docs", "none", None),
    ("GET", "/openapi.json", "none", None),
    ("GET", "/healthz", "none", None),
    ("GET", "/readyz", "none", None),
    ("GET", "/metrics", "read", None),
    ("GET", "/v1/indexes", "read", None),
    ("GET", "/v1/indexes/{index}", "read", None),
    ("PUT", "/v1/indexes/{index}", "admin", {}),
    ("DELETE", "/v1/indexes/{index}", "admin", None),
    ("POST", "/v1/indexes/{index}/search", "read", {"query": "x"}),
    ("GET", "/v1/indexes/{index}/search", "read", None),
    ("POST", "/v1/indexes/{index}/search/batch", "read", {"queries": [{"query": "x"}]}),
    ("POST", "/v1/indexes/{index}/compare", "read", {"query": "x"}),
    ("POST", "/v1/indexes/{index}/recommend", "read", {"like": ["e"]}),
    ("POST", "/v1/indexes/{index}/facets", "read", {"fields": ["n"]}),
    ("POST", "/v1/indexes/{index}/documents", "write", {"documents": [{"id": "q", "text": "q"}]}),
    ("POST", "/v1/indexes/{index}/documents/delete", "write", {"ids": ["q"]}),
    ("GET", "/v1/indexes/{index}/documents/{id:path}", "read", None),
    ("PATCH", "/v1/indexes/{index}/documents/{id:path}", "write", {"metadata": {"m": 1}}),
    ("DELETE", "/v1/indexes/{index}/documents/{id:path}", "write", None),
    ("POST", "/v1/indexes/{index}/tasks", "admin", {"kind": "snapshot"}),
    ("GET", "/v1/tasks", "read", None),
    ("GET", "/v1/tasks/{task}", "read", None),
    ("GET", "/v1/indexes/{index}/documents", "read", None),
    ("POST", "/v1/indexes/{index}/documents/list", "read", {}),
    ("POST", "/v1/indexes/{index}/documents/get", "read", {"ids": ["1"]}),
    ("POST", "/v1/indexes/{index}/documents/count", "read", {}),
    ("POST", "/v1/rerank", "read", {"query": "x", "texts": ["y"]}),
    ("POST", "/v2/rerank", "read", {"query": "x", "documents": ["y"]}),
    ("POST", "/rerank", "read", {"query": "x", "texts": ["y"]}),
    ("POST", "/v1/embeddings", "read", {"input": "x"}),
    ("GET", "/v1/models", "read", None),
    ("GET", "/v1/models/{model:path}", "read", None),
]
EXPIRED = new_key("old", Role.ADMIN, (datetime.now(UTC) - timedelta(days=2)).date())


@pytest.fixture(scope="module")
def service(pets: Path, keys: Keys) -> Iterator[Service]:
    setting = f"{keys.setting},{EXPIRED[1].line()}"
    with serving(pets, keys=setting, data=pets.parent / "data") as running:
        yield running


def test_every_route_is_in_the_table() -> None:
    table = {(method, path): role for method, path, role, _ in ROUTES}
    assert {(each.method, each.path): each.role.name.lower() for each in ENDPOINTS} == table


@pytest.mark.parametrize(("method", "path", "role", "body"), ROUTES)
def test_a_route_takes_its_role(
    method: str, path: str, role: str, body: object, service: Service, keys: Keys
) -> None:
    url = path.replace(":path}", "}").format(index="pets", task="t1", id="e", model="minilm")
    url += "?q=x" if path.endswith("/search") and method == "GET" else ""

    def status(headers: dict[str, str]) -> int:
        return service.call(method, url, body, headers).status

    order = ["none", "read", "write", "admin"]
    refused = [{}, {"Authorization": "Bearer ts_wrong"}, {"Authorization": f"Bearer {EXPIRED[0]}"}]
    refused += [{"Authorization": "Basic eDp5"}, {"X-API-Key": ""}]
    for headers in refused:
        assert (status(headers) == 401) == (role != "none"), headers
    for other in ("read", "write", "admin"):
        found = status(keys.header(other))
        if order.index(other) < order.index(role):
            assert found == 403
        else:
            assert found not in (401, 403)
    assert status({"X-API-Key": keys.admin}) not in (401, 403)


def test_a_key_in_the_url_is_refused(service: Service, keys: Keys) -> None:
    for name in ("key", "api_key", "access_token", "API_KEY"):
        answer = service.call("GET", f"/v1/indexes?{name}={keys.read}", headers=keys.header("read"))
        assert answer.status == 422
        assert keys.read not in answer.content.decode()


def test_what_a_refusal_says(service: Service) -> None:
    answer = service.call("GET", "/v1/indexes")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="trimseek"'
    assert answer.json()["error"]["type"] == "unauthorized"


def test_without_keys_everyone_reads_and_nobody_writes(pets: Path) -> None:
    with serving(pets) as service:
        assert service.get("/v1/indexes/pets/search?q=x")[0] == 200
        for method, path, role, body in ROUTES:
            if role in ("write", "admin"):
                url = path.replace("{id:path}", "e").format(index="pets")
                answer = service.call(method, url, body)
                assert answer.status == 401
                assert "trimseek key" in answer.json()["error"]["message"]


def test_a_key_has_its_rate(pets: Path, keys: Keys) -> None:
    with serving(pets, keys=keys.setting, rate_limit=0.001) as service:
        statuses = [
            service.call("GET", "/v1/indexes", headers=keys.header(name)).status
            for name in ("read", "read", "write")
        ]
        assert statuses == [200, 429, 200]


def test_a_bucket_fills_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("trimseek.api.rates.time.monotonic", lambda: now)
    limit = RateLimit(5, bucket_file(2))
    assert [limit.take(1) for _ in range(6)] == [True] * 5 + [False]
    assert limit.take(0)
    now += 0.3
    assert [limit.take(1) for _ in range(2)] == [True, False]
    now += 60
    assert [limit.take(1) for _ in range(6)] == [True] * 5 + [False]


def test_workers_share_a_keys_rate(pets: Path, keys: Keys) -> None:
    with serving(pets, "--workers", 3, keys=keys.setting, rate_limit=0.001) as service:
        header = keys.header("read")
        # a connection each, so that every worker gets some
        statuses = [service.call("GET", "/v1/indexes", headers=header).status for _ in range(30)]
        assert sorted(statuses) == [200] + [429] * 29


def test_keys_are_made_and_stored_hashed(run: Run) -> None:
    made = json.loads(
        run("key", "ann", "--role", "write", "--last-day", "2099-01-31", "--json").stdout
    )
    assert made["key"] not in made["line"]
    (stored,) = parse_keys([made["line"]], "file")
    assert (stored.name, stored.role.name) == ("ann", "WRITE")
    assert find_key([stored], made["key"]) == stored
    assert find_key([stored], made["key"] + "x") is None
    assert not stored.expired
    assert run("key", "a b").returncode == 2
    assert run("key", "a", "--role", "king").returncode == 2
    assert run("key", "a", "--last-day", "tomorrow").returncode == 2


@pytest.mark.parametrize(
    "line", ["ann", "ann:read", "ann:read:abc", "a b:read:" + "0" * 64, "a:king:" + "0" * 64,
             "a:read:" + "0" * 64 + ":soon"],
)  # fmt: skip
def test_a_line_that_is_no_key_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(ConfigError, match="keys.txt:2: ") as caught:
        parse_keys(["# mine", line], "keys.txt")
    assert "0" * 64 not in str(caught.value)


def test_a_service_without_keys_has_local_names_alone(pets: Path, keys: Keys) -> None:
    """A page elsewhere cannot read it under a name of its own."""
    with serving(pets) as service:
        for host, status in (
            ("127.0.0.1:80", 200), ("localhost", 200), ("[::1]:8080", 200),
            ("evil.example", 403), ("127.0.0.1.evil.example:8080", 403), ("", 403),
        ):  # fmt: skip
            assert service.call("GET", "/v1/indexes", headers={"Host": host}).status == status
    with serving(pets, hosts='["docs.example"]', keys=keys.setting) as service:
        read = keys.header("read")
        named = service.call("GET", "/v1/indexes", headers=read | {"Host": "docs.example:443"})
        assert named.status == 200
        assert service.call("GET", "/v1/indexes", headers=read).status == 403


def test_browsers_of_friends_may_ask_before_they_send_a_key(pets: Path, keys: Keys) -> None:
    with serving(
        pets, headers=keys.header("read"), keys=keys.setting, origins='["http://friend.example"]'
    ) as service:
        asked = {
            "Origin": "http://friend.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        answer = service.call("OPTIONS", "/v1/indexes/pets/search", headers=asked)
        assert answer.status == 200
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        stranger = asked | {"Origin": "http://evil.example"}
        assert service.call("OPTIONS", "/v1/indexes/pets/search", headers=stranger).status == 400
        refused = service.call("GET", "/v1/indexes", headers={"Origin": "http://friend.example"})
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == "http://friend.example"
