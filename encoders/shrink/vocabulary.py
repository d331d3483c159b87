"""Vocabulary pruning: tokens that a corpus does not have go from the tokenizer and the table.

WordPiece (Wu et al. 2016) cuts a word into the longest pieces that it has, from the left. A word
whose piece went is cut into shorter ones that stayed, down to single characters, all of which stay:
so no word becomes unknown that was known before. What is left gives the same vectors as before.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import ConfigError

Counts = NDArray[np.int64]
TEXTS_AT_A_TIME = 1024


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Counts:
    """How often each token comes in texts, by its id; special tokens around them do not count."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        batch = texts[start : start + TEXTS_AT_A_TIME]
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    return counts


def prune_vocabulary(checkpoint: Checkpoint, counts: Counts, most: int) -> Checkpoint:
    """The encoder with at most so many tokens, those that come most often, if they come at all.

    ``counts``: by the id of each token. Special tokens and single characters stay beside them.
    ConfigError for a tokenizer that is not WordPiece.
    """
    fields = json.loads(checkpoint.tokenizer.to_str())
    model = fields["model"]
    if model.get("type") != "WordPiece":
        raise ConfigError(
            f"vocabulary: the tokenizer of {checkpoint.name} is {model.get('type')}, and only "
            "WordPiece finds its way without some of its tokens"
        )
    kept = kept_tokens(fields, counts, most)
    new_ids = {token: i for i, token in enumerate(kept)}
    renumbered = renumber(fields, new_ids)
    old_ids = [model["vocab"][token] for token in kept]
    tokenizer = Tokenizer.from_str(json.dumps(renumbered))
    weights = checkpoint.weights
    return replace(
        checkpoint,
        tokenizer=tokenizer,
        weights=with_rows(weights, old_ids),
        left_out=None if checkpoint.left_out is None else old_ids.index(checkpoint.left_out),
    )


def kept_tokens(fields: dict[str, Any], counts: Counts, most: int) -> list[str]:
    """The tokens that stay, in the order of their ids. ``fields``: of a tokenizer.json."""
    vocabulary, prefix = fields["model"]["vocab"], fields["model"]["continuing_subword_prefix"]
    stays = {token["content"] for token in fields["added_tokens"]}
    stays.add(fields["model"]["unk_token"])
    by_id = {id_: token for token, id_ in vocabulary.items()}
    stays |= {by_id[id_] for id_ in around(fields["post_processor"])}
    stays |= {token for token in vocabulary if len(token.removeprefix(prefix)) == 1}
    frequent = sorted(vocabulary, key=lambda token: -counts[vocabulary[token]])
    room = max(0, most - len(stays))
    wanted = [token for token in frequent if token not in stays and counts[vocabulary[token]] > 0]
    stays |= set(wanted[:room])
    return sorted(stays & vocabulary.keys(), key=lambda token: int(vocabulary[token]))


def around(processor: dict[str, Any] | None) -> list[int]:
    """The tokens that are put around a text."""
    if not processor:
        return []
    if "special_tokens" in processor:  # TemplateProcessing
        return [id_ for token in processor["special_tokens"].values() for id_ in token["ids"]]
    return [processor[name][1] for name in ("sep", "cls") if name in processor]


def renumber(fields: dict[str, Any], new_ids: dict[str, int]) -> dict[str, Any]:
    """The fields of a tokenizer.json with other ids of tokens."""
    old_vocabulary = fields["model"]["vocab"]
    by_old_id = {old_vocabulary[token]: new for token, new in new_ids.items()}
    added = [token | {"id": by_old_id[token["id"]]} for token in fields["added_tokens"]]
    model = fields["model"] | {"vocab": new_ids}
    processor = fields["post_processor"]
    if processor and "special_tokens" in processor:  # TemplateProcessing
        special = {
            name: token | {"ids": [by_old_id[id_] for id_ in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        processor = processor | {"special_tokens": special}
    elif processor:  # BertProcessing, RobertaProcessing
        ends = {
            name: [processor[name][0], by_old_id[processor[name][1]]]
            for name in ("sep", "cls")
            if name in processor
        }
        processor = processor | ends
    return fields | {"added_tokens": added, "model": model, "post_processor": processor}


def with_rows(weights: EncoderWeights, old_ids: Sequence[int]) -> EncoderWeights:
    """The weights with these rows of the token table alone."""
    separator = weights.separator
    return replace(
        weights,
        token_embeddings=np.ascontiguousarray(weights.token_embeddings[list(old_ids)]),
        separator=None if separator is None else list(old_ids).index(separator),
    )
