"""Encoders for other libraries: folders that they load, with graph, tokenizer and settings.

``sentence-transformers`` (``backend="onnx"``) and ``onnx`` (optimum, transformers.js) get a graph
of token vectors, ``fastembed`` one of texts' vectors. A shape that pruning made fits none of
transformers' own classes, so that no weights of torch are written.
"""

import json
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from trimseek.atomic import atomic_folder, write_text
from trimseek.encoders.card import TOKENIZER, EncoderCard
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.encoder import DocumentEncoder, shortened
from trimseek.encoders.folder import QUERY_TOWER, as_checkpoint, graph_of, open_encoder
from trimseek.encoders.onnx_runtime import open_session, run_batches
from trimseek.encoders.pooling import Pooling, pooled_states
from trimseek.encoders.transforms import ACTIVATIONS, transformed
from trimseek.encoders.weights import FloatArray, LayerNorm
from trimseek.errors import ConfigError

LIBRARY = "sentence_transformers.models"
# What tokenizers call their special tokens, and what transformers' settings call each.
SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
POOLING_FLAGS = {  # in the config of sentence-transformers' Pooling
    Pooling.CLS: "pooling_mode_cls_token",
    Pooling.MEAN: "pooling_mode_mean_tokens",
    Pooling.MAX: "pooling_mode_max_tokens",
    Pooling.MEAN_SQRT: "pooling_mode_mean_sqrt_len_tokens",
    Pooling.WEIGHTED: "pooling_mode_weightedmean_tokens",
    Pooling.LAST: "pooling_mode_lasttoken",
}
TORCH_NAMES = {
    ours: f"torch.nn.modules.{'linear' if ours == 'identity' else 'activation'}.{theirs}"
    for theirs, ours in ACTIVATIONS.items()
}
SAMPLE = (
    "How do I split a shell command into words?",
    "Boil the water for three minutes before you drink it.",
    "A list of files, sorted by size and then by name, is written to the standard output.",
    "weather",
)


class Target(str, Enum):
    """Who is to load the folder."""

    SENTENCE_TRANSFORMERS = "sentence-transformers"
    ONNX = "onnx"
    FASTEMBED = "fastembed"


GRAPHS = {
    Target.SENTENCE_TRANSFORMERS: "onnx/model.onnx",
    Target.ONNX: "onnx/model.onnx",
    Target.FASTEMBED: "model.onnx",
}


class Exported(NamedTuple):
    """The folder, and the least cosine of ``SAMPLE``'s vectors there to the encoder's own."""

    folder: Path
    cosine: float


def export_encoder(encoder: Path, into: Path, target: Target) -> Exported:
    """Write a folder for another library, wholly or not at all, and run its graph once.

    ``encoder``: an encoder folder. ConfigError if ``into`` exists already; EncoderError.
    """
    if into.exists():
        raise ConfigError(f"{into}: exists already; name a folder that does not")
    card, checkpoint = open_encoder(encoder), as_checkpoint(encoder)
    if card.query_tower:
        raise ConfigError(
            f"{encoder}: two towers; export each: {encoder / QUERY_TOWER} for queries"
        )
    pooled = target is Target.FASTEMBED
    graph = graph_of(checkpoint, card.quantization, pooled=pooled)
    with atomic_folder(into) as temporary:
        path = temporary / GRAPHS[target]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(graph.SerializeToString())
        (temporary / TOKENIZER).write_bytes((encoder / TOKENIZER).read_bytes())
        tokens = special_tokens(checkpoint.tokenizer)
        write_tokenizer_settings(tokens, temporary, card)
        write_json(temporary / "config.json", model_settings(checkpoint, card, tokens))
        if target is Target.SENTENCE_TRANSFORMERS:
            write_modules(checkpoint, card, temporary)
        write_text(temporary / "README.md", instructions(target, card))
        cosine = least_cosine(encoder, checkpoint, path, pooled=pooled)
    return Exported(into, cosine)


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whose folder is made if need be."""
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The special tokens that the tokenizer has, as transformers' settings name them."""
    found = {}
    for name, candidates in SPECIAL.items():
        for token in candidates:
            if tokenizer.token_to_id(token) is not None:
                found[name] = token
                break
    first = tokenizer.id_to_token(0)
    return {"pad_token": first or "", **found}


def write_tokenizer_settings(tokens: dict[str, str], folder: Path, card: EncoderCard) -> None:
    """The settings that transformers and FastEmbed read beside the tokenizer."""
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": card.max_tokens}
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}
    write_json(folder / "tokenizer_config.json", settings | inputs | tokens)
    write_json(folder / "special_tokens_map.json", tokens)


