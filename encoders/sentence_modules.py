"""modules.json of sentence-transformers: what an encoder is made of, in one tower or in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trimseek.encoders.checkpoint_files import read_json, read_tensors, weight_files
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.transforms import ACTIVATIONS as TRANSFORM_ACTIVATIONS
from trimseek.encoders.weights import Dense, LayerNorm
from trimseek.errors import EncoderError

# Of sentence-transformers; Dropout does nothing outside of training.
MODULES = (
    *("Transformer", "StaticEmbedding", "Pooling"),
    *("Dense", "LayerNorm", "Normalize", "Dropout"),
)
ROUTERS = ("Router", "Asym")
ONCE = ("Transformer", "StaticEmbedding", "Pooling", "Normalize")


class Row(NamedTuple):
    """A row of modules.json: the class, and where its files are."""

    kind: str
    folder: Path


@dataclass(frozen=True)
class Modules:
    """One tower; the defaults are those of a folder without modules.json.

    ``root``: where the transformer's or the table's files are. ``transforms``: of Dense and
    LayerNorm.
    """

    root: Path
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    transforms: tuple[Row, ...] = ()
    static: bool = False


def read_modules(folder: Path) -> dict[str, Modules]:
    """The modules of each tower, "document" and "query"; of an encoder of one tower under "".

    EncoderError for a module that is not supported.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return {"": Modules(folder)}
    similarity = read_json(folder / "config_sentence_transformers.json", default={}).get(
        "similarity_fn_name"
    )
    plain = similarity in ("dot", "dot_product")
    rows = [row_of(module, folder, path) for module in read_json(path)]
    routers = [row for row in rows if row.kind in ROUTERS]
    if not routers:
        return {"": modules_of(rows, folder, path, plain=plain)}
    if rows[:1] != routers:
        raise EncoderError(f"{path}: a {routers[0].kind} is supported as the first module, once")
    return {
        role: modules_of([*own, *rows[1:]], folder, path, plain=plain)
        for role, own in read_routes(routers[0].folder).items()
    }


def row_of(module: Mapping[str, Any], folder: Path, path: Path) -> Row:
    """A row; EncoderError for a class that is not sentence-transformers' own."""
    name = str(module.get("type", ""))
    own, _, _ = name.partition(".")
    if "--" in name or (folder / f"{own}.py").is_file():
        raise EncoderError(
            f"{path}: asks for code of its own ({name!a:.60}), which is never run; use a model of "
            "sentence-transformers' own modules"
        )
    return Row(name.rpartition(".")[2], folder / str(module.get("path", "")))


def read_routes(folder: Path) -> dict[str, list[Row]]:
    """The towers of a Router, "document" and "query"; EncoderError if there are others."""
    path = folder / "router_config.json"
    if not path.is_file():
        path = folder / "config.json"
    config = read_json(path)
    types, structure = config.get("types") or {}, config.get("structure") or {}
    if set(structure) != {"document", "query"}:
        raise EncoderError(
            f"{path}: towers {', '.join(sorted(structure)) or 'none'}; supported are document and "
            "query"
        )
    rows = [{"type": kind, "path": name} for name, kind in types.items()]
    towers = {str(row["path"]): row_of(row, folder, path) for row in rows}
    missing = {name for names in structure.values() for name in names} - set(towers)
    if missing:
        raise EncoderError(f"{path}: no type of {sorted(missing)[0]!a:.60}; is it complete?")
    return {role: [towers[name] for name in structure[role]] for role in ("document", "query")}


def modules_of(rows: Sequence[Row], folder: Path, path: Path, *, plain: bool) -> Modules:
    """The modules of one tower; ``plain``: vectors are for the plain inner product."""
    root, pooling = folder, Pooling.MEAN
    transforms: list[Row] = []
    seen: list[str] = []
    for row in rows:
        kind = row.kind
        if kind not in MODULES:
            raise EncoderError(
                f"{path}: unsupported module {kind!r}; supported: {', '.join(MODULES)}, Router"
            )
        if kind in seen and kind in ONCE:
            raise EncoderError(f"{path}: two modules {kind}; an encoder has one")
        pooled = "Pooling" in seen or "StaticEmbedding" in seen
        if kind in ("Dense", "LayerNorm") and ("Normalize" in seen or not pooled):
            raise EncoderError(f"{path}: {kind} is supported behind Pooling and before Normalize")
        seen.append(kind)
        if kind in ("Transformer", "StaticEmbedding"):
            root = row.folder
        elif kind == "Pooling":
            pooling = read_pooling(row.folder / "config.json")
        elif kind in ("Dense", "LayerNorm"):
            transforms.append(row)
    normalize = "Normalize" in seen or not plain
    return Modules(root, pooling, normalize, tuple(transforms), "StaticEmbedding" in seen)


def read_transform(module: Row, dim: int) -> Dense | LayerNorm:
    """A module behind pooling, for vectors of that dimension; EncoderError if it does not fit."""
    path = module.folder / "config.json"
    config = read_json(path)
    tensors = read_tensors(weight_files(module.folder))
    name = "linear" if module.kind == "Dense" else "norm"
    try:
        weight = tensors[f"{name}.weight"].astype(np.float32)
    except KeyError:
        raise EncoderError(f"{module.folder}: the weights have no tensor {name}.weight") from None
    bias = tensors.get(f"{name}.bias", np.zeros(len(weight))).astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise EncoderError(f"{module.folder}: holds numbers that are not finite")
    width = weight.shape[-1]
    if width != dim:
        raise EncoderError(f"{path}: takes {width} dimensions, and the vectors have {dim}")
    if module.kind == "LayerNorm":
        return LayerNorm(weight, bias)
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise EncoderError(f"{path}: a projection of tokens; those of texts are supported")
    activation = str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    if activation not in TRANSFORM_ACTIVATIONS:
        raise EncoderError(
            f"{path}: unsupported activation {activation!a:.40}; supported: "
            f"{', '.join(TRANSFORM_ACTIVATIONS)}"
        )
    return Dense(np.ascontiguousarray(weight.T), bias, TRANSFORM_ACTIVATIONS[activation])


def read_pooling(path: Path) -> Pooling:
    """The pooling mode of a config.json; EncoderError if it is not supported."""
    config = read_json(path)
    modes = [str(config["pooling_mode"])] if "pooling_mode" in config else []
    modes += [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    supported = [mode.value for mode in Pooling]
    if len(modes) != 1 or modes[0] not in supported:
        raise EncoderError(
            f"{path}: unsupported pooling {'+'.join(modes) or 'none'}; "
            f"supported: one of {', '.join(supported)}"
        )
    if config.get("include_prompt") is False:
        raise EncoderError(f"{path}: pooling that leaves the prompt out is not supported")
    return Pooling(modes[0])
