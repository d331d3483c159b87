"""The files of a checkpoint folder: JSON, safetensors, tokenizers; each says what is wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from trimseek.atomic import sha256_of
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError

MISSING: Any = object()


def read_json(path: Path, default: Any = MISSING) -> Any:
    """A JSON file; ``default``, if given, where there is none. EncoderError if it is damaged."""
    if default is not MISSING and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path}: cannot be read: {error}") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors file, or the shards that its index names; EncoderError if there is none."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / shard for shard in sorted(set(read_json(index)["weight_map"].values()))]
    if (folder / "pytorch_model.bin").is_file():
        raise EncoderError(
            f"{folder}: only pytorch_model.bin, a pickle, which is never opened; convert it with "
            "transformers: AutoModel.from_pretrained(DIR).save_pretrained(DIR)"
        )
    raise EncoderError(f"{folder}: no model.safetensors; is this a complete checkpoint?")


def read_tensors(files: list[Path]) -> dict[str, FloatArray]:
    """All tensors of the files in their own types; EncoderError naming a damaged file."""
    # takes half a second to import, and what only serves reads no checkpoint
    import ml_dtypes  # noqa: F401 - registers bfloat16, which safetensors then reads

    tensors: dict[str, FloatArray] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    tensors[name] = file.get_tensor(name)
        except (SafetensorError, OSError, TypeError) as error:
            raise EncoderError(f"{path}: damaged or incomplete: {error}; fetch it anew") from error
    return tensors


def combined_sha256(files: list[Path]) -> str:
    """The sha256 of a single file; of several, the sha256 of their joined sha256s."""
    digests = [sha256_of(path) for path in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json; EncoderError if it is damaged or missing."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise EncoderError(f"{path}: damaged or missing: {error}") from error
