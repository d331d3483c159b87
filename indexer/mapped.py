"""Files beside a snapshot that are mapped, not read: processes share their memory."""

import numpy as np
from numpy.typing import NDArray

from trimseek.checked import CheckedFile
from trimseek.errors import IndexFolderError


def mapped(file: CheckedFile) -> NDArray[np.uint8]:
    """A file's bytes; IndexFolderError where it is missing, or has another checksum."""
    path = file.path
    try:
        if not file.has_checksum():
            raise IndexFolderError(f"{path}: damaged: its checksum is not the recorded one")
        return np.asarray(np.memmap(path, np.uint8, "r"))  # a memmap's own slices are slow
    except FileNotFoundError:
        raise IndexFolderError(f"{path}: missing") from None
    except ValueError as error:  # an empty file cannot be mapped
        raise IndexFolderError(f"{path}: damaged: {error}") from error
