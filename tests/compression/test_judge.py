"""What is claimed of an encoder's loss, on text with and without judgements."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.compression.test_search import documents
from trimseek.compression.judge import Judge
from trimseek.compression.trial import Half, unlabelled_trial
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Recipe, Shrinker
from trimseek.encoders.tokens import TextTokenizer
from trimseek.errors import CorpusError

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)


@pytest.fixture
def half() -> Half:
    return unlabelled_trial(documents(160), "mine").choosing


@pytest.fixture
def folders(tiny: Checkpoint, tmp_path: Path, half: Half) -> dict[str, Path]:
    """float32, int8 and half an encoder."""
    found = {"float32": tmp_path / "float32", "int8": tmp_path / "int8", "small": tmp_path / "s"}
    write_encoder(tiny, found["float32"], FLOAT32)
    write_encoder(tiny, found["int8"], Quantization())
    tokenizer = TextTokenizer(tiny.tokenizer, tiny.max_tokens)
    ids = [text.ids for text in tokenizer.encode(list(half.documents.values()))]
    small = Shrinker(tiny, ids).shrink(Recipe(layers=1))
    write_encoder(small.checkpoint, found["small"], small.quantization)
    return found


def with_judgements(half: Half, count: int) -> Half:
    """The first sentences of documents are asked for them."""
    chosen = list(half.documents.items())[:count]
    queries = {f"q{id_}": text.partition(".")[0] for id_, text in chosen}
    return replace(half, queries=queries, qrels={f"q{id_}": {id_: 1} for id_, _ in chosen})


def test_what_loses_more_is_told(half: Half, folders: dict[str, Path]) -> None:
    judge = Judge(half, folders["float32"], None)
    same, little, much = (judge.estimate(folder, 0.95) for folder in folders.values())
    assert same.loss == 0
    assert same.expected.high < little.expected.high < much.expected.low
    assert not much.judged
    assert much.queries > 100
    assert much.interval.low < much.expected.low < much.loss < much.expected.high
    assert judge.confirm(folders["small"], 0.95) == much
    assert judge.estimate(folders["small"], 0.5).expected.high < much.expected.high


def test_documents_may_stay_with_another_encoder(half: Half, folders: dict[str, Path]) -> None:
    alone = Judge(half, folders["float32"], None).estimate(folders["small"], 0.95)
    pair = Judge(half, folders["float32"], folders["int8"]).estimate(folders["small"], 0.95)
    assert pair.loss != alone.loss


def test_many_judgements_confirm_alone_and_few_do_not(half: Half, folders: dict[str, Path]) -> None:
    made = Judge(half, folders["float32"], None).estimate(folders["small"], 0.95)
    many = Judge(with_judgements(half, 60), folders["float32"], None)
    confirmed = many.confirm(folders["small"], 0.95)
    assert confirmed.judged
    assert confirmed.queries == 60
    assert confirmed.expected == confirmed.interval
    chosen = many.estimate(folders["small"], 0.95)
    assert min(made.loss, confirmed.loss) <= chosen.loss <= max(made.loss, confirmed.loss)
    few = Judge(with_judgements(half, 22), folders["float32"], None)
    assert few.confirm(folders["small"], 0.95) == few.estimate(folders["small"], 0.95)


def test_nothing_to_measure_on(half: Half, folders: dict[str, Path]) -> None:
    lost = with_judgements(half, 40)
    lost = replace(lost, qrels={query: {"gone": 1} for query in lost.queries})
    with pytest.raises(CorpusError, match="mine, choosing: float32 finds nothing there"):
        Judge(lost, folders["float32"], None)
    with pytest.raises(CorpusError, match="agree on documents for 0 queries"):
        Judge(replace(half, made={"m": "zzzz"}), folders["float32"], None)
