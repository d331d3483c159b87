"""``make demo``: the whole job on real text, with the commands that a user would type.

python -m eval.demo [FOLDER]
"""

import json
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path("demo-index")
QUESTIONS = (
    "split a shell command into words",
    "count how often each element occurs",
    "limit how long an awaitable may take",
    "find close matches for a misspelled word",
    "temporary folder removed at the end",
)
HITS = 3
STARTED = "serving"
TRIMSEEK = [sys.executable, "-m", "trimseek"]


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    began = time.monotonic()
    run("pull", "minilm")
    run("index", "sample:python", "--into", str(folder))
    with service(folder) as url:
        for question in QUESTIONS:
            ask(f"{url}/v1/indexes/{folder.name}/search", question)
    run("bench", "sample:python")
    print(f"\nDone in {time.monotonic() - began:.0f} s. Now try:")
    print(f'  .venv/bin/trimseek search {folder} "your own question"')
    print("  make serve        and open http://127.0.0.1:8080/docs")
    print("  .venv/bin/trimseek index YOUR.jsonl --into your-index")
    return 0


def run(*words: str) -> None:
    """Run a trimseek command, shown as it would be typed."""
    print(f"\n$ trimseek {' '.join(words)}", flush=True)
    subprocess.run([*TRIMSEEK, *words], check=True)  # noqa: S603 - our own command


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """``trimseek serve`` on a free port while the block runs; its URL."""
    print(f"\n$ trimseek serve {folder} --port 0", flush=True)
    server = subprocess.Popen(  # noqa: S603 - our own command
        [*TRIMSEEK, "serve", str(folder), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None  # noqa: S101 - opened as a pipe
        line = next((line for line in server.stderr if line.startswith(STARTED)), None)
        if line is None:
            raise SystemExit("the service did not start")
        url = line.split(" at ")[1].split()[0]
        wait_until_ready(url)
        yield url
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(url: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            get(f"{url}/readyz")
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def ask(url: str, question: str) -> None:
    """Search over HTTP and print the hits."""
    answer = get(f"{url}?{urllib.parse.urlencode({'q': question, 'k': HITS})}")
    timing = answer["timing_ms"]
    print(f"\n  {question}?   ({timing['total']:.1f} ms: ", end="")
    print(f"encode {timing['encode']:.1f}, search {timing['search']:.1f})")
    for hit in answer["hits"]:
        passage = textwrap.shorten(hit["passage"]["text"], 68)
        print(f"    {hit['score']:.3f}  {hit['id']}\n           {passage}")


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own service
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main())
