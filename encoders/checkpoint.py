"""Read a Hugging Face or sentence-transformers folder, without torch or transformers."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence

from trimseek.console import note
from trimseek.encoders.card import STATIC
from trimseek.encoders.checkpoint_files import (
    MISSING,
    combined_sha256,
    load_tokenizer,
    read_json,
    read_tensors,
    weight_files,
)
from trimseek.encoders.families import Family, family_of
from trimseek.encoders.head import ScoreHead
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.prompts import known_prompts
from trimseek.encoders.sentence_modules import Modules, read_modules, read_transform
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.weights import (
    LAYER_PARTS,
    EncoderWeights,
    FloatArray,
    Linear,
    Structure,
    WeightsFacts,
    from_arrays,
    static_weights,
)
from trimseek.errors import EncoderError

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
OTHER_NAMES = {"swiglu": "silu", "geglu": "gelu"}  # of activations, which say that they are gated
# Whose normalizer transformers makes of the settings in tokenizer_config.json.
BERT_TOKENIZERS = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
DEFAULT_TOKENIZERS = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
}
MODEL2VEC_TOKENS = 512  # that model2vec reads of a text


LONGEST_STATIC = 8192  # tokens; sentence-transformers' static encoders have no limit
UNLIMITED = 10**6  # tokenizers write 1e30 for "no limit"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that decides which vector a text gets.

    ``sha256`` is that of the weight files. ``prompts`` has the keys "query" and "document".
    ``normalize``: vectors are scaled to unit length; false only for encoders trained for the
    plain dot product. ``truncate_dim``: vectors are the first so many dimensions; None for all.
    ``head``: of a cross-encoder, whose texts are pairs; None for an encoder of single texts.
    ``space``: the id of the space that its vectors are of, where that is another checkpoint's.
    ``left_out``: a token that counts as none, as the unknown one of model2vec's encoders.
    ``query``: the tower for queries, where that is another than this one, for documents.
    ``items``, ``histories``: as on the card. ``text``: the tower for texts of a recommender.
    """

    name: str
    sha256: str
    architecture: str
    weights: EncoderWeights
    tokenizer: Tokenizer
    pooling: Pooling
    normalize: bool
    max_tokens: int
    prompts: dict[str, str] = field(default_factory=dict)
    truncate_dim: int | None = None
    head: ScoreHead | None = None
    space: str | None = None
    left_out: int | None = None
    query: "Checkpoint | None" = None
    items: bool = False
    histories: bool = False
    text: "Checkpoint | None" = None


