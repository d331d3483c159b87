"""Prompts are part of an index: documents never get different ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimseek
from tests.conftest import ingest, write_jsonl
from trimseek.encoders import DocumentEncoder
from trimseek.errors import IndexFolderError
from trimseek.indexer.card import read_card
from trimseek.indexer.store import Store
from trimseek.indexer.writer import IndexWriter

ROWS = [{"id": "a", "text": "the shell"}, {"id": "b", "text": "a list of words"}]


def vectors(folder: Path) -> np.ndarray[Any, Any]:
    with Store(folder) as store:
        return np.concatenate([part.vectors for part in store.vectors(0, 32)])


def change_prompt(encoder: Path, prompt: str) -> None:
    card = json.loads((encoder / "encoder.json").read_text())
    card["prompts"]["document"] = prompt
    (encoder / "encoder.json").write_text(json.dumps(card))


def test_given_prompts_are_kept_and_used(
    tmp_path: Path, tiny_encoder: Path, run: Callable[..., Any]
) -> None:
    write_jsonl(tmp_path / "c.jsonl", ROWS)
    write_jsonl(tmp_path / "more.jsonl", [{"id": "c", "text": "number"}])
    options = ("--query-prompt", "for ", "--document-prompt", "file ")
    done = run("index", "c.jsonl", "i", "--encoder", str(tiny_encoder), *options)
    assert done.returncode == 0, done.stderr
    assert "query 'for ', document 'file '" in run("info", "i").stdout
    assert run("add", "i", "more.jsonl").returncode == 0
    assert run("index", "c.jsonl", "i").returncode == 0
    expected = DocumentEncoder(tiny_encoder).encode(
        ["file the shell", "file a list of words", "file number"]
    )
    np.testing.assert_allclose(vectors(tmp_path / "i"), expected.vectors, atol=1e-3)
    with trimseek.open_index(tmp_path / "i") as index:
        assert index.searcher.encoder.prompt == "for "
    assert run("verify", "i", "--deep").returncode == 0
    done = run("index", "c.jsonl", "i", "--document-prompt", "other ")
    assert done.returncode == 2
    assert "its document prompt is 'file ', not 'other '" in done.stderr
    done = run("reembed", "i", "--encoder", str(tiny_encoder), "--document-prompt", "words ")
    assert done.returncode == 0, done.stderr
    prompts = read_card(tmp_path / "i").prompts
    assert prompts is not None
    assert (prompts.query, prompts.document) == ("", "words ")


def test_an_encoder_whose_prompt_has_changed_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", ROWS)
    encoder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    ingest(corpus, tmp_path / "i", encoder)
    change_prompt(encoder, "file ")
    with pytest.raises(IndexFolderError, match="documents have the prompt '', and new ones would"):
        ingest(corpus, tmp_path / "i", encoder)
    with pytest.raises(IndexFolderError, match="trimseek reembed"):
        IndexWriter(tmp_path / "i", DocumentEncoder(encoder))
    with trimseek.open_index(tmp_path / "i") as index:
        assert index.search("shell", 1).hits  # queries have no new prompt
        with pytest.raises(IndexFolderError, match="documents have the prompt ''"):
            index.add(ROWS)


def test_an_index_that_records_no_prompts_is_served_and_written(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", ROWS)
    ingest(corpus, tmp_path / "i", tiny_encoder)
    card = json.loads((tmp_path / "i" / "index.json").read_text())
    del card["prompts"]
    (tmp_path / "i" / "index.json").write_text(json.dumps(card))
    assert ingest(corpus, tmp_path / "i", tiny_encoder).unchanged == 2
    assert trimseek.open_index(tmp_path / "i").summary().prompts == "not recorded"


def test_prompts_in_python(tmp_path: Path, tiny_encoder: Path) -> None:
    made = trimseek.create_index(
        tmp_path / "i", ROWS, encoder=tiny_encoder, query_prompt="for ", document_prompt="file "
    )
    with made as index:
        assert index.searcher.encoder.prompt == "for "
        expected = DocumentEncoder(tiny_encoder).encode(["file the shell", "file a list of words"])
        np.testing.assert_allclose(vectors(tmp_path / "i"), expected.vectors, atol=1e-3)
