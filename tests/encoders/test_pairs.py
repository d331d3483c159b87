"""Pairs of encoders: what a name stands for, and the indexes that record one."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import trimseek
from tests.conftest import Run, write_jsonl
from trimseek.encoders import find_encoder, open_encoder
from trimseek.encoders.pairs import (
    CHOICES,
    FOR_DOCUMENTS,
    Pair,
    check_pair,
    encoder_pair,
    query_encoder_name,
    split_pair,
)
from trimseek.errors import EncoderError
from trimseek.indexer.card import read_card

PAIR = "minilm-int8+minilm-swift"
ROWS = [{"id": f"d{i}", "text": text} for i, text in enumerate(("a red cat", "the blue sea"))]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("minilm", ("minilm", "minilm")),
        (PAIR, ("minilm-int8", "minilm-swift")),
        ("balanced", ("minilm-int8", "minilm-swift")),
        ("best", ("minilm-int8", "minilm-int8")),
        ("minilm-brief-int8", ("minilm-brief-int8", "minilm-swift")),
        ("minilm-brief+minilm-brief", ("minilm-brief", "minilm-brief")),
    ],
)
def test_what_a_name_stands_for(name: str, parts: Sequence[str]) -> None:
    assert split_pair(name) == Pair(*parts)


def test_a_folder_may_have_a_plus_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a+b").mkdir()
    assert encoder_pair("a+b") == Pair(str(tmp_path / "a+b"), str(tmp_path / "a+b"))


def test_dimensions_and_precisions_of_both() -> None:
    assert encoder_pair("minilm-float32+minilm-swift", 128) == Pair(
        "minilm-dim128-float32", "minilm-swift-dim128"
    )
    assert query_encoder_name("fast") == CHOICES["fast"].queries
    assert query_encoder_name("minilm-brief") == "minilm-brief"


@pytest.mark.usefixtures("minilm")
@pytest.mark.parametrize("name", [*CHOICES, *FOR_DOCUMENTS])
def test_both_of_a_choice_are_of_one_space(name: str) -> None:
    pair = encoder_pair(name)
    check_pair(pair, open_encoder(find_encoder(pair.documents)).space)


def test_two_spaces_are_refused(tiny_encoder: Path, other_encoder: Path) -> None:
    pair = Pair(str(tiny_encoder), str(other_encoder))
    with pytest.raises(EncoderError, match="different spaces"):
        check_pair(pair, open_encoder(tiny_encoder).space)


def test_half_a_pair_is_refused(tmp_path: Path, tiny_encoder: Path, run: Run) -> None:
    write_jsonl(tmp_path / "docs.jsonl", ROWS)
    for name in (f"{tiny_encoder}+", f"+{tiny_encoder}"):
        done = run("index", "docs.jsonl", "-o", "index", "--encoder", name)
        assert done.returncode == 2
        assert "half of the encoder has no name" in done.stderr
        assert not (tmp_path / "index").exists()


@pytest.mark.usefixtures("minilm")
def test_an_index_of_a_pair(tmp_path: Path, run: Run) -> None:
    write_jsonl(tmp_path / "docs.jsonl", ROWS)
    done = run("index", "docs.jsonl", "-o", "index", "--encoder", "balanced")
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "index")
    assert (card.encoder, card.queries) == ("minilm-int8", "minilm-swift")
    info = json.loads(run("info", "index", "--json").stdout)
    assert (info["encoder"], info["queries"]) == ("minilm-int8", "minilm-swift")

    def vectors(*words: str) -> list[float]:
        found = run("search", "index", "sea", "--mode", "dense", "--json", *words).stdout
        return [hit["score"] for hit in json.loads(found)["hits"]]

    own = vectors()
    assert own == vectors("--query-encoder", "minilm-swift")
    assert own == vectors("--query-encoder", "balanced")
    assert own != vectors("--query-encoder", "best")
    assert vectors("--query-encoder", "best") == vectors("--query-encoder", "minilm-int8")
    # again: without a name, with the documents' alone, with the same pair; and with another
    for words in ([], ["--encoder", "minilm-int8"], ["--encoder", "balanced"]):
        assert run("index", "docs.jsonl", "-o", "index", *words).returncode == 0
    assert read_card(tmp_path / "index") == card
    other = run("index", "docs.jsonl", "-o", "index", "--encoder", "minilm-int8+minilm-dash")
    assert other.returncode == 2
    assert "made with minilm-int8+minilm-swift, not minilm-int8+minilm-dash;" in other.stderr
    assert run("reembed", "index", "--encoder", "minilm-int8+minilm-dash").returncode == 0
    assert read_card(tmp_path / "index").query_encoder == "minilm-dash"
    assert run("reembed", "index", "--encoder", "minilm-int8").returncode == 0
    assert read_card(tmp_path / "index").queries == ""
    brief = run("index", "docs.jsonl", "-o", "index", "--encoder", "minilm-brief")
    assert brief.returncode == 2
    assert "made with minilm-int8, not minilm-brief+minilm-swift;" in brief.stderr


@pytest.mark.usefixtures("minilm")
def test_the_same_from_python(tmp_path: Path) -> None:
    with trimseek.create_index(tmp_path / "index", ROWS, encoder=PAIR) as index:
        assert index.search("sea").hits[0].id == "d1"
        assert index.summary().queries == "minilm-swift"
    with trimseek.open_index(tmp_path / "index", query_encoder="best") as index:
        assert index.searcher.encoder_name == "minilm-int8"


def test_an_index_opens_no_relative_query_encoder(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    """An index may be somebody else's."""
    write_jsonl(tmp_path / "docs.jsonl", ROWS)
    assert run("index", "docs.jsonl", "-o", "index", "--encoder", tiny_encoder).returncode == 0
    card = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps(card | {"queries": "some/model"}))
    done = run("search", "index", "sea")
    assert done.returncode == 2
    assert "its encoder 'some/model' is not here" in done.stderr
    # a further run needs no encoder of queries, and fetches none
    again = run("index", "docs.jsonl", "-o", "index")
    assert again.returncode == 0, again.stderr
    assert "2 unchanged" in again.stderr
