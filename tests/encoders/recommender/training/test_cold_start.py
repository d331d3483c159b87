"""Items that nobody has taken yet are recommended by their texts, and found by them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trimseek
from tests.conftest import Run, write_jsonl
from tests.logs import IN_GROUP
from trimseek.compression.compress import compress
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import as_checkpoint, open_encoder, write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.recommender.events import read_events
from trimseek.encoders.recommender.items import read_item_texts
from trimseek.encoders.recommender.training.cold_start import with_texts
from trimseek.errors import CorpusError

KINDS = "shell command split words text file number list with the of and".split()


def text_of(item: str) -> str:
    """What an item of a group is called: the words of the group."""
    group = int(item.split()[-1]) // IN_GROUP
    return f"{KINDS[group]} {KINDS[group]} {KINDS[group]} {item[-1]}"


@pytest.fixture(scope="module")
def folder(
    walker: Path, walks_log: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The walker with a tower for texts."""
    log = read_events(walks_log)
    texts = {item: text_of(item) for item in log.items}
    counts = [5] * len(log.items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimseek.encoders.recommender.training.cold_start.FEWEST", 100)
        made = with_texts(
            as_checkpoint(walker), log.items, counts, texts, as_checkpoint(tiny_encoder)
        )
    folder = tmp_path_factory.mktemp("cold") / "walker"
    write_encoder(made, folder, Quantization.everywhere(Precision.FLOAT32))
    return folder


def test_known_items_have_their_rows_and_others_their_texts(folder: Path, walker: Path) -> None:
    before, after = DocumentEncoder(walker), DocumentEncoder(folder)
    assert after.card.space == before.card.space
    assert after.by_text is not None
    texts = ["item 3", "shell shell", "item 40", "a text", "item 3"]
    encoded = after.encode_each(texts)
    plain = before.encode(texts).vectors
    np.testing.assert_array_equal(encoded.vectors[[0, 2, 4]], plain[[0, 2, 4]])
    by_text = after.by_text.encode_each(["shell shell", "a text"])
    np.testing.assert_array_equal(encoded.vectors[[1, 3]], by_text.vectors)
    assert [encoded.tokens[i] for i in (1, 3)] == by_text.tokens


def test_new_items_are_recommended_and_texts_find_items(folder: Path, tmp_path: Path) -> None:
    known = [{"id": f"item {i}", "text": text_of(f"item {i}")} for i in range(12 * IN_GROUP)]
    new = [{"id": f"new {i}", "text": text_of(f"x {i * IN_GROUP}")} for i in range(12)]
    with trimseek.create_index(tmp_path / "shop", [*known, *new], encoder=folder) as shop:
        ranks = []
        for group in range(12):
            first = group * IN_GROUP
            history = [f"item {first + 1}", f"item {first + 4}"]
            hits = [hit.id for hit in shop.recommend_next(history, 200).hits]
            cold = [id_ for id_ in hits if id_.startswith("new")]
            ranks.append(cold.index(f"new {group}"))
        assert np.mean([rank == 0 for rank in ranks]) > 0.6  # of twelve
        found = shop.search(text_of("item 20"), 8, mode="dense").hits
        groups = [int(hit.id.split()[-1]) // IN_GROUP for hit in found if hit.id[0] == "i"]
        assert groups.count(1) > len(groups) / 2
        assert shop.search("command", 3).hits  # by meaning and words


def test_it_stays_when_the_recommender_is_made_smaller(
    folder: Path, walks_log: Path, tmp_path: Path
) -> None:
    made = compress(folder, tmp_path / "small", collection=str(walks_log), max_loss=0.5, minutes=1)
    assert open_encoder(tmp_path / "small").text_tower
    assert made.tried[0].graph_bytes < 1e6  # which is not measured with the texts' encoder
    texts = ["a text", "item 3"]
    before, after = (DocumentEncoder(each).encode(texts).vectors for each in (folder, made.folder))
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    assert QueryEncoder(made.folder).by_text is not None


def test_items_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": 7, "title": "A", "text": "b"},
        {"_id": "x", "title": "only"},
        {"id": "y", "text": "z", "price": 3},
    ]
    texts = read_item_texts(write_jsonl(tmp_path / "items.jsonl", rows))
    assert texts == {"7": "A b", "x": "only", "y": "z"}
    wrong: list[tuple[dict[str, object], str]] = [
        ({"text": "a"}, "1: the id is None"),
        ({"id": "a"}, "1: the item 'a' has no title and no text"),
        ({"id": "a\nb", "text": "t"}, "1: the id .* holds the control character"),
    ]
    for row, message in wrong:
        with pytest.raises(CorpusError, match=message):
            read_item_texts(write_jsonl(tmp_path / "items.jsonl", [row]))
    (tmp_path / "items.jsonl").write_text("{\n")
    with pytest.raises(CorpusError, match="1: not JSON"):
        read_item_texts(tmp_path / "items.jsonl")


def test_too_few_texts_are_told(walker: Path, tiny_encoder: Path) -> None:
    made = as_checkpoint(walker)
    text = as_checkpoint(tiny_encoder)
    with pytest.raises(CorpusError, match="1 items have 3 events and a text"):
        with_texts(made, ["a", "b", "c"], [5, 5, 1], {"a": "t", "c": "t"}, replace(text, name="t"))


def test_the_command_reads_items_before_it_trains(
    run: Run, walks_log: Path, tmp_path: Path
) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": "item 1"}) + "\n")
    made = run("train-recommender", walks_log, "-o", "model", "--items", "items.jsonl")
    assert made.returncode == 2
    assert "items.jsonl:1: the item 'item 1' has no title and no text" in made.stderr
    made = run("train-recommender", walks_log, "-o", "model", "--items", "gone.jsonl")
    assert "gone.jsonl: cannot be read as text" in made.stderr