def tokenizer_of(checkpoint: Checkpoint, role: str = "") -> TextTokenizer:
    """The tokenizer of a checkpoint, with its prompt for a role: "query" or "document"."""
    return TextTokenizer(
        checkpoint.tokenizer,
        checkpoint.max_tokens,
        checkpoint.prompts.get(role, ""),
        checkpoint.left_out,
        histories=checkpoint.histories,
    )


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a Hugging Face or sentence-transformers model."""
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file()


def read_checkpoint(folder: Path, name: str | None = None) -> Checkpoint:
    """Read a checkpoint folder; EncoderError says which file is wrong and what to do."""
    towers = read_modules(folder)
    if "query" not in towers:
        return read_tower(folder, towers[""], name)
    document, query = (read_tower(folder, towers[role], name) for role in ("document", "query"))
    widths = document.weights.vector_dim, query.weights.vector_dim
    if widths[0] != widths[1]:
        raise EncoderError(f"{folder}: towers of {widths[0]} and {widths[1]} dimensions")
    both = hashlib.sha256(f"{document.sha256}{query.sha256}".encode()).hexdigest()
    return replace(document, sha256=both, query=replace(query, sha256=both))


def read_tower(folder: Path, modules: Modules, name: str | None) -> Checkpoint:
    """Read one tower of a checkpoint folder, mostly the only one."""
    root = modules.root
    config = read_json(root / "config.json", {} if modules.static else MISSING)
    if modules.static or config.get("model_type") == "model2vec":
        return read_static(folder, modules, config, name)
    is_scorer = gives_scores(folder, config, root / "config.json")
    family_of(config.get("model_type"), {}, str(root / "config.json"))
    files = weight_files(root)
    tensors = read_tensors(files)
    family = family_of(config["model_type"], tensors, str(root / "config.json"))
    config = {key: config[old] for key, old in family.old_sizes.items() if old in config} | config
    check_config(config, family, root / "config.json")
    weights = build_weights(tensors, config, family, root)
    sentence = read_json(root / "sentence_bert_config.json", default={})
    tokenizer = read_tokenizer(
        root, str(config["model_type"]), lowercase=bool(sentence.get("do_lower_case"))
    )
    sentences = read_json(folder / "config_sentence_transformers.json", default={})
    head = None
    if is_scorer:
        head = read_head(tensors, family, root)
        weights = replace(weights, separator=separator_of(tokenizer, weights, family, root))
        modules = Modules(root, Pooling.CLS, normalize=False)
        check_prompts(sentences, folder)
    weights = with_transforms(weights, modules)
    files += [path for module in modules.transforms for path in weight_files(module.folder)]
    limits = (
        sentence.get("max_seq_length"),
        read_json(root / "tokenizer_config.json", default={}).get("model_max_length"),
    )
    chosen = next((int(n) for n in limits if n and n < UNLIMITED), UNLIMITED)
    return Checkpoint(
        name=name or folder.resolve().name,
        sha256=combined_sha256(files),
        architecture=str(config["model_type"]),
        weights=weights,
        tokenizer=tokenizer,
        pooling=modules.pooling,
        normalize=modules.normalize,
        max_tokens=min(chosen, weights.positions),
        prompts={} if head else read_prompts(sentences, name or "", folder.resolve().name),
        truncate_dim=None if head else read_truncation(sentences, weights.vector_dim, folder),
        head=head,
    )


def with_transforms(weights: EncoderWeights, modules: Modules) -> EncoderWeights:
    """The encoder with what comes behind pooling; EncoderError where that does not fit."""
    for module in modules.transforms:
        transform = read_transform(module, weights.vector_dim)
        weights = replace(weights, transforms=(*weights.transforms, transform))
    return weights


def read_static(
    folder: Path, modules: Modules, config: dict[str, Any], name: str | None
) -> Checkpoint:
    """A static encoder: sentence-transformers' StaticEmbedding, or model2vec's own format.

    The vector of a text is the mean of its tokens' (Tulkens & van Dongen 2024: model2vec; Aarsen
    2025: static retrieval models).
    """
    root = modules.root
    files = weight_files(root)
    tensors = read_tensors(files)
    names = [each for each in ("embedding.weight", "embeddings") if each in tensors]
    if not names:
        raise EncoderError(f"{root}: the weights have no tensor 'embeddings'; is it complete?")
    table = tensors[names[0]].astype(np.float32)
    if "mapping" in tensors:  # several tokens share a row
        table = table[tensors["mapping"].astype(np.int64)]
    if "weights" in tensors:
        table = table * tensors["weights"].astype(np.float32)[:, None]
    if table.ndim != 2 or not np.isfinite(table).all():
        raise EncoderError(f"{root}: the table is not one of finite numbers; fetch it anew")
    tokenizer = load_tokenizer(root / "tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    left_out, longest = None, LONGEST_STATIC
    if config.get("model_type") == "model2vec":
        longest = MODEL2VEC_TOKENS
        unknown = json.loads(tokenizer.to_str())["model"].get("unk_token")
        left_out = tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
    tokenizer.post_processor = None  # no special tokens
    normalize = modules.normalize
    if not (folder / "modules.json").is_file():
        normalize = bool(config.get("normalize", True))
    sentences = read_json(folder / "config_sentence_transformers.json", default={})
    weights = with_transforms(static_weights(table, longest), modules)
    files += [path for module in modules.transforms for path in weight_files(module.folder)]
    return Checkpoint(
        name=name or folder.resolve().name,
        sha256=combined_sha256(files),
        architecture=STATIC,
        weights=weights,
        tokenizer=tokenizer,
        pooling=Pooling.MEAN,
        normalize=normalize,
        max_tokens=longest,
        prompts=read_prompts(sentences, name or "", folder.resolve().name),
        truncate_dim=read_truncation(sentences, weights.vector_dim, folder),
        left_out=left_out,
    )


def read_prompts(config: dict[str, Any], *names: str) -> dict[str, str]:
    """Prompts under the keys "query" and "document"; some models call the latter "passage".

    Where the folder has none, those of ``trimseek.encoders.prompts`` for a model of these names.
    """
    prompts: dict[str, str] = config.get("prompts") or {}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    found = {
        "query": prompts.get("query", default),
        "document": prompts.get("document", prompts.get("passage", default)),
    }
    known = known_prompts(*names)
    if any(found.values()) or known is None:
        return found
    if known.query or known.document:
        note(
            f"prompts of {known.family} ({known.stated}): query {known.query!r}, document "
            f"{known.document!r}"
        )
    return {"query": known.query, "document": known.document}


def read_truncation(config: dict[str, Any], dim: int, folder: Path) -> int | None:
    """``truncate_dim`` of a config; EncoderError for one that cannot be."""
    truncated = config.get("truncate_dim")
    if truncated is None or truncated == dim:
        return None
    if isinstance(truncated, bool) or not isinstance(truncated, int) or not 0 < truncated < dim:
        raise EncoderError(
            f"{folder / 'config_sentence_transformers.json'}: truncate_dim is {truncated!r:.40}; "
            f"the model has {dim} dimensions"
        )
    return truncated


def gives_scores(folder: Path, config: dict[str, Any], path: Path) -> bool:
    """Whether a model is a cross-encoder; false for an encoder of single texts.

    EncoderError for a model that was trained for something else than both.
    """
    kind = read_json(folder / "config_sentence_transformers.json", default={}).get("model_type")
    architectures = [str(name) for name in config.get("architectures") or []]
    heads = [name for name in architectures if "For" in name]
    if kind == "CrossEncoder" or any("ForSequenceClassification" in name for name in heads):
        return True
    if kind == "SparseEncoder":
        raise EncoderError(f"{path}: a sparse encoder, whose vectors are of words; use a dense one")
    if heads and not (folder / "modules.json").is_file():
        raise EncoderError(
            f"{path}: a language model ({', '.join(heads)}) that was not trained for vectors of "
            "texts; use a sentence encoder, or, if it is one, write its pooling into modules.json "
            "with sentence-transformers: SentenceTransformer(DIR).save(NEW)"
        )
    if not (folder / "modules.json").is_file():
        note(f"{folder}: no modules.json, so the mean over tokens is taken, at unit length")
    return False


def read_head(tensors: dict[str, FloatArray], family: Family, folder: Path) -> ScoreHead:
    """The head of a cross-encoder; EncoderError where it has another number of scores than one."""
    if not family.head_dense:
        raise EncoderError(f"{folder}: cross-encoders of this architecture are not supported")
    get = tensor_getter(tensors, family, folder)

    def linear(name: str) -> Linear:
        weight = np.ascontiguousarray(get(f"{name}.weight").T)
        return Linear(weight, get(f"{name}.bias"))

    head = ScoreHead(linear(family.head_dense), family.head_activation, linear(family.head_out))
    if head.out.weight.shape[1:] != (1,):
        raise EncoderError(
            f"{folder}: a classifier of {head.out.weight.shape[-1]} classes; a cross-encoder that "
            "ranks gives one score"
        )
    return head


def separator_of(
    tokenizer: Tokenizer, weights: EncoderWeights, family: Family, folder: Path
) -> int | None:
    """The token behind which a pair's tokens are of type 1; None where all are of type 0."""
    settings = read_json(folder / "tokenizer_config.json", default={})
    given = settings.get("model_input_names") or ["token_type_ids"]
    if not family.pair_types or "token_type_ids" not in given:
        return None
    return separator_between(tokenizer, weights)


