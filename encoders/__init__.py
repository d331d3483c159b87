"""Text to vectors, and how an encoder is made small."""

from typing import TYPE_CHECKING

from trimseek.lazy import lazy_names

if TYPE_CHECKING:
    from trimseek.encoders.card import EncoderCard
    from trimseek.encoders.catalog import DEFAULT_ENCODER, find_encoder
    from trimseek.encoders.checkpoint import Checkpoint, read_checkpoint
    from trimseek.encoders.encoder import DocumentEncoder, Encoded, Encoder, QueryEncoder
    from trimseek.encoders.folder import open_encoder, write_encoder
    from trimseek.encoders.graph import build_graph
    from trimseek.encoders.pooling import Pooling
    from trimseek.encoders.quantize import Precision, Quantization
    from trimseek.encoders.weights import EncoderWeights

__all__ = [
    "DEFAULT_ENCODER",
    "Checkpoint",
    "DocumentEncoder",
    "Encoded",
    "Encoder",
    "EncoderCard",
    "EncoderWeights",
    "Pooling",
    "Precision",
    "Quantization",
    "QueryEncoder",
    "build_graph",
    "find_encoder",
    "open_encoder",
    "read_checkpoint",
    "write_encoder",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Checkpoint": "trimseek.encoders.checkpoint",
        "DEFAULT_ENCODER": "trimseek.encoders.catalog",
        "DocumentEncoder": "trimseek.encoders.encoder",
        "Encoded": "trimseek.encoders.encoder",
        "Encoder": "trimseek.encoders.encoder",
        "EncoderCard": "trimseek.encoders.card",
        "EncoderWeights": "trimseek.encoders.weights",
        "Pooling": "trimseek.encoders.pooling",
        "Precision": "trimseek.encoders.quantize",
        "Quantization": "trimseek.encoders.quantize",
        "QueryEncoder": "trimseek.encoders.encoder",
        "build_graph": "trimseek.encoders.graph",
        "find_encoder": "trimseek.encoders.catalog",
        "open_encoder": "trimseek.encoders.folder",
        "read_checkpoint": "trimseek.encoders.checkpoint",
        "write_encoder": "trimseek.encoders.folder",
    },
)
