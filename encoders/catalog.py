"""From the name a user gives to an encoder folder that is ready to run.

A name is, in this order: an encoder folder; a checkpoint folder (Hugging Face or
sentence-transformers); a name of the catalog ("minilm") or of an encoder aligned to one of its
models ("minilm-swift"); an id of the model hub ("owner/name", or "owner/name@revision").
``-int8``, ``-int4`` or ``-float32`` behind it chooses the precision; int8 is the default.
``-dim128`` before that cuts vectors to so many dimensions, which are another space.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from trimseek.atomic import make_folder, sha256_of
from trimseek.console import note
from trimseek.encoders.aligned import FOLDER, aligned_names, load_aligned, read_provenance
from trimseek.encoders.base_models import CATALOG
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.checkpoint import Checkpoint, is_checkpoint, read_checkpoint
from trimseek.encoders.fetch import checkpoint_folder, fetch
from trimseek.encoders.folder import (
    is_encoder_folder,
    open_card,
    open_cross_encoder,
    open_encoder,
    write_encoder,
)
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.runtime import needs_reduced_range
from trimseek.errors import ConfigError, EncoderError
from trimseek.settings import load_settings

CUT = re.compile(r"(.+)-dim([1-9]\d{0,4})", re.ASCII)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[A-Za-z0-9][\w./-]*)?", re.ASCII)
DEFAULT_ENCODER = "minilm-int8"
NAMED = (Precision.FLOAT32, Precision.INT8, Precision.INT4)  # precisions behind a name
# Raise it when another graph or card is made of a checkpoint: cached encoders are built again.
GRAPH_VERSION = 4


def find_encoder(name: str, *, relative: bool = True) -> Path:
    """The encoder folder that ``name`` stands for, fetched and built if need be.

    ``relative``: whether it may be a folder of the working directory. EncoderError if there is no
    such encoder, it is damaged, or a cross-encoder; DownloadError if it cannot be fetched.
    """
    return find_folder(name, open_encoder, relative=relative)


def find_cross_encoder(name: str) -> Path:
    """As ``find_encoder``, of a cross-encoder."""
    return find_folder(name, open_cross_encoder)


def find_folder(name: str, opened: Callable[[Path], EncoderCard], *, relative: bool = True) -> Path:
    """As ``find_encoder``, of the kind that ``opened`` takes."""
    if not name.strip():
        raise EncoderError("the encoder has no name; is a shell variable empty?")
    if not name.isprintable():
        raise EncoderError(f"no encoder {name!a}: not a name that can be printed")
    if (local := local_path(name, relative)) is not None and is_encoder_folder(local):
        return local
    base, precision = split_precision(name, relative=relative)
    quantization = Quantization.everywhere(precision)
    narrow = "-7bit" if needs_reduced_range(quantization) else ""
    cached = f"{cache_key(base, relative=relative)}-{precision.value}{narrow}-v{GRAPH_VERSION}"
    folder = make_folder(load_settings().home / "encoders") / cached
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not is_intact(folder):
            checkpoint, recipe = read_encoder(base, relative=relative)
            note(f"building the {precision.value} encoder of {base} ...")
            write_encoder(checkpoint, folder, quantization, recipe)
    opened(folder)
    return folder


def find_index_encoder(name: str, index: Path) -> Path:
    """The encoder folder that an index names; it may be an index of somebody else's.

    Nothing is fetched because an index says so but the models of the catalog, whose checksums are
    known, and no relative path is opened. EncoderError.
    """
    base, _ = split_precision(name, relative=False)
    base, _ = split_dim(base, relative=False)
    known = base in CATALOG or aligned_file(base) is not None or Path(base).is_absolute()
    if not known and not (HUB_ID.fullmatch(base) and checkpoint_folder(base).is_dir()):
        raise EncoderError(
            f"{index}: its encoder {name!r} is not here; if you trust it: trimseek pull {base}"
        )
    return find_encoder(name, relative=False)


def local_path(name: str, relative: bool) -> Path | None:
    """The path of that name if there is one, and if it may be relative."""
    path = Path(name)
    return path if (relative or path.is_absolute()) and path.exists() else None


def read_encoder(name: str, *, relative: bool = True) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint of a name without a precision, and in words what was done to its base."""
    whole, dim = split_dim(name, relative=relative)
    if dim is not None:
        uncut, steps = read_encoder(whole, relative=relative)
        return cut_to(uncut, dim, name), (*steps, f"keep {dim} dimensions of a vector")
    path = aligned_file(name)
    if path is None:
        return read_checkpoint(find_checkpoint(name, relative=relative), name), ()
    provenance = read_provenance(path)
    checkpoint = find_checkpoint(provenance.base, relative=relative)
    base = read_checkpoint(checkpoint, provenance.base)
    steps = tuple(f"{key}: {value}" for key, value in provenance.made.items())
    return load_aligned(path, base), steps


