"""Files beside a snapshot that are mapped, not read: processes share their memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import sha256_of
from trimseek.errors import IndexFolderError


def mapped(path: Path, sha256: str, *, known: bool) -> NDArray[np.uint8]:
    """A file's bytes; IndexFolderError where it is missing, or has another checksum.

    ``known``: it was checked before.
    """
    try:
        if not known and sha256_of(path) != sha256:
            raise IndexFolderError(f"{path}: damaged: its checksum is not the recorded one")
        return np.asarray(np.memmap(path, np.uint8, "r"))  # a memmap's own slices are slow
    except FileNotFoundError:
        raise IndexFolderError(f"{path}: missing") from None
    except ValueError as error:  # an empty file cannot be mapped
        raise IndexFolderError(f"{path}: damaged: {error}") from error
