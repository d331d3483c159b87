"""Write what was measured into the README, between its markers, from eval/results.

python -m eval.readme
"""

import json
import re
from pathlib import Path

from eval.report import markdown
from eval.results import from_json
from eval.startup import Startup

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "eval" / "results" / "readme.json"
STARTUP = ROOT / "eval" / "results" / "startup.json"


def with_results(text: str) -> str:
    """A README's text with the numbers as the results have them."""
    text = between(text, "measured", markdown(from_json(RESULTS)))
    return between(text, "startup", startup_sentence(read_startup()))


def between(text: str, marker: str, content: str) -> str:
    marked = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{content}{found[2]}", text)


def read_startup() -> Startup:
    return Startup(**json.loads(STARTUP.read_text("utf-8")))


def startup_sentence(found: Startup) -> str:
    return (
        f"`trimseek serve` on an index of {found.documents:,} documents is ready "
        f"{found.ready_seconds:.1f} s after its start and holds {found.resident_mb:.0f} MB; "
        f"`trimseek --help` takes {found.help_seconds:.2f} s (`python -m eval.startup INDEX`).\n"
    )


if __name__ == "__main__":
    README.write_text(with_results(README.read_text("utf-8")), "utf-8")