def separator_between(tokenizer: Tokenizer, weights: EncoderWeights) -> int | None:
    """The token behind which the tokenizer says that a pair's tokens are of type 1."""
    types = weights.token_type_embeddings
    pair = tokenizer.encode("a", "b")
    if types is None or len(types) < 2 or 1 not in pair.type_ids:
        return None
    return int(pair.ids[pair.type_ids.index(1) - 1])


def check_prompts(config: dict[str, Any], folder: Path) -> None:
    """EncoderError for a cross-encoder that wants a text before each pair."""
    prompt = (config.get("prompts") or {}).get(config.get("default_prompt_name") or "")
    if prompt:
        raise EncoderError(
            f"{folder / 'config_sentence_transformers.json'}: a cross-encoder with the prompt "
            f"{prompt!a:.60} is not supported"
        )


def check_config(config: dict[str, Any], family: Family, path: Path) -> None:
    """EncoderError for an activation or kind of positions that is not supported."""
    needed = [family.layers, family.heads, family.activation]
    needed += ["pad_token_id"] if family.position_offset else []
    needed += ["max_position_embeddings"] if family.theta else []
    for key in needed:
        if config.get(key) is None:
            raise EncoderError(f"{path}: no {key!r}; is this a complete checkpoint?")
    counts = [family.layers, family.heads, *(["max_position_embeddings"] if family.theta else [])]
    for key in counts:
        if isinstance(config[key], bool) or not isinstance(config[key], int) or config[key] < 1:
            raise EncoderError(f"{path}: {key} is {config[key]!r:.40}, not a count")
    if activation_of(config, family) not in ACTIVATIONS:
        raise EncoderError(
            f"{path}: unsupported activation {config.get(family.activation)!r}; "
            f"supported: {', '.join(ACTIVATIONS)}"
        )
    supported = ("rope", "rotary") if family.theta else ("absolute",)
    if config.get("position_embedding_type", supported[0]) not in supported:
        raise EncoderError(
            f"{path}: unsupported position_embedding_type "
            f"{config['position_embedding_type']!r}; supported: {supported[0]}"
        )
    if family.theta:
        check_rotary(config, path)


