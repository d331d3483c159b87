"""The page at /docs: every call, what it takes, and an example for the command line."""

import html
import json
from collections.abc import Iterator
from typing import Any

EXAMPLES = {
    "index": "python", "id": "random.choice", "task": "t1", "model": "minilm-int8",
    "q": "pick+a+random+element",
}  # fmt: skip


def documentation(openapi: dict[str, Any], root: str = "") -> str:
    """An HTML page of an OpenAPI document; nothing is loaded from anywhere but this service.

    ``root``: the path of a proxy, as the setting ``root_path``.
    """
    base = f"http://127.0.0.1:8080{root}"
    calls = "".join(section(openapi, base, *call) for call in calls_of(openapi))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>trimseek API</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="icon.svg">'
        '<link rel="stylesheet" href="page.css"></head>'
        '<body class="docs"><main><h1>trimseek API</h1>'
        '<p><a href="openapi.json">openapi.json</a> says the same to programs. With API keys, '
        "add <code>-H 'Authorization: Bearer KEY'</code>. Every failure is "
        '<code>{"error": {"type": ..., "message": ...}}</code>.</p>'
        f"{calls}</main></body></html>"
    )


def calls_of(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each call of an OpenAPI document."""
    for path, methods in openapi["paths"].items():
        for method, call in methods.items():
            yield method.upper(), path, call


def section(
    openapi: dict[str, Any], base: str, method: str, path: str, call: dict[str, Any]
) -> str:
    """One call: what it does, its statuses, and its example as curl."""
    statuses = " ".join(status for status in call["responses"] if status.startswith("2"))
    return (
        f"<section><h2><code>{method} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(call.get('description') or '')} ({statuses})</p>"
        f"<pre>{html.escape(curl(openapi, method, path, call, base))}</pre></section>"
    )


def curl(
    openapi: dict[str, Any],
    method: str,
    path: str,
    call: dict[str, Any],
    base: str,
) -> str:
    """One call for the command line, with the first example of its body."""
    query = [parameter for parameter in call.get("parameters", []) if parameter["in"] == "query"]
    needed = "&".join(
        f"{parameter['name']}={EXAMPLES[parameter['name']]}"
        for parameter in query
        if parameter.get("required")
    )
    for name, value in EXAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    words = ["curl -s"] + ([f"-X {method}"] if method not in ("GET", "POST") else [])
    words.append(f"'{base}{path}{'?' + needed if needed else ''}'")
    body = example_of(openapi, call)
    if body is not None:
        words.append(f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    return " ".join(words)


def example_of(openapi: dict[str, Any], call: dict[str, Any]) -> Any:
    """The first example of a call's body; None where it takes none."""
    if "requestBody" not in call:
        return None
    schema = call["requestBody"]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    return openapi["components"]["schemas"][name]["examples"][0]