def model_settings(
    checkpoint: Checkpoint, card: EncoderCard, tokens: dict[str, str]
) -> dict[str, Any]:
    """config.json: that of a BERT, whose graph has the same inputs and outputs."""
    weights, tokenizer = checkpoint.weights, checkpoint.tokenizer
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(weights.token_embeddings),
        "hidden_size": weights.dim,
        "num_hidden_layers": len(weights.layers),
        "num_attention_heads": max(1, weights.dim // weights.head_dim),
        "intermediate_size": max(weights.neurons, default=1),
        "max_position_embeddings": card.positions,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": tokenizer.token_to_id(tokens["pad_token"]) or 0,
        "trimseek": {"base": card.base, "space": card.space, "recipe": list(card.recipe)},
    }


def write_modules(checkpoint: Checkpoint, card: EncoderCard, folder: Path) -> None:
    """What sentence-transformers reads: its modules, and prompts."""
    weights = checkpoint.weights
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    pooling: dict[str, Any] = {"word_embedding_dimension": weights.dim}
    for mode, flag in POOLING_FLAGS.items():
        pooling[flag] = card.pooling is mode
    write_json(folder / "1_Pooling" / "config.json", pooling)
    for transform in weights.transforms:
        number, is_norm = len(modules), isinstance(transform, LayerNorm)
        kind, name = ("LayerNorm", "norm") if is_norm else ("Dense", "linear")
        place = folder / f"{number}_{kind}"
        modules.append((place.name, kind))
        matrix = transform.weight if is_norm else np.ascontiguousarray(transform.weight.T)
        settings: dict[str, Any] = {"dimension": len(transform.bias)}
        if not isinstance(transform, LayerNorm):
            settings = {
                "in_features": len(transform.weight),
                "out_features": len(transform.bias),
                "bias": True,
                "activation_function": TORCH_NAMES[transform.activation],
            }
        write_json(place / "config.json", settings)
        tensors = {f"{name}.weight": matrix, f"{name}.bias": transform.bias}
        save_file(tensors, place / "model.safetensors", {"format": "pt"})
    if card.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"{LIBRARY}.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", rows)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": card.max_tokens, "do_lower_case": False},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": card.prompts,
            "default_prompt_name": None,
            "truncate_dim": card.truncate_dim,
            "similarity_fn_name": "cosine" if card.normalize else "dot",
        },
    )


def least_cosine(encoder: Path, checkpoint: Checkpoint, graph: Path, *, pooled: bool) -> float:
    """Of the sample's vectors by the exported graph, to those of the encoder as it runs here."""
    own = DocumentEncoder(encoder)
    expected = own.encode(SAMPLE).vectors
    session = open_session(graph, 1)
    found = []
    for text in own.tokenizer.encode(SAMPLE):
        states: FloatArray = run_batches(session, [text])[0]
        if not pooled:
            states = vector_of(states, checkpoint)
        found.append(states)
    vectors = np.stack(found)
    if vectors.shape[1] > own.dim:
        vectors = shortened(vectors, own.dim, normalize=checkpoint.normalize)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((vectors * expected).sum(1) / lengths).min())


def vector_of(states: FloatArray, checkpoint: Checkpoint) -> FloatArray:
    """The vector of one text's ``(tokens, dim)``, as sentence-transformers makes it."""
    pooled = pooled_states(states, checkpoint.pooling)
    vector: FloatArray = transformed(pooled[None], checkpoint.weights.transforms)[0]
    return vector


def instructions(target: Target, card: EncoderCard) -> str:
    """How the folder is loaded."""
    snippets = {
        Target.SENTENCE_TRANSFORMERS: (
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("THIS FOLDER", backend="onnx")\n'
            'vectors = model.encode_query(["what is asked"])'
        ),
        Target.ONNX: (
            "from optimum.onnxruntime import ORTModelForFeatureExtraction\n"
            "from transformers import AutoTokenizer\n\n"
            'tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")\n'
            "model = ORTModelForFeatureExtraction.from_pretrained(\n"
            '    "THIS FOLDER", subfolder="onnx", file_name="model.onnx"\n'
            ")\n"
            'states = model(**tokenizer(["a text"], return_tensors="pt")).last_hidden_state\n'
            f"# then {card.pooling.value} pooling"
        ),
        Target.FASTEMBED: (
            "from fastembed import TextEmbedding\n"
            "from fastembed.common.model_description import ModelSource, PoolingType\n\n"
            "TextEmbedding.add_custom_model(\n"
            f'    model="{card.name}", pooling=PoolingType.DISABLED, normalization=False,\n'
            f'    sources=ModelSource(url="file://here"), dim={card.projected_dim or card.dim}, '
            'model_file="model.onnx",\n'
            ")\n"
            f'model = TextEmbedding("{card.name}", specific_model_path="THIS FOLDER")\n'
            'vectors = list(model.embed(["a text"]))'
        ),
    }
    prompts = "".join(
        f"\nBefore each {role} comes {prompt!r}.\n"
        for role, prompt in card.prompts.items()
        if prompt
    )
    return (
        f"# {card.name}\n\n{card.base} made smaller by trimseek: {'; '.join(card.recipe)}.\n\n"
        f"```python\n{snippets[target]}\n```\n{prompts}"
    )
