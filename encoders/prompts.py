"""Prompts that families of models were trained with, for checkpoints that do not say them.

Many folders of e5, bge and others lack ``prompts`` in config_sentence_transformers.json, though
their makers say what stands before a query and a document. ``stated`` names the page.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUERY, DOCUMENT = "query", "document"
SEARCHING = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True)
class KnownPrompts:
    """``name``: a regular expression of the model's name without its owner, in any letters."""

    family: str
    name: str
    query: str
    document: str
    stated: str


KNOWN = (
    KnownPrompts(
        "e5",
        r"(?:multilingual-)?e5-(?:small|base|large)(?:-v2|-unsupervised)?",
        "query: ",
        "passage: ",
        "model card of intfloat/e5-small-v2, FAQ 1",
    ),
    KnownPrompts(
        "bge",
        r"bge-(?:micro|small|base|large)-en(?:-v1\.5)?",
        SEARCHING,
        "",
        "model card of BAAI/bge-small-en-v1.5, Model List",
    ),
    KnownPrompts(
        "bge (Chinese)",
        r"bge-(?:small|base|large)-zh(?:-v1\.5)?",
        "为这个句子生成表示以用于检索相关文章：",  # noqa: RUF001
        "",
        "model card of BAAI/bge-small-zh-v1.5, Model List",
    ),
    KnownPrompts(
        "gte",
        r"gte-(?:tiny|small|base|large)",
        "",
        "",
        "model card of thenlper/gte-small: none",
    ),
    KnownPrompts(
        "arctic 2",
        r"snowflake-arctic-embed-\w+-v2\.0",
        "query: ",
        "",
        "model card of Snowflake/snowflake-arctic-embed-l-v2.0, Usage",
    ),
    KnownPrompts(
        "arctic",
        r"snowflake-arctic-embed-(?:xs|s|m|m-long|l|m-v1\.5)",
        SEARCHING,
        "",
        "model card of Snowflake/snowflake-arctic-embed-xs, Usage",
    ),
    KnownPrompts(
        "nomic",
        r"nomic-embed-text-v1(?:\.5)?|modernbert-embed-(?:base|large)",
        "search_query: ",
        "search_document: ",
        "model card of nomic-ai/nomic-embed-text-v1.5, Task instruction prefixes",
    ),
    KnownPrompts(
        "mxbai",
        r"mxbai-embed-(?:xsmall|large)-v1",
        SEARCHING,
        "",
        "model card of mixedbread-ai/mxbai-embed-large-v1, Usage",
    ),
    KnownPrompts(
        "UAE",
        r"uae-large-v1",
        SEARCHING,
        "",
        "model card of WhereIsAI/UAE-Large-V1, Retrieval",
    ),
)


def known_prompts(*names: str) -> KnownPrompts | None:
    """The entry for the first of a model's names (folder, hub id) that the table has."""
    for name in names:
        last = re.split(r"[/\\]|--", name.partition("@")[0].rstrip("/"))[-1]
        for known in KNOWN:
            if re.fullmatch(known.name, last, re.IGNORECASE):
                return known
    return None


def described_prompts(prompts: Mapping[str, Any]) -> str:
    """Prompts in words."""
    if not any(prompts.get(role) for role in (QUERY, DOCUMENT)):
        return "none"
    return ", ".join(f"{role} {prompts.get(role, '')!r}" for role in (QUERY, DOCUMENT))