def activation_of(config: dict[str, Any], family: Family) -> object:
    """The activation that a config.json names."""
    given = config.get(family.activation)
    return OTHER_NAMES.get(given, given) if isinstance(given, str) else given


def check_rotary(config: dict[str, Any], path: Path) -> None:
    """EncoderError for rotary positions that are scaled, or turn a part of the heads."""
    given = config.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise EncoderError(f"{path}: rope_parameters is {given!r:.40}, not an object")
    for each in (given, *(value for value in given.values() if isinstance(value, dict))):
        kind, share = each.get("rope_type", "default"), each.get("partial_rotary_factor", 1.0)
        if kind != "default" or share != 1.0:
            raise EncoderError(
                f"{path}: unsupported rotary positions (rope_type {kind!r}, partial_rotary_factor "
                f"{share!r}); supported: default, of whole heads"
            )
    for key in ("rope_scaling", "rotary_scaling_factor"):
        if config.get(key):
            raise EncoderError(f"{path}: unsupported {key} {config[key]!r:.60}; none is supported")
    if config.get("rotary_emb_interleaved") or config.get("rotary_emb_fraction", 1.0) != 1.0:
        raise EncoderError(f"{path}: rotary positions of pairs side by side, or of parts of heads")


def rotary_of(config: dict[str, Any], family: Family, layer: int) -> tuple[float, int]:
    """A layer's rotary theta, 0 for none, and its attention's window, 0 for all tokens."""
    if not family.theta:
        return 0.0, 0
    given = config.get("rope_parameters") or {}
    if not family.local_theta:
        theta = given.get("rope_theta", config.get("rope_theta", family.theta))
        return float(theta), 0
    kinds, every = config.get("layer_types"), int(config.get("global_attn_every_n_layers", 3))
    is_local = kinds[layer] == "sliding_attention" if kinds else bool(layer % every)
    name = "local" if is_local else "global"
    default = config.get(f"{name}_rope_theta", family.local_theta if is_local else family.theta)
    own = given.get("sliding_attention" if is_local else "full_attention") or {}
    window = int(config.get("local_attention", 128)) // 2 if is_local else 0
    return float(own.get("rope_theta", default)), window


