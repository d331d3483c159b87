"""Write the README's measured tables from eval/results/readme.json, between their markers.

python -m eval.readme
"""

import re
from pathlib import Path

from eval.report import markdown
from eval.results import from_json

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "eval" / "results" / "readme.json"
MARKED = re.compile(r"(<!-- measured -->\n).*?(<!-- /measured -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """A README's text with the tables as the results have them."""
    return MARKED.sub(lambda found: f"{found[1]}{markdown(from_json(RESULTS))}{found[2]}", text)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
