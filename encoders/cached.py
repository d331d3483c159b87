"""A cache of vectors, so that a second benchmark or training need not encode its texts again.

A cache folder is named for the encoder and the texts. It holds one file for every ``PART`` texts,
so that a run goes on where an interrupted one stopped.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trimseek.atomic import atomic_file, make_folder
from trimseek.console import note, progress
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.encoder import Encoder
from trimseek.encoders.runtime import arithmetic
from trimseek.encoders.weights import FloatArray
from trimseek.settings import load_settings
from trimseek.time_limit import check_time

PART = 1024  # texts in a file
STEP = 128  # texts encoded between checks of the time limit

Encode = Callable[[Sequence[str]], FloatArray]


def cache_folder() -> Path:
    """$TRIMSEEK_HOME/embeddings."""
    return load_settings().home / "embeddings"


def text_hash(texts: Sequence[str]) -> str:
    """A hash of the texts and their order."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)} ".encode() + encoded)
    return digest.hexdigest()[:16]


def embed(
    texts: Sequence[str],
    encode: Encode,
    *,
    dim: int,
    fingerprint: str,
    label: str,
    cached: bool = True,
) -> FloatArray:
    """Vectors ``(n, dim) float32`` of the texts, read from the cache as far as they are in it.

    ``fingerprint`` stands for the encoder and its role: it changes with anything that changes a
    vector. OutOfTimeError when a ``time_limit`` passes; finished parts stay in the cache.
    """
    folder = cache_folder() / f"{fingerprint}-{text_hash(texts)}"
    if cached:
        make_folder(folder)
    parts = []
    with progress(label, len(texts)) as ticker:
        for start in range(0, len(texts), PART):
            part = texts[start : start + PART]
            path = folder / f"{start // PART}.npy"
            vectors = read_part(path, (len(part), dim)) if cached else None
            if vectors is None:
                vectors = encode_part(part, encode, ticker.advance)
                if cached:
                    write_part(path, vectors)
            else:
                ticker.advance(len(part))
            parts.append(vectors)
    return np.concatenate(parts)


def encode_part(texts: Sequence[str], encode: Encode, advance: Callable[[int], None]) -> FloatArray:
    """Vectors of the texts; ``advance`` gets the number of texts of every step."""
    steps = []
    for start in range(0, len(texts), STEP):
        check_time()
        step = texts[start : start + STEP]
        steps.append(encode(step))
        advance(len(step))
    return np.concatenate(steps)


def embed_with(
    encoder: Encoder, texts: Sequence[str], label: str, *, cached: bool = True
) -> FloatArray:
    """As ``embed``, with an encoder; its role is part of the fingerprint."""
    return embed(
        texts,
        lambda part: encoder.encode(part).vectors,
        dim=encoder.dim,
        fingerprint=f"{fingerprint(encoder.card)}-{encoder.role}",
        label=label,
        cached=cached,
    )


def read_part(path: Path, shape: tuple[int, int]) -> FloatArray | None:
    """The vectors in a file; None, with a note, if it is damaged, and None if it is missing."""
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
    """Write a file of vectors, wholly or not at all."""
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)


def fingerprint(card: EncoderCard) -> str:
    """A hash of all that an encoder's vectors depend on: files, limits, this machine's arithmetic.

    The name is not part of it, so that a copy of the encoder shares the cache.
    """
    numbers = arithmetic(card.quantization)
    parts = (card.sha256, card.max_tokens, card.prompts, card.precision, numbers)
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return digest[:20]
