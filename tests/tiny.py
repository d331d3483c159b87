"""Tiny random checkpoints: real in all but their size."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from trimseek.encoders import write_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerNorm, LayerWeights, Linear

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = "the of and to in is for on with shell command split words text file number list".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)]
MAX_TOKENS = 64


def tiny_tokenizer(start: str = "[CLS]", end: str = "[SEP]") -> Tokenizer:
    """WordPiece over letters and a few words, so that any text has several tokens."""
    ids = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1",
        special_tokens=[(start, ids[start]), (end, ids[end])],
    )
    return tokenizer


def tiny_weights(
    seed: int = 0, dim: int = 32, heads: tuple[int, ...] = (4, 4), neurons: int = 64
) -> EncoderWeights:
    """Random weights; ``heads`` of 8 dimensions in each layer."""
    random = np.random.default_rng(seed)

    def array(*shape: int) -> FloatArray:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    def linear(size_in: int, size_out: int) -> Linear:
        return Linear(array(size_in, size_out), array(size_out))

    def norm() -> LayerNorm:
        return LayerNorm(1 + array(dim), array(dim))

    def layer(count: int) -> LayerWeights:
        width = 8 * count
        return LayerWeights(
            query=linear(dim, width),
            key=linear(dim, width),
            value=linear(dim, width),
            attention_output=linear(width, dim),
            attention_norm=norm(),
            intermediate=linear(dim, neurons),
            output=linear(neurons, dim),
            output_norm=norm(),
        )

    return EncoderWeights(
        token_embeddings=array(len(VOCABULARY), dim),
        position_embeddings=array(MAX_TOKENS, dim),
        token_type_embeddings=array(2, dim),
        embedding_norm=norm(),
        embedding_projection=None,
        layers=tuple(layer(count) for count in heads),
        head_dim=8,
        activation="gelu",
        layer_norm_eps=1e-12,
    )


def tiny_rotary(
    seed: int = 0, *, windows: tuple[int, ...] = (0, 0), silu: bool = False, pre_norm: bool = False
) -> EncoderWeights:
    """As ``tiny_weights``, with rotary positions and a gated FFN."""
    plain, chosen = tiny_weights(seed), np.random.default_rng(seed)
    wide = tiny_weights(seed + 100, neurons=128)
    layers = [
        replace(layer, intermediate=other.intermediate, rotary=theta, window=window)
        for layer, other, theta, window in zip(
            plain.layers, wide.layers, (160_000.0, 100.0), windows, strict=True
        )
    ]
    if pre_norm:
        layers[0] = replace(layers[0], attention_norm=None)
    norm = LayerNorm(*(chosen.random((2, 32)).astype(np.float32) + 0.5))
    return replace(
        plain,
        position_embeddings=None,
        token_type_embeddings=None,
        layers=tuple(layers),
        activation="silu" if silu else "gelu",
        final_norm=norm if pre_norm else None,
        pre_norm=pre_norm,
        gated=True,
        longest=MAX_TOKENS,
    )


def tiny_distances(seed: int = 0, heads: tuple[int, ...] = (4, 4)) -> EncoderWeights:
    """As ``tiny_weights``, with biases by distance, which are larger than scores are."""
    plain, chosen = tiny_weights(seed, heads=heads), np.random.default_rng(seed)
    layers = tuple(
        replace(layer, distances=chosen.standard_normal((16, count)).astype(np.float32))
        for layer, count in zip(plain.layers, heads, strict=True)
    )
    return replace(plain, layers=layers, reach=40)


STRUCTURES = {
    "distances": tiny_distances(),
    "rotary": tiny_rotary(),
    "windows": tiny_rotary(windows=(3, 0), silu=True),
    "pre-norm": tiny_rotary(windows=(0, 20), pre_norm=True),
    "causal": replace(tiny_rotary(windows=(0, 5)), causal=True),
}


def write_tiny(folder: Path, seed: int = 0) -> Path:
    """An encoder folder of float32, of a space of its own for each seed."""
    precision = Quantization.everywhere(Precision.FLOAT32)
    write_encoder(tiny_checkpoint(seed), folder, precision)
    return folder


def tiny_checkpoint(seed: int = 0, **fields: Any) -> Checkpoint:
    checkpoint = Checkpoint(
        name=f"tiny-{seed}",
        sha256=f"{seed:064}",
        architecture="bert",
        weights=tiny_weights(seed),
        tokenizer=tiny_tokenizer(),
        pooling=Pooling.MEAN,
        normalize=True,
        max_tokens=MAX_TOKENS,
        prompts={"query": "", "document": ""},
    )
    return replace(checkpoint, **fields)


SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_TOKENS,
    "vocab_size": len(VOCABULARY),
}
DISTILBERT_SIZES: dict[str, Any] = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": MAX_TOKENS,
    "vocab_size": len(VOCABULARY),
}
MORE_SIZES: dict[str, dict[str, Any]] = {
    "modernbert": {  # a window of 8 tokens on each side, shorter than most texts
        **{f"{name}_token_id": VOCABULARY.index("[PAD]") for name in ("pad", "bos", "eos")},
        "cls_token_id": 2,
        "sep_token_id": 3,
        "local_attention": 16,
        "num_hidden_layers": 4,
        "initializer_cutoff_factor": 10.0,
    },
}
OFFSET = 2  # RoBERTa's positions start after the padding id, 1


def save_hugging_face(
    family: str, folder: Path, *, cross_encoder: bool = False, **config_fields: Any
) -> Any:
    """Write a random Hugging Face checkpoint of a family; the transformers model."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = DISTILBERT_SIZES if family == "distilbert" else SIZES
    if family == "electra":
        sizes = sizes | {"embedding_size": 16}
    sizes = sizes | MORE_SIZES.get(family, {})
    if "roberta" in family or family == "mpnet":
        positions = sizes["max_position_embeddings"] + OFFSET
        sizes = sizes | {"max_position_embeddings": positions, "pad_token_id": 1}
    if cross_encoder:
        sizes = sizes | {"num_labels": 1}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(sizes | {"initializer_range": 0.2} | config_fields))
    kind = AutoModelForSequenceClassification if cross_encoder else AutoModel
    model = kind.from_config(config).eval()
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": MAX_TOKENS}))
    return model
