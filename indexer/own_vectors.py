"""Vectors that come with documents, in the place of those that the index's encoder would make."""

from dataclasses import replace

import numpy as np

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError
from trimseek.indexer.documents import Document, place_of

UNIT = 1e-3  # how far from 1 a length may be: vectors are stored as float16
LARGEST = 65504.0  # of a float16
SCALED = "their vectors were not of unit length, and were scaled to it"


def with_checked_vector(document: Document, encoder: EncoderCard) -> tuple[Document, bool]:
    """The document with its vector as it is stored, and whether it was scaled to unit length.

    CorpusError for a vector of another size, one that is not finite, or zero.
    """
    if document.vector is None:
        return document, False
    vector, scaled = checked_vector(document.vector, encoder, place_of(document))
    return replace(document, vector=tuple(vector.tolist())), scaled


def checked_vector(
    given: tuple[float, ...], encoder: EncoderCard, where: str
) -> tuple[FloatArray, bool]:
    """A vector ``(dim,) float32`` of an encoder's space, and whether it was scaled to unit length.

    CorpusError as ``with_checked_vector``; it begins with ``where``.
    """
    vector = np.array(given, np.float64)
    if len(vector) != encoder.vector_dim:
        raise CorpusError(
            f"{where}: a vector of {len(vector)} numbers; the index has {encoder.vector_dim}"
        )
    wrong = np.flatnonzero(~(np.abs(vector) <= LARGEST))
    if len(wrong):
        raise CorpusError(
            f"{where}: vector[{wrong[0]}] is {vector[wrong[0]]:g}, which is no number of a vector"
        )
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise CorpusError(f"{where}: the vector is zero")
    scaled = encoder.normalize and abs(length - 1) > UNIT
    if scaled:
        vector /= length
    return vector.astype(np.float32), scaled
