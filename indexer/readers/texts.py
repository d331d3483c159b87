"""Files that are one document each: plain text, Markdown, HTML."""

import re
import tomllib
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from trimseek.errors import CorpusError
from trimseek.indexer.documents import LONGEST_DOCUMENT
from trimseek.indexer.readers.files import UTF16, encoding_of, not_utf8

# Front matter of Markdown: YAML between lines of ---, TOML between lines of +++.
FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(.*?)^\1[ \t]*(?:\r?\n|\Z)", re.S | re.M)
LONGEST_FRONT_MATTER = 2**16  # characters
TITLE_WITHIN = 2**16  # characters of a Markdown file in which its title is looked for
MARKDOWN = MarkdownIt("commonmark")
TITLES = ("title", "Title", "TITLE")


class Text(NamedTuple):
    """What a file says. ``title``: empty if it has none."""

    title: str
    text: str
    metadata: Mapping[str, Any]


def read_text(path: Path) -> Text:
    """A file's title, text and metadata; CorpusError if it is too large or in another encoding."""
    try:
        if path.stat().st_size > 4 * LONGEST_DOCUMENT:
            raise CorpusError(f"{path}: larger than {4 * LONGEST_DOCUMENT:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    return TEXT_FILES[path.suffix.lower()](content, path)


def plain(content: bytes, path: Path) -> Text:
    """A text file, which has no title of its own."""
    return Text("", decode(content, path), {})


def markdown(content: bytes, path: Path) -> Text:
    """Markdown without its front matter, which gives the title and the metadata."""
    text = decode(content, path)
    metadata: Mapping[str, Any] = {}
    found = FRONT_MATTER.match(text)
    if found is not None and (read := front_matter(found[1], found[2])) is not None:
        metadata, text = read, text[found.end() :]
    named = next((name for name in TITLES if isinstance(metadata.get(name), str)), None)
    title = str(metadata[named]) if named is not None else heading_of(text)
    return Text(title, text, {name: value for name, value in metadata.items() if name != named})


def front_matter(mark: str, text: str) -> dict[str, Any] | None:
    """The fields of front matter; None if it is none, as between two horizontal rules."""
    if len(text) > LONGEST_FRONT_MATTER:
        return None
    try:
        if mark == "+++":
            return tomllib.loads(text)
        # an alias repeats a part, and repeats of repeats fill any memory
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            return None
        fields = yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, RecursionError):
        return None
    if fields is None and not text.strip():
        return {}
    return (
        {str(name): value for name, value in fields.items()} if isinstance(fields, dict) else None
    )


def heading_of(text: str) -> str:
    """The first heading of the first level, as it reads; empty if there is none."""
    try:
        tokens = MARKDOWN.parse(text[:TITLE_WITHIN])
    except RecursionError:
        return ""
    for token, inside in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return " ".join(words_of(inside).split())
    return ""


def words_of(token: Token) -> str:
    """What a token reads without its markup."""
    if token.children is None:
        return " " if token.type in ("softbreak", "hardbreak") else token.content
    return "".join(map(words_of, token.children))


def html(content: bytes, path: Path) -> Text:
    """What a page shows, and its title."""
    import lxml.html
    from inscriptis import Inscriptis
    from lxml.etree import LxmlError, strip_elements

    if not content.strip():
        return Text("", "", {})
    encoding = None
    if content.startswith(UTF16):
        encoding = "utf-16"
    else:
        try:
            content.decode("utf-8-sig")
            encoding = "utf-8"
        except UnicodeDecodeError:  # then the page says its encoding, or is of the web's first one
            encoding = None
    try:
        parser = lxml.html.HTMLParser(encoding=encoding, huge_tree=False)
        tree = lxml.html.document_fromstring(content, parser=parser)
        title = " ".join((tree.findtext(".//title") or "").split())
        strip_elements(tree, "noscript", "template", with_tail=False)
        return Text(title, Inscriptis(tree).get_text().strip(), {})
    except (LxmlError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: not readable as HTML: {error}") from None


def decode(content: bytes, path: Path) -> str:
    """A file's text; CorpusError."""
    try:
        return content.decode(encoding_of(content[:4]))
    except UnicodeDecodeError:
        raise not_utf8(path) from None


TEXT_FILES: dict[str, Callable[[bytes, Path], Text]] = {
    ".txt": plain,
    ".md": markdown,
    ".markdown": markdown,
    ".html": html,
    ".htm": html,
}
