"""What the package's encoders are trained on is read from files of several kinds."""

from pathlib import Path

import pytest

from tests.conftest import shared
from trimseek.encoders.shrink.texts import (
    sample_docstrings,
    sample_manuals,
    sample_terms,
    training_texts,
)

ONTOLOGY = """[Term]
id: HP:0000003
name: Multicystic kidney dysplasia
def: "Characterized by \\"multiple\\" cysts." [https://orcid.org/0]
comment: no text
synonym: "Multicystic kidneys" EXACT []
is_a: HP:0000107 ! Renal cyst
"""
SOURCE = '''
class Shell:
    """Splits words as a shell does. More of it."""

    def run(self):
        """Run."""

    async def _wait(self):
        """Wait until the
        shell ends.

        Returns nothing.
        """
'''


def test_names_synonyms_and_definitions_of_an_ontology(tmp_path: Path) -> None:
    path = tmp_path / "terms.obo"
    path.write_text(ONTOLOGY)
    assert sorted(sample_terms(path, 10)) == [
        'Characterized by \\"multiple\\" cysts.',
        "Multicystic kidney dysplasia",
        "Multicystic kidneys",
    ]
    assert len(sample_terms(path, 2)) == 2


def test_first_sentences_of_docstrings(tmp_path: Path) -> None:
    (tmp_path / "shell.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "binary.py").write_bytes(b"\0\xff")
    assert sorted(sample_docstrings(tmp_path, 10)) == [
        "Shell Splits words as a shell does.",
        "Splits words as a shell does.",
        "Wait until the shell ends.",
        "wait Wait until the shell ends.",
    ]


def test_headings_and_sentences_of_manuals(tmp_path: Path) -> None:
    (tmp_path / "shell.rst").write_text(
        "Splitting words\n===============\n\nUse :func:`shlex.split`, as the *shell* does. It "
        "keeps\nquoted ``words`` together.\n\n.. note::\n\n    Not on Windows.\n\n"
        "- an item of a list\n\n>>> shlex.split\n"
    )
    (tmp_path / "read.md").write_text("# Read this\n\nSee [the manual](manual.html) for more.\n")
    (tmp_path / "data.bin").write_bytes(b"Not a manual of anything.")
    found = sample_manuals(tmp_path, 100)
    sentences = {
        "Splitting words",
        "Use shlex.split, as the shell does.",
        "It keeps quoted words together.",
        "Read this",
        "See the manual for more.",
    }
    assert sentences <= set(found)
    runs = set(found) - sentences
    assert runs
    assert all(any(run in each for each in sentences) for run in runs)
    assert len(sample_manuals(tmp_path, 2)) == 2


@pytest.mark.slow
def test_the_script_reads_its_texts() -> None:
    texts = training_texts(shared("text"))
    assert len(texts) == len(set(texts)) > 400_000
