"""Vectors of texts, kept so that a second benchmark or training need not encode again.

A cache folder is named for the encoder and the texts, and holds one file for each part of them;
what an interrupted run has encoded is there for the next one.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from encoders.card import EncoderCard
from encoders.encoder import Encoder
from encoders.runtime import arithmetic
from encoders.weights import FloatArray
from trimseek.atomic import atomic_file, make_folder
from trimseek.console import note, progress
from trimseek.settings import load_settings
from trimseek.time_limit import check_time

PART = 1024  # texts in a file
STEP = 128  # texts that are encoded between looks at the clock

Encode = Callable[[Sequence[str]], FloatArray]


def cache_folder() -> Path:
    return load_settings().home / "embeddings"


def text_hash(texts: Sequence[str]) -> str:
    """A hash of the texts and their order."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)} ".encode() + encoded)
    return digest.hexdigest()[:16]


def is_embedded(texts: Sequence[str], fingerprint: str) -> bool:
    """Whether all of the texts' vectors are in the cache."""
    folder = cache_folder() / f"{fingerprint}-{text_hash(texts)}"
    parts = -(-len(texts) // PART)
    return all((folder / f"{part}.npy").is_file() for part in range(parts))


def embed(
    texts: Sequence[str],
    encode: Encode,
    *,
    dim: int,
    fingerprint: str,
    label: str,
    cached: bool = True,
) -> FloatArray:
    """Vectors ``(n, dim) float32`` of the texts, from the cache as far as they are there.

    ``fingerprint`` says what encodes, role included: it changes with anything that changes a
    vector. OutOfTimeError where a ``time_limit`` passes; parts that are whole are kept.
    """
    folder = cache_folder() / f"{fingerprint}-{text_hash(texts)}"
    if cached:
        make_folder(folder)
    parts = []
    with progress(label, len(texts)) as ticker:
        for start in range(0, len(texts), PART):
            wanted = texts[start : start + PART]
            path = folder / f"{start // PART}.npy"
            vectors = read_part(path, (len(wanted), dim)) if cached else None
            if vectors is None:
                steps = []
                for first in range(0, len(wanted), STEP):
                    check_time()
                    step = wanted[first : first + STEP]
                    steps.append(encode(step))
                    ticker.advance(len(step))
                vectors = np.concatenate(steps)
                if cached:
                    write_part(path, vectors)
            else:
                ticker.advance(len(wanted))
            parts.append(vectors)
    return np.concatenate(parts)


def embed_with(
    encoder: Encoder, texts: Sequence[str], label: str, *, cached: bool = True
) -> FloatArray:
    """As ``embed``, with an encoder in the role that it is of."""
    return embed(
        texts,
        lambda part: encoder.encode(part).vectors,
        dim=encoder.dim,
        fingerprint=f"{fingerprint(encoder.card)}-{encoder.role}",
        label=label,
        cached=cached,
    )


def read_part(path: Path, shape: tuple[int, int]) -> FloatArray | None:
    """A part, or None where it is missing or damaged."""
    if not path.is_file():
        return None
    vectors: FloatArray
    try:
        with path.open("rb") as file:
            vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        vectors = np.empty(0, np.float32)
    sound = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32
    sound = sound and vectors.shape == shape
    if not sound or not np.isfinite(vectors).all():
        note(f"{path}: damaged; encoding its texts again")
        return None
    return vectors


def write_part(path: Path, vectors: FloatArray) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)


def fingerprint(card: EncoderCard) -> str:
    """What an encoder's vectors depend on: its files, its limits, this machine's arithmetic.

    Not its name: the same encoder is known again wherever it is.
    """
    numbers = arithmetic(card.quantization)
    parts = (card.sha256, card.max_tokens, card.prompts, card.precision, numbers)
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return digest[:20]
