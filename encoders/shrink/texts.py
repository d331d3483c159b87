"""The texts that the encoders in the package are trained on: short ones of many kinds, passages.

Nobody labelled them, and none is from a collection that anything is measured on.
"""

import ast
import gzip
import json
import random
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from encoders.unlabelled import read_unlabelled, sentences, spans

SENTENCES = {"wordnet": 20_000, "paper": 30_000, "wiki": 20_000, "squad": 5_000}  # by source
SPANS = 80_000
LONG = 60  # words from which on a passage gives runs of words
PACKAGE = re.compile(r"^Description: *(.*?) *$", re.MULTILINE)
VARIANT = re.compile(r" \([^)]*\)$| - .*$")  # "(data files)", "- development files"
TERM = re.compile(r'^(?:name: (?P<name>.+)|(?:def|synonym): "(?P<text>.*?)(?<!\\)".*)$')
FEWEST_WORDS = 3  # of the beginning of a docstring
MANUALS = (".rst", ".md", ".txt")
UNDERLINE = re.compile(r"^([=\-~^\"'#*+.])\1{2,}$")
NOT_PROSE = (" ", "\t", ".. ", ":", ">>>", "$", "|", "+-", "```", "<", "#!", "- ", "* ", "==", "--")
# :role:`text <target>`, [text](target), and the marks of emphasis and code
MARKUP = re.compile(r":[\w:+-]+:(?=`)|(?<=\w) <[^<>`]*>(?=`)|(?<=\])\([^()]*\)|[`*\[\]]|_(?=\W|$)")
LARGEST_SOURCE = 1_000_000  # bytes; larger files are generated


def training_texts(folder: Path, packages: Path | None = None) -> list[str]:
    """Short texts of many kinds, the same ones in the same order every time.

    ``packages``: what ``apt-cache dumpavail`` prints, for its one-line descriptions of software.
    """
    questions = [each.text for each in read_unlabelled(folder / "questions.jsonl.gz")]
    passages = read_unlabelled(folder / "passages.jsonl.gz")
    titles = [each.title for each in passages if each.title]
    long = [each.text for each in passages if len(each.text.split()) > LONG]
    texts = [*questions, *titles, *spans(long, SPANS, seed=1)]
    if packages is not None:
        described = PACKAGE.findall(packages.read_text("utf-8"))
        texts += (VARIANT.sub("", each) for each in described)
    texts += some_sentences(folder / "sentences-300k.jsonl.gz")
    return some(texts, None, seed=5)


def some_sentences(path: Path) -> list[str]:
    """``SENTENCES`` of each source."""
    found: dict[str, list[str]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            found.setdefault(row["source"], []).append(row["text"])
    chosen = random.Random(0)  # noqa: S311 - a sample, not a secret
    for texts in found.values():
        chosen.shuffle(texts)
    return [text for source, count in SENTENCES.items() for text in found[source][:count]]


def some_passages(folder: Path, count: int) -> list[str]:
    """Long passages with their titles, as documents are embedded."""
    passages = read_unlabelled(folder / "passages.jsonl.gz")
    found = [f"{p.title} {p.text}".strip() for p in passages if len(p.text.split()) > LONG]
    return some(found, count, seed=6)


def some_terms(ontology: Path, count: int) -> list[str]:
    """Names, synonyms and definitions of the terms of an OBO file."""
    lines = ontology.read_text("utf-8").splitlines()
    found = [match["name"] or match["text"] for match in map(TERM.match, lines) if match]
    return some(found, count, seed=7)


def some_docstrings(folder: Path, count: int) -> list[str]:
    """First sentences of the docstrings of the Python files below a folder, with their names."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        found += docstrings(path)
    return some(found, count, seed=8)


def docstrings(path: Path) -> Iterator[str]:
    """What a file's functions and classes say they do; nothing of a file that is not Python."""
    try:
        if path.stat().st_size > LARGEST_SOURCE:
            return
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in others' strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            paragraph = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            first = sentences(paragraph)[:1]
            if first and len(first[0].split()) >= FEWEST_WORDS:
                yield first[0]
                yield f"{node.name.strip('_')} {first[0]}"


def some_manuals(folder: Path, count: int) -> list[str]:
    """Headings, sentences and runs of words of the manuals below a folder.

    Those are files of reStructuredText, Markdown or plain text.
    """
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in MANUALS and path.is_file() and path.stat().st_size <= LARGEST_SOURCE:
            found += manual(path.read_text("utf-8", "replace"))
    runs = spans([each for each in found if len(each.split()) > FEWEST_WORDS], len(found), seed=10)
    return some([*found, *runs], count, seed=9)


def manual(text: str) -> Iterator[str]:
    """A manual's headings and the sentences of its paragraphs, without markup, lists and code."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.rstrip() for line in block.strip("\n").splitlines()]
        words = [line for line in lines if not UNDERLINE.match(line)]
        if not words or words[0].startswith(NOT_PROSE):
            continue
        plain = " ".join(MARKUP.sub("", " ".join(words)).lstrip("# ").split())
        heading = len(words) == 1 and (len(lines) > 1 or words[0].startswith("#"))
        for each in [plain] if heading else sentences(plain):
            if len(each.split()) >= (1 if heading else FEWEST_WORDS):
                yield each


def some(texts: Sequence[str], count: int | None, seed: int) -> list[str]:
    """So many different texts in an order that is the same every time; all of them for None."""
    found = list(dict.fromkeys(texts))
    random.Random(seed).shuffle(found)  # noqa: S311 - a sample, not a secret
    return found[:count]
