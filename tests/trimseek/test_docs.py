"""The documentation does what it says: its examples run, its command reference is the commands'."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.trimseek.test_architecture import MODULES
from trimseek.reference import reference

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
# Those that need a service, another library or minutes say so in a comment before them.
EXAMPLE = re.compile(r"(<!-- not run[^>]*-->\n)?```python\n(.*?)```", re.DOTALL)
EXAMPLES = [
    pytest.param(match[2], id=f"{page.name}-{number}")
    for page in PAGES
    for number, match in enumerate(EXAMPLE.finditer(page.read_text("utf-8")))
    if match[1] is None
]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^(?:\$ |\.venv/bin/)?trimseek ([a-z-]+(?: [a-z]+)?)", re.MULTILINE)


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_python_example_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_readme_and_python_page_have_examples() -> None:
    names = {str(example.id).partition("-")[0] for example in EXAMPLES}
    assert {"README.md", "python.md"} <= names


def test_the_command_reference_is_that_of_the_commands() -> None:
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == reference() + "\n"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_pages_are_there(page: Path) -> None:
    from trimseek.command_table import COMMANDS

    words = COMMAND.findall(page.read_text("utf-8"))
    assert [
        each for each in words if each not in COMMANDS and each.split()[0] not in COMMANDS
    ] == []


def test_each_module_has_its_test_or_is_in_the_table_of_contributing() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| modules | tests |")[2]
    patterns: list[str] = []
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        modules, tests = line.strip("|").split("|")
        patterns += re.findall(r"`([^`]+)`", modules)
        for test in re.findall(r"`(tests/[^`]+)`", tests):
            assert (ROOT / test).is_file(), test
    for pattern in patterns:
        assert list(ROOT.glob(pattern)), f"{pattern}: no such module"
    named = {path for pattern in patterns for path in ROOT.glob(pattern)}
    for path in MODULES.values():
        test = ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")
        assert path.name == "__init__.py" or test.is_file() or path in named, path
