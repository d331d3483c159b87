"""Text to vectors, and how an encoder is made small."""

from encoders.card import EncoderCard
from encoders.catalog import DEFAULT_ENCODER, find_encoder
from encoders.checkpoint import Checkpoint, read_checkpoint
from encoders.encoder import DocumentEncoder, Encoded, Encoder, QueryEncoder
from encoders.folder import open_encoder, write_encoder
from encoders.graph import build_graph
from encoders.pooling import Pooling
from encoders.quantize import Precision, Quantization
from encoders.weights import EncoderWeights

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
