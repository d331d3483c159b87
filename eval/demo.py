"""``make demo``: the whole job on real text, with the commands that a user would type.

python -m eval.demo [FOLDER]
"""

import subprocess
import sys
import textwrap
import time
import urllib.parse
from pathlib import Path

from eval.service import TRIMSEEK, get, service

FOLDER = Path("demo-index")
QUESTIONS = (
    "split a shell command into words",
    "count how often each element occurs",
    "limit how long an awaitable may take",
    "find close matches for a misspelled word",
    "temporary folder removed at the end",
)
HITS = 3


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # in step with commands
    began = time.monotonic()
    run("pull", "minilm")
    run("index", "sample:python", "--into", str(folder))
    print(f"\n$ trimseek serve {folder}")
    with service(folder) as running:
        for question in QUESTIONS:
            ask(f"{running.url}/v1/indexes/{folder.name}/search", question)
    run("bench", "sample:python")
    print(f"\nDone in {time.monotonic() - began:.0f} s. Now try:")
    print(f'  .venv/bin/trimseek search {folder} "your own question"')
    print("  make serve, and: curl '127.0.0.1:8080/v1/indexes/demo-index/search?q=your+question'")
    print("  .venv/bin/trimseek index YOUR.jsonl --into your-index")
    return 0


def run(*words: str) -> None:
    """Run a trimseek command, shown as it would be typed."""
    print(f"\n$ trimseek {' '.join(words)}")
    done = subprocess.run([*TRIMSEEK, *words], check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise SystemExit(done.returncode)


def ask(url: str, question: str) -> None:
    """Search over HTTP and print the hits."""
    answer = get(f"{url}?{urllib.parse.urlencode({'q': question, 'k': HITS})}")
    timing = answer["timing_ms"]
    print(f"\n  {question}?   ({timing['total']:.1f} ms: ", end="")
    print(f"encode {timing['encode']:.1f}, search {timing['search']:.1f})")
    for hit in answer["hits"]:
        passage = textwrap.shorten(hit["passage"]["text"], 68)
        print(f"    {hit['score']:.3f}  {hit['id']}\n           {passage}")


if __name__ == "__main__":
    sys.exit(main())
