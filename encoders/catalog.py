"""From the name a user gives to an encoder folder that is ready to run.

A name is, in this order: an encoder folder; a checkpoint folder (Hugging Face or
sentence-transformers); a name of the catalog ("minilm") or of an encoder aligned to one of it
("minilm-swift"); an id of the model hub ("owner/name").
``-int8`` or ``-float32`` behind it chooses the precision; int8 is the default.
"""

import hashlib
import re
from pathlib import Path

from filelock import FileLock

from encoders.aligned import FOLDER, aligned_names, load_aligned, read_provenance
from encoders.base_models import CATALOG
from encoders.checkpoint import Checkpoint, is_checkpoint, read_checkpoint
from encoders.fetch import fetch
from encoders.folder import is_encoder_folder, open_encoder, write_encoder
from encoders.quantize import Precision, Quantization
from encoders.runtime import needs_reduced_range
from trimseek.atomic import make_folder, sha256_of
from trimseek.console import note
from trimseek.errors import EncoderError
from trimseek.settings import load_settings

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
DEFAULT_ENCODER = "minilm-int8"
# Rises when the graph that a checkpoint becomes changes, so that cached encoders are remade.
GRAPH_VERSION = 2


def find_encoder(name: str) -> Path:
    """The encoder folder that ``name`` stands for, fetched and built if need be."""
    if not name.strip():
        raise EncoderError("the encoder has no name; is a shell variable empty?")
    if not name.isprintable():
        raise EncoderError(f"no encoder {name!a}: not a name that can be printed")
    if is_encoder_folder(Path(name)):
        return Path(name)
    base, precision = split_precision(name)
    quantization = Quantization.everywhere(precision)
    narrow = "-7bit" if needs_reduced_range(quantization) else ""
    cached = f"{cache_key(base)}-{precision.value}{narrow}-v{GRAPH_VERSION}"
    folder = make_folder(load_settings().home / "encoders") / cached
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not is_intact(folder):
            checkpoint, recipe = read_encoder(base)
            note(f"building the {precision.value} encoder of {base} ...")
            write_encoder(checkpoint, folder, quantization, recipe)
    return folder


def read_encoder(name: str) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint of a name without a precision, and what was done to its base."""
    path = aligned_file(name)
    if path is None:
        return read_checkpoint(find_checkpoint(name), name), ()
    provenance = read_provenance(path)
    base = read_checkpoint(find_checkpoint(provenance.base), provenance.base)
    steps = tuple(f"{key}: {value}" for key, value in provenance.made.items())
    return load_aligned(path, base), steps


def aligned_file(name: str) -> Path | None:
    """The file of an encoder that comes with the package; None if there is none of that name."""
    return FOLDER / f"{name}.safetensors" if name in aligned_names() else None


def split_precision(name: str) -> tuple[str, Precision]:
    """``minilm-float32`` is minilm at float32, unless a folder of that whole name exists."""
    for precision in Precision:
        base = name.removesuffix(f"-{precision.value}")
        if base not in (name, "") and not Path(name).exists():
            return base, precision
    return name, Precision.INT8


def absolute_name(name: str) -> str:
    """A folder's name so that it is found from anywhere; any other name as it is."""
    base, _ = split_precision(name)
    if base and Path(base).exists():
        return str(Path(base).resolve()) + name.removeprefix(base)
    return name


def find_checkpoint(name: str) -> Path:
    """The checkpoint folder that ``name`` stands for or is aligned to, fetched if need be."""
    if (path := aligned_file(name)) is not None:
        return find_checkpoint(read_provenance(path).base)
    folder = Path(name)
    if folder.exists():
        if not is_checkpoint(folder):
            raise EncoderError(f"{folder}: neither an encoder folder nor a checkpoint")
        return folder
    if name in CATALOG or HUB_ID.fullmatch(name):
        return fetch(name, CATALOG.get(name))
    raise EncoderError(
        f"no encoder {name!r}: not a folder here, not one of "
        f"{', '.join([*CATALOG, *aligned_names()])}, "
        "and not a hub id (owner/name)"
    )


def cache_key(name: str) -> str:
    """A folder name that changes with the checkpoint: what is fetched never changes."""
    if (path := aligned_file(name)) is not None:
        return f"{name}-{sha256_of(path)[:16]}"
    folder = Path(name)
    if not folder.exists():
        digest = CATALOG[name].sha256[:8] if name in CATALOG else "hub"
        return f"{name.replace('/', '--')}-{digest}"
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".txt", ".safetensors") and path.is_file():
            content.update(f"{path.relative_to(folder)} {sha256_of(path)}\n".encode())
    return f"{folder.resolve().name}-{content.hexdigest()[:16]}"


def is_intact(folder: Path) -> bool:
    """Whether a cached encoder is there and undamaged; a damaged one is made anew."""
    if not is_encoder_folder(folder):
        return False
    try:
        open_encoder(folder)
    except EncoderError as error:
        note(f"{error} (doing so)")
        return False
    return True
