from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trimseek
from tests.tiny import tiny_checkpoint
from trimseek.encoders import DocumentEncoder, QueryEncoder, write_encoder
from trimseek.encoders.quantize import Precision, Quantization


def test_both_roles_are_those_of_the_encoders(tmp_path: Path) -> None:
    checkpoint = replace(tiny_checkpoint(), prompts={"query": "file list ", "document": ""})
    write_encoder(checkpoint, tmp_path / "e", Quantization.everywhere(Precision.FLOAT32))
    encoder = trimseek.load_encoder(tmp_path / "e")
    texts = ["the shell command", "words"]
    queries, documents = encoder.encode_queries(texts), encoder.encode_documents(texts)
    assert queries.shape == (2, encoder.dim) == documents.shape
    assert queries.dtype == np.float32
    assert np.array_equal(queries, QueryEncoder(tmp_path / "e").encode(texts).vectors)
    assert np.array_equal(documents, DocumentEncoder(tmp_path / "e").encode(texts).vectors)
    assert not np.allclose(queries, documents)


def test_one_text_is_no_list(tiny_encoder: Path) -> None:
    with pytest.raises(TypeError, match="a list of texts"):
        trimseek.load_encoder(tiny_encoder).encode_queries("text")
    assert trimseek.load_encoder(tiny_encoder).encode_queries([]).shape == (0, 32)