def build_weights(
    tensors: dict[str, FloatArray], config: dict[str, Any], family: Family, folder: Path
) -> EncoderWeights:
    """The family's tensors under the names of ``EncoderWeights``, matrices turned to ``(in, out)``.

    EncoderError if a tensor is missing.
    """
    get = tensor_getter(tensors, family, folder)
    arrays: dict[str, FloatArray] = {}

    def take(name: str, *family_names: str) -> None:
        """Under ``name``: matrices and biases of these names, side by side."""
        weights = [get(f"{family_name}.weight").T for family_name in family_names]
        biases = [
            get(f"{family_name}.bias", None if family.biases else weight.shape[-1])
            for family_name, weight in zip(family_names, weights, strict=True)
        ]
        arrays[f"{name}.weight"] = np.ascontiguousarray(np.concatenate(weights, -1))
        arrays[f"{name}.bias"] = np.concatenate(biases)

    take("embedding_norm", family.embedding_norm)
    if any("embeddings_project" in name for name in tensors):
        take("embedding_projection", "embeddings_project")
    if family.final_norm:
        take("final_norm", family.final_norm)
    count, reach = int(config[family.layers]), 0
    for i in range(count):
        layer = family.layer.format(i=i)
        for part in LAYER_PARTS:
            if part in ("query", "key", "value") and family.qkv:
                continue
            if part == "attention_norm" and family.pre_norm and i == 0:
                continue
            names = [getattr(family, part)]
            if part == "intermediate" and family.gate:
                names.insert(0, family.gate)
            take(f"layers.{i}.{part}", *(f"{layer}.{name}" for name in names))
        if family.qkv:
            take(f"layers.{i}.qkv", f"{layer}.{family.qkv}")
            split_in_three(arrays, f"layers.{i}")
        if family.gate_first is False:
            for name in ("weight", "bias"):
                halves = np.split(arrays[f"layers.{i}.intermediate.{name}"], 2, -1)
                arrays[f"layers.{i}.intermediate.{name}"] = np.concatenate(halves[::-1], -1)
        if family.relative:
            arrays[f"layers.{i}.distances"] = get(f"{family.relative}.weight")
            reach = family.reach
    words = get(f"{family.words}.weight")
    kinds = get(f"{family.types}.weight") if has(tensors, family, family.types) else None
    if family.positions:
        first_position = int(config["pad_token_id"]) + 1 if family.position_offset else 0
        arrays["position_embeddings"] = get(f"{family.positions}.weight")[first_position:]
        if kinds is not None:
            arrays["token_type_embeddings"] = kinds
    elif kinds is not None:
        words = words + kinds[0]
    arrays["token_embeddings"] = words
    turns = [rotary_of(config, family, i) for i in range(count)]
    rotary, windows = (tuple(each) for each in zip(*turns, strict=True))
    structure = Structure(
        family.pre_norm,
        family.gated,
        bool(family.relative),
        rotary=rotary if any(rotary) else (),
        windows=windows if any(windows) else (),
    )
    return from_arrays(
        arrays,
        WeightsFacts(
            layers=count,
            head_dim=arrays["layers.0.query.weight"].shape[1] // int(config[family.heads]),
            activation=str(activation_of(config, family)),
            layer_norm_eps=float(config.get(family.epsilon, 1e-12)),
            positions=0 if family.positions else int(config["max_position_embeddings"]),
            reach=reach,
            structure=structure,
        ),
    )


