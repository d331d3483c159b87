"""The texts that the package's encoders are trained on: short texts of many kinds, and passages.

They have no labels, and none is from a test collection that trimseek's measurements use.
"""

import ast
import gzip
import json
import random
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from trimseek.encoders.unlabelled import read_unlabelled, sentences, spans

SENTENCES = {"wordnet": 20_000, "paper": 30_000, "wiki": 20_000, "squad": 5_000}  # by source
SPANS = 80_000
LONG = 60  # words; passages that have more are long
PACKAGE = re.compile(r"^Description: *(.*?) *$", re.MULTILINE)
VARIANT = re.compile(r" \([^)]*\)$| - .*$")  # "(data files)", "- development files"
TERM = re.compile(r'^(?:name: (?P<name>.+)|(?:def|synonym): "(?P<text>.*?)(?<!\\)".*)$')
FEWEST_WORDS = 3  # of a sentence in a docstring or a manual
MANUALS = (".rst", ".md", ".txt")
UNDERLINE = re.compile(r"^([=\-~^\"'#*+.])\1{2,}$")
NOT_PROSE = (" ", "\t", ".. ", ":", ">>>", "$", "|", "+-", "```", "<", "#!", "- ", "* ", "==", "--")
# In :role:`text <target>` and [text](target) all but the text; marks of emphasis and code.
MARKUP = re.compile(r":[\w:+-]+:(?=`)|(?<=\w) <[^<>`]*>(?=`)|(?<=\])\([^()]*\)|[`*\[\]]|_(?=\W|$)")
LARGEST_SOURCE = 1_000_000  # bytes; larger files are mostly generated


def training_texts(folder: Path, packages: Path | None = None) -> list[str]:
    """Short texts of many kinds, the same ones in the same order every time.

    ``packages``: what ``apt-cache dumpavail`` prints, for its one-line descriptions of software.
    """
    questions = [row.text for row in read_unlabelled(folder / "questions.jsonl.gz")]
    passages = read_unlabelled(folder / "passages.jsonl.gz")
    titles = [passage.title for passage in passages if passage.title]
    long = [passage.text for passage in passages if len(passage.text.split()) > LONG]
    texts = [*questions, *titles, *spans(long, SPANS, seed=1)]
    if packages is not None:
        descriptions = PACKAGE.findall(packages.read_text("utf-8"))
        texts += (VARIANT.sub("", description) for description in descriptions)
    texts += sample_sentences(folder / "sentences-300k.jsonl.gz")
    return sample(texts, None, seed=5)


def sample_sentences(path: Path) -> list[str]:
    """Random sentences, as many of each source as ``SENTENCES`` says."""
    by_source: dict[str, list[str]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            by_source.setdefault(row["source"], []).append(row["text"])
    generator = random.Random(0)  # noqa: S311 - a sample, not a secret
    for texts in by_source.values():
        generator.shuffle(texts)
    return [text for source, count in SENTENCES.items() for text in by_source[source][:count]]


def sample_passages(folder: Path, count: int) -> list[str]:
    """Long passages behind their titles, as documents are embedded."""
    passages = read_unlabelled(folder / "passages.jsonl.gz")
    texts = [f"{p.title} {p.text}".strip() for p in passages if len(p.text.split()) > LONG]
    return sample(texts, count, seed=6)


def sample_terms(ontology: Path, count: int) -> list[str]:
    """Names, synonyms and definitions of the terms of an OBO file."""
    lines = ontology.read_text("utf-8").splitlines()
    texts = [match["name"] or match["text"] for match in map(TERM.match, lines) if match]
    return sample(texts, count, seed=7)


def sample_docstrings(folder: Path, count: int) -> list[str]:
    """First sentences of docstrings below a folder, each with and without the name before it."""
    texts: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        texts += docstrings(path)
    return sample(texts, count, seed=8)


def docstrings(path: Path) -> Iterator[str]:
    """First sentences of a file's docstrings; none if it is too large or cannot be parsed."""
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
            first = sentences(paragraph)[:1]
            if first and len(first[0].split()) >= FEWEST_WORDS:
                yield first[0]
                yield f"{node.name.strip('_')} {first[0]}"


def sample_manuals(folder: Path, count: int) -> list[str]:
    """Headings, sentences and runs of words of the manuals below a folder.

    Manuals are files of reStructuredText, Markdown or plain text.
    """
    texts: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in MANUALS and path.is_file() and path.stat().st_size <= LARGEST_SOURCE:
            texts += manual(path.read_text("utf-8", "replace"))
    runs = spans([text for text in texts if len(text.split()) > FEWEST_WORDS], len(texts), seed=10)
    return sample([*texts, *runs], count, seed=9)


def manual(text: str) -> Iterator[str]:
    """A manual's headings and the sentences of its paragraphs; no markup, lists and code."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.rstrip() for line in block.strip("\n").splitlines()]
        words = [line for line in lines if not UNDERLINE.match(line)]
        if not words or words[0].startswith(NOT_PROSE):
            continue
        plain = " ".join(MARKUP.sub("", " ".join(words)).lstrip("# ").split())
        heading = len(words) == 1 and (len(lines) > 1 or words[0].startswith("#"))
        if heading:
            if plain:
                yield plain
            continue
        yield from (text for text in sentences(plain) if len(text.split()) >= FEWEST_WORDS)


def sample(texts: Sequence[str], count: int | None, seed: int) -> list[str]:
    """At most ``count`` different texts in random order, the same for the same seed; None: all."""
    different = list(dict.fromkeys(texts))
    random.Random(seed).shuffle(different)  # noqa: S311 - a sample, not a secret
    return different[:count]
