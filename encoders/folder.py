"""An encoder folder: encoder.json, tokenizer.json, weights.safetensors, model.onnx."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimseek.atomic import atomic_folder, sha256_of
from trimseek.encoders.card import (
    CARD,
    CODES_VERSION,
    FORMAT_VERSION,
    GRAPH,
    HEAD,
    INPUTS_VERSION,
    QUERY_TOWER,
    TEXT_TOWER,
    TOKENIZER,
    WEIGHTS,
    EncoderCard,
    LayerShape,
    read_card,
    space_id,
    write_card,
)
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.checkpoint_files import load_tokenizer
from trimseek.encoders.head import load_head, save_head
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.runtime import needs_reduced_range
from trimseek.encoders.weights import EncoderWeights, load_weights, save_weights
from trimseek.errors import EncoderError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "CARD",
    "GRAPH",
    "HEAD",
    "QUERY_TOWER",
    "TEXT_TOWER",
    "TOKENIZER",
    "WEIGHTS",
    "as_checkpoint",
    "graph_bytes",
    "is_encoder_folder",
    "open_cross_encoder",
    "open_encoder",
    "read_weights",
    "write_encoder",
]


def is_encoder_folder(folder: Path) -> bool:
    """Whether the folder has an encoder.json."""
    return (folder / CARD).is_file()


def write_encoder(
    checkpoint: Checkpoint,
    folder: Path,
    quantization: Quantization,
    recipe: Sequence[str] = (),
    measured: Mapping[str, float] | None = None,
) -> EncoderCard:
    """Build the graph of a checkpoint and write an encoder folder, wholly or not at all.

    The checkpoint's weights may be shrunk ones; ``recipe`` then says in words how its base became
    them. int8 weights are kept to 7 bits where this CPU needs it (``trimseek.encoders.quantize``).
    """
    quantization = replace(quantization, reduced_range=needs_reduced_range(quantization))
    with atomic_folder(folder) as temporary:
        names = [TOKENIZER, WEIGHTS, GRAPH]
        if checkpoint.query is not None:
            query = replace(checkpoint.query, space=space_of(checkpoint))
            write_encoder(query, temporary / QUERY_TOWER, quantization, recipe)
            names.append(f"{QUERY_TOWER}/{CARD}")
        if checkpoint.text is not None:
            text = replace(checkpoint.text, space=space_of(checkpoint))
            write_encoder(text, temporary / TEXT_TOWER, Quantization())
            names.append(f"{TEXT_TOWER}/{CARD}")
        checkpoint.tokenizer.save(str(temporary / TOKENIZER))
        save_weights(checkpoint.weights, temporary / WEIGHTS)
        if checkpoint.head is not None:
            save_head(checkpoint.head, temporary / HEAD)
            names.append(HEAD)
        graph = graph_of(checkpoint, quantization)
        (temporary / GRAPH).write_bytes(graph.SerializeToString())
        card = replace(
            card_of(checkpoint, folder.name, quantization),
            recipe=(f"read {checkpoint.name}", *recipe, f"store as {quantization}"),
            sha256={name: sha256_of(temporary / name) for name in names},
            measured=dict(measured or {}),
        )
        write_card(card, temporary / CARD)
    return card


def graph_of(
    checkpoint: Checkpoint, quantization: Quantization, *, pooled: bool = True
) -> "onnx.ModelProto":
    """The graph of a checkpoint's weights, with as many positions as its texts have tokens.

    ``pooled``: whether it gives the vectors of texts, or those of their tokens.
    """
    # onnx takes half a second to import, and what only serves builds no graph
    from trimseek.encoders.graph import build_graph

    return build_graph(
        cut_positions(checkpoint.weights, checkpoint.max_tokens),
        pooling=checkpoint.pooling if pooled else None,
        normalize=checkpoint.normalize,
        quantization=quantization,
    )


def card_of(checkpoint: Checkpoint, name: str, quantization: Quantization) -> EncoderCard:
    """The card of a checkpoint that is stored so, still without recipe and checksums."""
    weights = checkpoint.weights
    return EncoderCard(
        name=name,
        space=space_of(checkpoint),
        base=checkpoint.name,
        base_sha256=checkpoint.sha256,
        architecture=checkpoint.architecture,
        dim=weights.dim,
        layers=tuple(map(LayerShape, weights.heads, weights.neurons)),
        head_dim=weights.head_dim,
        activation=weights.activation,
        layer_norm_eps=weights.layer_norm_eps,
        positions=min(weights.positions, checkpoint.max_tokens),
        pooling=checkpoint.pooling,
        normalize=checkpoint.normalize,
        max_tokens=checkpoint.max_tokens,
        prompts=checkpoint.prompts,
        quantization=quantization,
        recipe=(),
        sha256={},
        truncate_dim=checkpoint.truncate_dim,
        cross_encoder=checkpoint.head is not None,
        structure=weights.structure,
        projected_dim=weights.vector_dim if weights.transforms else None,
        left_out=checkpoint.left_out,
        query_tower=checkpoint.query is not None,
        items=checkpoint.items,
        histories=checkpoint.histories,
        text_tower=checkpoint.text is not None,
        format_version=format_version(weights, quantization),
    )


def format_version(weights: EncoderWeights, quantization: Quantization) -> int:
    """The first version that can read such an encoder."""
    if weights.inputs:
        return INPUTS_VERSION
    return CODES_VERSION if quantization.codes else FORMAT_VERSION


def space_of(checkpoint: Checkpoint) -> str:
    """The id of the space that a checkpoint's vectors are of."""
    return checkpoint.space or space_id(
        checkpoint.sha256,
        checkpoint.pooling,
        normalize=checkpoint.normalize,
        truncate_dim=checkpoint.truncate_dim,
    )


