"""An encoder as a Python program uses it: texts to vectors, in both roles."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.encoder import DocumentEncoder, Encoder, QueryEncoder
from trimseek.encoders.folder import open_encoder
from trimseek.encoders.weights import FloatArray


def load_encoder(name: str | Path) -> "TextEncoder":
    """Load an encoder, fetched and built first if need be.

    :param name: "minilm", "minilm-swift", a model folder, an encoder folder or a hub id, with
        ``-int8`` (the default) or ``-float32`` behind it.
    :raises EncoderError: if there is no such encoder, or it is damaged or of an unknown kind.
    :raises DownloadError: if it cannot be fetched from anywhere.
    """
    return TextEncoder(find_encoder(str(name)))


class TextEncoder:
    """Vectors of queries and of documents; safe to call from several threads.

    Vectors have unit length unless the encoder was trained for the plain inner product
    (``card.normalize``), so that their inner product is their cosine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: EncoderCard = open_encoder(folder)

    @property
    def dim(self) -> int:
        """Size of a vector."""
        return self.card.vector_dim

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors ``(n, dim) float32`` of what is searched for, in the order of the texts."""
        return self._queries.encode(as_list(texts)).vectors

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors ``(n, dim) float32`` of what is searched, in the order of the texts.

        What a text has beyond ``card.max_tokens`` tokens is left out.
        """
        return self._documents.encode(as_list(texts)).vectors

    @cached_property
    def _queries(self) -> Encoder:
        return QueryEncoder(self.folder)

    @cached_property
    def _documents(self) -> Encoder:
        prompts = self.card.prompts
        same = prompts.get("query", "") == prompts.get("document", "")
        same = same and not self.card.query_tower
        return self._queries if same else DocumentEncoder(self.folder)


def as_list(texts: Sequence[str]) -> list[str]:
    """The texts; TypeError for a single one, whose letters would be encoded."""
    if isinstance(texts, str):
        raise TypeError("give a list of texts, not one text")
    return list(texts)
