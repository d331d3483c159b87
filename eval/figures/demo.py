"""``make demo``: the whole job on real text, with the commands that a user would type.

python -m trimseek.eval.figures demo [FOLDER]
"""

import json
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from trimseek.eval.figures.service import TRIMSEEK, get, service
from trimseek.eval.quality.collection import JUDGED_QUESTIONS, read_collection
from trimseek.indexer.corpus import SAMPLE

FOLDER = Path("demo-index")
MEASURED = Path("demo-questions")
KEPT = 3  # of the documents that answer no question, one in so many is measured on
QUESTIONS = (
    "split a shell command into words",
    "count how often each element occurs",
    "limit how long an awaitable may take",
    "find close matches for a misspelled word",
    "temporary folder removed at the end",
)
HITS = 3  # shown of each search


def main(arguments: Sequence[str]) -> int:
    """Fetch the model, index, search over HTTP, and measure."""
    folder = Path(arguments[0]) if arguments else FOLDER
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # in order with what commands print
    began = time.monotonic()
    run("pull", "minilm")
    run("index", SAMPLE, "--into", str(folder))
    print(f"\n$ trimseek serve {folder}")
    with service(folder) as running:
        for question in QUESTIONS:
            ask(f"{running.url}/v1/indexes/{folder.name}/search", question)
    write_part_of_sample(MEASURED)
    run("bench", str(MEASURED))
    print(f"\nDone in {time.monotonic() - began:.0f} s. Now try:")
    print(f'  .venv/bin/trimseek search {folder} "your own question"')
    print("  make serve, and: curl '127.0.0.1:8080/v1/indexes/demo-index/search?q=your+question'")
    print("  .venv/bin/trimseek index YOUR.jsonl --into your-index")
    return 0


def write_part_of_sample(folder: Path) -> None:
    """Write a BEIR folder that two encoders embed within a minute or two on any CPU.

    It has the sample's judged questions, what answers them, and a part of the other documents.
    """
    sample = read_collection(SAMPLE)
    judged = {id_ for grades in sample.qrels.values() for id_ in grades}
    shutil.copytree(JUDGED_QUESTIONS / "python", folder, dirs_exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number, (id_, text) in enumerate(sample.documents.items()):
            if id_ in judged or number % KEPT == 0:
                file.write(json.dumps({"_id": id_, "text": text}) + "\n")
    print(
        f"\n{folder}: the questions of {SAMPLE}, what answers them, and one in {KEPT} of the rest"
    )


def run(*words: str) -> None:
    """Print a trimseek command as it is typed, and run it; SystemExit if it fails."""
    print(f"\n$ trimseek {' '.join(words)}")
    status = subprocess.run([*TRIMSEEK, *words], check=False).returncode
    if status != 0:
        raise SystemExit(status)


def ask(url: str, question: str) -> None:
    """Search over HTTP and print the hits."""
    answer = get(f"{url}?{urllib.parse.urlencode({'q': question, 'k': HITS})}")
    timing = answer["timing_ms"]
    print(f"\n  {question}?   ({timing['total']:.1f} ms: ", end="")
    print(f"encode {timing['encode']:.1f}, search {timing['search']:.1f})")
    for hit in answer["hits"]:
        passage = textwrap.shorten(hit["passage"]["text"], 68)
        print(f"    {hit['score']:.3f}  {hit['id']}\n           {passage}")