def has(tensors: dict[str, FloatArray], family: Family, name: str) -> bool:
    """Whether there is a tensor of this name in the family; false for an empty name."""
    return bool(name) and any(each in tensors for each in family.spelled(f"{name}.weight"))


def split_in_three(arrays: dict[str, FloatArray], layer: str) -> None:
    """Queries, keys and values in the place of ``{layer}.qkv``."""
    for kind in ("weight", "bias"):
        parts = np.split(arrays.pop(f"{layer}.qkv.{kind}"), 3, -1)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            arrays[f"{layer}.{name}.{kind}"] = np.ascontiguousarray(part)


def tensor_getter(
    tensors: dict[str, FloatArray], family: Family, folder: Path
) -> Callable[..., FloatArray]:
    """A function from a tensor's name in the family to the tensor as float32.

    It finds names with and without the family's prefix. In checkpoints converted from TensorFlow,
    the arrays of a layer norm are called gamma and beta. EncoderError if a tensor is missing,
    unless a size is given, of zeros in its place.
    """

    def get(name: str, size_if_missing: int | None = None) -> FloatArray:
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old = old.replace("LayerNorm.bias", "LayerNorm.beta")
        for candidate in (*family.spelled(name), *family.spelled(old)):
            if candidate in tensors:
                tensor = tensors[candidate].astype(np.float32)
                if not np.isfinite(tensor).all():
                    raise EncoderError(
                        f"{folder}: the tensor {candidate!r} holds numbers that are not finite; "
                        "fetch or train the model anew"
                    )
                return tensor
        if size_if_missing is not None:
            return np.zeros(size_if_missing, np.float32)
        raise EncoderError(f"{folder}: the weights have no tensor {name!r}; is it complete?")

    return get


def read_tokenizer(folder: Path, model_type: str, *, lowercase: bool) -> Tokenizer:
    """tokenizer.json, or else a WordPiece vocab.txt, with truncation and padding turned off.

    As transformers 5 does: a tokenizer of BERT's class is normalized as tokenizer_config.json says
    (``do_lower_case``, ``strip_accents``, ``tokenize_chinese_chars``), whatever tokenizer.json has.
    EncoderError if there is neither file, one is damaged, or a setting is not supported.
    """
    path = folder / "tokenizer.json"
    config = read_json(folder / "tokenizer_config.json", default={})
    if config.get("truncation_side", "right") != "right":
        raise EncoderError(
            f"{folder / 'tokenizer_config.json'}: truncation_side {config['truncation_side']!r} is "
            "not supported; texts are cut at their ends"
        )
    if path.is_file():
        tokenizer = load_tokenizer(path)
    elif (folder / "vocab.txt").is_file():
        words = BertWordPieceTokenizer(str(folder / "vocab.txt"))
        tokenizer = Tokenizer.from_str(words.to_str())
    else:
        raise EncoderError(
            f"{folder}: no tokenizer.json; write one with transformers: "
            "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
        )
    given = str(config.get("tokenizer_class") or DEFAULT_TOKENIZERS.get(model_type, ""))
    if given.removesuffix("Fast") in BERT_TOKENIZERS and isinstance(tokenizer.model, WordPiece):
        tokenizer.normalizer = BertNormalizer(
            clean_text=True,
            handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
            strip_accents=config.get("strip_accents"),
            lowercase=bool(config.get("do_lower_case", True)),
        )
    if lowercase:
        old = tokenizer.normalizer
        tokenizer.normalizer = Sequence([Lowercase(), old]) if old else Lowercase()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
