"""Readers of the files that training texts come from: path to ``(title, text)`` pairs.

The title is empty where a file has none. A file that cannot be parsed yields nothing: one broken
page of a manual should not end an hour of reading.
"""

import ast
import csv
import gzip
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import lxml.etree
import lxml.html


class Piece(NamedTuple):
    """A text and its title."""

    title: str
    text: str


Reader = Callable[[Path], Iterator[Piece]]

LARGEST_SOURCE = 1_000_000  # bytes; larger Python files are mostly generated
FEWEST_WORDS = 3  # of a sentence in a docstring or a page
WORDS_OF_A_PASSAGE = 150  # paragraphs under one heading are joined up to about so many
TERM = re.compile(r'^(?:name: (?P<name>.+)|(?:def|synonym): "(?P<text>.*?)(?<!\\)".*)$')
VARIANT = re.compile(r" \([^)]*\)$| - .*$")  # "(data files)", "- development files"
HEADINGS = ("title", "h1", "h2", "h3", "h4")
PARAGRAPHS = ("p", "dd", "li", "blockquote")
# of a dictionary: \pronunciation\, [source], {reference}, numbers of senses
DICTIONARY_MARKS = re.compile(r"\\[^\\]*\\|\[[^\]]*\]|\(\d{4}-\d{2}-\d{2}\)|<[^>]*>|[{}]")
DIGITS = {
    letter: value
    for value, letter in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}


def ontology(path: Path) -> Iterator[Piece]:
    """Names, synonyms and definitions of the terms of an OBO file."""
    for match in map(TERM.match, path.read_text("utf-8").splitlines()):
        if match:
            yield Piece("", match["name"] or match["text"])


def docstrings(path: Path) -> Iterator[Piece]:
    """First paragraphs of a Python file's docstrings; titles are the names of what has them."""
    try:
        if path.stat().st_size > LARGEST_SOURCE:
            return
        with warnings.catch_warnings(action="ignore"):  # about invalid escapes in strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            paragraph = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            if len(paragraph.split()) >= FEWEST_WORDS:
                yield Piece(node.name.strip("_"), paragraph)


def page(path: Path) -> Iterator[Piece]:
    """Paragraphs of an HTML page, joined up to a passage, under the nearest heading above them."""
    data = path.read_bytes()
    encoding = "utf-8" if is_utf8(data) else None  # None: as the page declares
    parser = lxml.html.HTMLParser(encoding=encoding)
    try:
        tree = lxml.html.document_fromstring(data, parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        return
    title, words = "", list[str]()
    for element in tree.iter(*HEADINGS, *PARAGRAPHS):
        text = " ".join(str(element.xpath("string()")).split())
        heading = element.tag in HEADINGS
        if heading or len(words) >= WORDS_OF_A_PASSAGE:
            if words:
                yield Piece(title, " ".join(words))
            words = []
        if heading:
            title = text.strip("¶ ")
        elif len(text.split()) >= FEWEST_WORDS and element.find(".//p") is None:
            words += text.split()
    if words:
        yield Piece(title, " ".join(words))


def is_utf8(data: bytes) -> bool:
    """Whether bytes can be decoded as UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def table(path: Path, title: str, text: str) -> Iterator[Piece]:
    """Two columns of a CSV file; no title if that column's name is empty."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            # "[Oral Answers to Questions > Home Department]" is not a part of an agenda's title
            yield Piece(" ".join(row.get(title, "").partition(" [")[0].split()), row[text])


def columns(title: str, text: str) -> Reader:
    """A reader of a CSV file's columns of these names."""
    return partial(table, title=title, text=text)


def third_column(path: Path) -> Iterator[Piece]:
    """The last of three columns that are separated by tabs."""
    for line in path.read_text("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) == 3:
            yield Piece("", fields[2])


def abstracts(path: Path) -> Iterator[Piece]:
    """Titles and abstracts of a PubMed file, gzipped XML."""
    with gzip.open(path) as file:
        for _, article in lxml.etree.iterparse(file, tag="PubmedArticle"):
            title = article.find(".//ArticleTitle")
            parts = ["".join(part.itertext()) for part in article.iterfind(".//AbstractText")]
            name = "" if title is None else "".join(title.itertext()).strip("[]. ")
            if parts or name:
                yield Piece(name, " ".join(parts) or name)
            article.clear()


def descriptions(path: Path) -> Iterator[Piece]:
    """Descriptions and notes of an XML list of diseases, as that of ICD-10-CM."""
    for element in lxml.etree.parse(path).iter("desc", "note"):
        if element.text:
            yield Piece("", element.text)


def sayings(path: Path) -> Iterator[Piece]:
    """The entries of a file of fortune(6), which a line of one % separates."""
    for entry in re.split(r"^%\s*$", path.read_text("utf-8", "replace"), flags=re.MULTILINE):
        yield Piece("", entry)


def dictionary(path: Path) -> Iterator[Piece]:
    """Headwords and definitions of a dictionary of dictd(8); ``path`` is its ``.index``."""
    with gzip.open(path.with_suffix(".dict.dz")) as file:
        data = file.read()
    for line in path.read_text("utf-8", "replace").splitlines():
        word, start, length = line.split("\t")[:3]
        if word.startswith("00"):  # about the dictionary itself
            continue
        first = number(start)
        entry = data[first : first + number(length)].decode("utf-8", "replace")
        _, _, definition = entry.partition("\n")
        yield Piece(word, DICTIONARY_MARKS.sub("", definition))


def number(digits: str) -> int:
    """An offset in a dictd index, in base 64."""
    value = 0
    for digit in digits:
        value = 64 * value + DIGITS[digit]
    return value


def packages(path: Path) -> Iterator[Piece]:
    """What ``apt-cache dumpavail`` prints: each package's summary, and its description."""
    for entry in path.read_text("utf-8", "replace").split("\n\n"):
        _, found, behind = entry.partition("\nDescription: ")
        if found:
            lines = behind.splitlines()
            rest = list(takewhile(lambda line: line.startswith(" "), lines[1:]))
            end = next((i for i, line in enumerate(rest) if line.strip() == "."), len(rest))
            paragraph = " ".join(" ".join(rest[:end]).split())
            yield Piece(VARIANT.sub("", lines[0]), paragraph or lines[0])
