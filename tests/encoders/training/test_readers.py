"""Readers of the files that training texts come from, each on a small file of its kind."""

import gzip
from pathlib import Path

from trimseek.encoders.training.readers import (
    Piece,
    Reader,
    abstracts,
    columns,
    descriptions,
    dictionary,
    docstrings,
    ontology,
    packages,
    page,
    sayings,
    third_column,
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
PAGE = """<html><head><title>Accounts</title></head><body><h1>Accounts¶</h1>
<p>An account keeps <b>what you own</b>.</p><ul><li><p>It may have accounts below it.</p></li></ul>
<p>Yes.</p><h2>Reports</h2><p>A report sums up an account.</p></body></html>"""
PUBMED = """<PubmedArticleSet><PubmedArticle><ArticleTitle>[Sleep and <i>memory</i>.]</ArticleTitle>
<Abstract><AbstractText>Sleep helps.</AbstractText><AbstractText>So it seems.</AbstractText>
</Abstract></PubmedArticle><PubmedArticle><ArticleTitle>A title alone.</ArticleTitle>
</PubmedArticle></PubmedArticleSet>"""
PACKAGES = """Package: words
Description: lists of words (data files)
 This package has lists of words
 for other programs.
 .
 It is large.
Tag: role::data

Package: bare
Description: a name alone
Tag: role::data,
 use::checking

"""


def read(path: Path, content: str | bytes, reader: Reader) -> list[Piece]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(reader(path))


def test_names_synonyms_and_definitions_of_an_ontology(tmp_path: Path) -> None:
    assert read(tmp_path / "terms.obo", ONTOLOGY, ontology) == [
        ("", "Multicystic kidney dysplasia"),
        ("", 'Characterized by \\"multiple\\" cysts.'),
        ("", "Multicystic kidneys"),
    ]


def test_first_paragraphs_of_docstrings(tmp_path: Path) -> None:
    assert read(tmp_path / "shell.py", SOURCE, docstrings) == [
        ("Shell", "Splits words as a shell does. More of it."),
        ("wait", "Wait until the shell ends."),
    ]
    assert read(tmp_path / "broken.py", "def (:", docstrings) == []
    assert read(tmp_path / "binary.py", b"\0\xff", docstrings) == []


def test_paragraphs_of_a_page_under_their_headings(tmp_path: Path) -> None:
    assert read(tmp_path / "page.html", PAGE, page) == [
        ("Accounts", "An account keeps what you own. It may have accounts below it."),
        ("Reports", "A report sums up an account."),
    ]
    assert read(tmp_path / "empty.html", "", page) == []


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "speeches.csv"
    rows = 'agenda,text\n"Rail [Oral Answers > Transport]","Trains, and more."\n'
    assert read(path, rows, columns("agenda", "text")) == [("Rail", "Trains, and more.")]
    assert read(path, rows, columns("", "text")) == [("", "Trains, and more.")]
    assert read(path, "1\t0.4\tGood.\n1\t0.5\n", third_column) == [("", "Good.")]


def test_xml(tmp_path: Path) -> None:
    assert read(tmp_path / "p.xml.gz", gzip.compress(PUBMED.encode()), abstracts) == [
        ("Sleep and memory", "Sleep helps. So it seems."),
        ("A title alone", "A title alone"),
    ]
    diseases = "<icd><diag><desc>Cholera</desc><note>Due to a vibrio</note></diag></icd>"
    assert read(tmp_path / "icd.xml", diseases, descriptions) == [
        ("", "Cholera"),
        ("", "Due to a vibrio"),
    ]


def test_sayings_and_dictionaries(tmp_path: Path) -> None:
    assert read(tmp_path / "sayings", "One.\n%\nTwo.\n", sayings) == [
        ("", "One.\n"),
        ("", "\nTwo.\n"),
    ]
    entries = [
        "00-about\n  A small dictionary.\n",
        "aplite \\aplite\\ n.\n  {granitic} rock [WN]\n",
    ]
    (tmp_path / "d.dict.dz").write_bytes(gzip.compress("".join(entries).encode()))
    assert [len(entry) for entry in entries] == [31, 42]
    index = "00-about\tA\tf\naplite\tf\tq\n"  # 31 and 42 in the digits of dictd
    [(word, text)] = read(tmp_path / "d.index", index, dictionary)
    assert (word, text.split()) == ("aplite", ["granitic", "rock"])


def test_descriptions_of_packages(tmp_path: Path) -> None:
    assert read(tmp_path / "packages.txt", PACKAGES, packages) == [
        ("lists of words", "This package has lists of words for other programs."),
        ("a name alone", "a name alone"),
    ]