def aligned_file(name: str) -> Path | None:
    """The file of an encoder that comes with the package; None if no such encoder does."""
    return FOLDER / f"{name}.safetensors" if name in aligned_names() else None


def split_precision(name: str, *, relative: bool = True) -> tuple[str, Precision]:
    """``minilm-float32`` is minilm at float32, unless a folder of that whole name exists."""
    for precision in NAMED:
        base = name.removesuffix(f"-{precision.value}")
        if base not in (name, "") and local_path(name, relative) is None:
            return base, precision
    return name, Precision.INT8


def split_dim(name: str, *, relative: bool = True) -> tuple[str, int | None]:
    """``minilm-dim128`` is minilm cut to 128 dimensions, unless a folder of that name exists."""
    found = CUT.fullmatch(name)
    if found is None or local_path(name, relative) is not None:
        return name, None
    return found[1], int(found[2])


def with_dim(name: str, dim: int | None) -> str:
    """The name of an encoder cut to so many dimensions; ConfigError for a folder that is one."""
    if dim is None:
        return name
    if is_encoder_folder(Path(name)):
        raise ConfigError(
            f"--dim {dim}: {name} is an encoder folder, whose vectors are as they are; name the "
            "checkpoint that it was made of"
        )
    base, precision = split_precision(name)
    return f"{base}-dim{dim}" + ("" if base == name else f"-{precision.value}")


def cut_to(checkpoint: Checkpoint, dim: int, name: str) -> Checkpoint:
    """The checkpoint with vectors of so many dimensions; EncoderError if it has fewer."""
    most = checkpoint.truncate_dim or checkpoint.weights.vector_dim
    if not 0 < dim <= most:
        raise EncoderError(f"{name}: {dim} dimensions; the encoder has {most}")
    return replace(checkpoint, name=name, truncate_dim=None if dim == most else dim)


def absolute_name(name: str) -> str:
    """The name of a folder made absolute; any other name unchanged."""
    base, _ = split_precision(name)
    base, _ = split_dim(base)
    if base and Path(base).exists():
        return str(Path(base).resolve()) + name.removeprefix(base)
    return name


def find_checkpoint(name: str, *, relative: bool = True) -> Path:
    """The checkpoint folder that ``name`` stands for or is aligned to, fetched if need be."""
    name, _ = split_dim(name, relative=relative)
    if (path := aligned_file(name)) is not None:
        return find_checkpoint(read_provenance(path).base, relative=relative)
    if (folder := local_path(name, relative)) is not None:
        if not is_checkpoint(folder):
            raise EncoderError(f"{folder}: neither an encoder folder nor a checkpoint")
        return folder
    if name in CATALOG or HUB_ID.fullmatch(name):
        return fetch(name, CATALOG.get(name))
    raise EncoderError(
        f"no encoder {name!r}: not a folder here, not one of "
        f"{', '.join([*CATALOG, *aligned_names()])}, "
        "and not a hub id (owner/name, owner/name@revision)"
    )


def cache_key(name: str, *, relative: bool = True) -> str:
    """A folder name that changes when a local checkpoint does; fetched checkpoints never change."""
    whole, dim = split_dim(name, relative=relative)
    if dim is not None:
        return f"{cache_key(whole, relative=relative)}-dim{dim}"
    if (path := aligned_file(name)) is not None:
        return f"{name}-{sha256_of(path)[:16]}"
    folder = local_path(name, relative)
    if folder is None:
        digest = CATALOG[name].sha256[:8] if name in CATALOG else "hub"
        return f"{checkpoint_folder(name).name}-{digest}"
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".txt", ".safetensors") and path.is_file():
            content.update(f"{path.relative_to(folder)} {sha256_of(path)}\n".encode())
    return f"{folder.resolve().name}-{content.hexdigest()[:16]}"


def is_intact(folder: Path) -> bool:
    """Whether a cached encoder exists and is undamaged; prints a note if it is damaged."""
    if not is_encoder_folder(folder):
        return False
    try:
        open_card(folder)
    except EncoderError as error:
        note(f"{error} (doing so)")
        return False
    return True
