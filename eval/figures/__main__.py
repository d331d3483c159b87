"""Measure what the documentation publishes: python -m trimseek.eval.figures NAME [ARGUMENT ...]."""

import importlib
import sys

from trimseek.console import note
from trimseek.errors import TrimseekError

# name of a module -> the arguments of its ``main``; docs/results.md says which files each writes
FIGURES = {
    "demo": "[FOLDER]",
    "docs": "",
    "encoding": "QUESTIONS.jsonl.gz",
    "ledger": "[--write | COLLECTION ...]",
    "modes": "COLLECTION ...",
    "over_http": "INDEX QUESTIONS.jsonl.gz",
    "pairs": "COLLECTION ...",
    "paraphrase": "FOLDER",
    "requests": "INDEX QUESTIONS.jsonl.gz [TRIMSEEK OTHER_INDEX]",
    "reranking": "[--model MODEL COLLECTION ...]",
    "scale": "TEXTS.jsonl.gz QUESTIONS.jsonl.gz",
    "shrinking": "COLLECTION ... [--only TEXT ...]",
    "soak": "[--minutes N] [--encoder NAME]",
    "startup": "INDEX",
}


def main(arguments: list[str]) -> int:
    """Run the module that the first word names; returns the exit status."""
    if not arguments or arguments[0] not in FIGURES:
        note("python -m trimseek.eval.figures, and one of:")
        for name, usage in FIGURES.items():
            note(f"  {name} {usage}")
        return 2
    module = importlib.import_module(f"trimseek.eval.figures.{arguments[0]}")
    try:
        return module.main(arguments[1:]) or 0
    except TrimseekError as error:
        note(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
