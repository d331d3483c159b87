from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import BertProcessing

from tests.tiny import LETTERS, VOCABULARY, WORDS
from trimseek.encoders import DocumentEncoder, write_encoder
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.recipe import Recipe, Shrinker
from trimseek.encoders.shrink.vocabulary import count_tokens, prune_vocabulary
from trimseek.errors import ConfigError

TEXTS = ["the shell command", "the file of the list", "split text for the file"]
SPECIAL = ["[UNK]", "[CLS]", "[SEP]"]


def pruned(tiny: Checkpoint, most: int = 10_000) -> Checkpoint:
    return prune_vocabulary(tiny, count_tokens(tiny.tokenizer, TEXTS), most)


def vocabulary_of(checkpoint: Checkpoint) -> list[str]:
    vocabulary = checkpoint.tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(vocabulary) == len(checkpoint.weights.token_embeddings)
    return sorted(vocabulary, key=lambda token: vocabulary[token])


def test_tokens_are_counted(tiny: Checkpoint) -> None:
    counts = count_tokens(tiny.tokenizer, TEXTS)
    assert counts[VOCABULARY.index("the")] == 4
    assert counts[VOCABULARY.index("file")] == 2
    assert counts[VOCABULARY.index("number")] == 0
    assert counts[VOCABULARY.index("[CLS]")] == 0


def test_what_the_texts_do_not_have_goes(tiny: Checkpoint) -> None:
    kept = vocabulary_of(pruned(tiny))
    characters = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
    words = [word for word in WORDS if any(word in text.split() for text in TEXTS)]
    assert kept == [*SPECIAL, *words, *characters]
    few = vocabulary_of(pruned(tiny, len(SPECIAL) + len(characters) + 2))
    assert set(few) - set(SPECIAL) - set(characters) == {"the", "file"}


def test_vectors_of_what_is_left_are_the_same(tiny: Checkpoint, tmp_path: Path) -> None:
    small = pruned(tiny)
    write_encoder(tiny, tmp_path / "whole", Quantization())
    write_encoder(small, tmp_path / "small", Quantization())
    before, after = (
        DocumentEncoder(tmp_path / name).encode(TEXTS).vectors for name in ("whole", "small")
    )
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert vocabulary_of(small)[:3] == SPECIAL


def test_no_word_becomes_unknown(tiny: Checkpoint) -> None:
    (before,) = tokenizer_of(tiny).encode(["number words"])
    (after,) = tokenizer_of(pruned(tiny)).encode(["number words"])
    assert len(before.ids) == 4
    tokens = [vocabulary_of(pruned(tiny))[id_] for id_ in after.ids]
    assert tokens == [
        "[CLS]",
        "n",
        "##u",
        "##m",
        "##b",
        "##e",
        "##r",
        *"w ##o ##r ##d ##s".split(),
        "[SEP]",
    ]


def test_other_ways_of_putting_tokens_around_a_text(tiny: Checkpoint) -> None:
    tokenizer = Tokenizer.from_str(tiny.tokenizer.to_str())
    cls, sep = (VOCABULARY.index(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    small = pruned(replace(tiny, tokenizer=tokenizer, left_out=VOCABULARY.index("[UNK]")))
    encoded = small.tokenizer.encode("the file")
    assert encoded.tokens == ["[CLS]", "the", "file", "[SEP]"]
    assert encoded.ids == [vocabulary_of(small).index(token) for token in encoded.tokens]
    assert small.left_out == 0


def test_a_separator_keeps_its_meaning(tiny: Checkpoint) -> None:
    weights = replace(tiny.weights, separator=VOCABULARY.index("[SEP]"))
    small = pruned(replace(tiny, weights=weights))
    assert small.weights.separator == small.tokenizer.token_to_id("[SEP]")


def test_a_recipe_prunes_the_vocabulary_last(tiny: Checkpoint) -> None:
    shrunk = Shrinker(tiny, [], TEXTS).shrink(Recipe(vocabulary=90))
    assert len(shrunk.checkpoint.weights.token_embeddings) < len(VOCABULARY)
    assert shrunk.steps[-1].startswith("keep ")
    with pytest.raises(ConfigError, match="vocabulary -1: must not be negative"):
        Shrinker(tiny, [], TEXTS).shrink(Recipe(vocabulary=-1))


def test_only_wordpiece_finds_its_way(tiny: Checkpoint) -> None:
    other = replace(tiny, tokenizer=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(ConfigError, match="is BPE, and only WordPiece"):
        prune_vocabulary(other, np.zeros(1, np.int64), 10)