def cut_positions(weights: EncoderWeights, max_tokens: int) -> EncoderWeights:
    """The weights without the positions that no text reaches."""
    if weights.position_embeddings is None:
        return replace(weights, longest=min(weights.longest, max_tokens))
    return replace(weights, position_embeddings=weights.position_embeddings[:max_tokens])


def as_checkpoint(folder: Path) -> Checkpoint:
    """An encoder folder as a checkpoint with its own float weights, to be shrunk further."""
    card = open_card(folder)
    return Checkpoint(
        name=card.base,
        sha256=card.base_sha256,
        architecture=card.architecture,
        weights=read_weights(folder),
        tokenizer=load_tokenizer(folder / TOKENIZER),
        pooling=card.pooling,
        normalize=card.normalize,
        max_tokens=card.max_tokens,
        prompts=card.prompts,
        truncate_dim=card.truncate_dim,
        head=load_head(folder / HEAD, card.dim) if card.cross_encoder else None,
        space=card.space,
        left_out=card.left_out,
        query=as_checkpoint(folder / QUERY_TOWER) if card.query_tower else None,
        items=card.items,
        histories=card.histories,
        text=as_checkpoint(folder / TEXT_TOWER) if card.text_tower else None,
    )


def graph_bytes(folder: Path) -> int:
    """The size of the graphs that run, of both towers where there are two."""
    paths = (folder / GRAPH, folder / QUERY_TOWER / GRAPH)
    return sum(path.stat().st_size for path in paths if path.is_file())


def open_encoder(folder: Path) -> EncoderCard:
    """Read the card and check the tokenizer and graph against it; EncoderError names a bad file.

    EncoderError for a cross-encoder.
    """
    card = open_card(folder)
    if card.cross_encoder:
        raise EncoderError(
            f"{folder}: a cross-encoder, which scores pairs of texts and gives no vectors; use a "
            "sentence encoder here, and this one for reranking (--rerank)"
        )
    return card


def open_cross_encoder(folder: Path) -> EncoderCard:
    """As ``open_encoder``, of a cross-encoder; EncoderError for an encoder of single texts."""
    card = open_card(folder)
    if not card.cross_encoder:
        raise EncoderError(
            f"{folder}: an encoder that gives vectors of single texts; reranking takes a "
            "cross-encoder (a ...ForSequenceClassification model with one score)"
        )
    return card


def open_card(folder: Path) -> EncoderCard:
    """Read the card and check the files that run against it; EncoderError names a bad one."""
    card = read_card(folder / CARD)
    for name in (TOKENIZER, GRAPH, *([HEAD] if card.cross_encoder else [])):
        verify_file(folder, name, card)
    for name, is_there in ((QUERY_TOWER, card.query_tower), (TEXT_TOWER, card.text_tower)):
        if is_there:
            verify_file(folder, f"{name}/{CARD}", card)
            check_tower(folder / name, card)
    return card


def check_tower(folder: Path, card: EncoderCard) -> None:
    """EncoderError for a tower that is not of the encoder with this card."""
    tower = open_card(folder)
    same = (tower.space, tower.vector_dim) == (card.space, card.vector_dim)
    if not same or tower.query_tower or tower.text_tower:
        raise EncoderError(f"{folder}: of another encoder; make it anew")


def read_weights(folder: Path) -> EncoderWeights:
    """The float weights of an encoder folder; EncoderError if they are missing or damaged."""
    verify_file(folder, WEIGHTS, read_card(folder / CARD))
    return load_weights(folder / WEIGHTS)


def verify_file(folder: Path, name: str, card: EncoderCard) -> None:
    """EncoderError if the file is missing, or its sha256 is not the card's."""
    path = folder / name
    if not path.is_file():
        raise EncoderError(f"{path}: missing; make or fetch the encoder anew")
    if sha256_of(path) != card.sha256.get(name):
        raise EncoderError(
            f"{path}: damaged or truncated: its checksum is not the one in {CARD}; "
            "make or fetch the encoder anew"
        )
