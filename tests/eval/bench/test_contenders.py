"""The line protocol, spoken to real processes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trimseek.child import module_command
from trimseek.encoders import QueryEncoder
from trimseek.encoders.cached import fingerprint
from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.folder import open_encoder, read_weights
from trimseek.errors import ConfigError, EncoderError, WorkerError
from trimseek.eval.bench.contenders import (
    Contender,
    PeerContender,
    TrimseekContender,
    WorkerProcess,
    base_checkpoint,
    check_peers,
    open_peers,
)
from trimseek.eval.bench.workers.backends import PEERS, Setting
from trimseek.eval.quality.retrieval import EXACT, build_index

TEXTS = ["split a shell command into words", "temporary folder", "limit how long it may take"]


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own environment, which has transformers and torch, as that of the peers."""
    monkeypatch.setenv("TRIMSEEK_PEERS", sys.prefix)


@pytest.fixture(scope="module")
def ours(minilm: Path) -> Iterator[Contender]:
    contender = TrimseekContender("minilm-int8", minilm)
    yield contender
    contender.close()


def test_our_worker_encodes_as_the_encoder_does(ours: Contender, minilm: Path) -> None:
    expected = QueryEncoder(minilm).encode(TEXTS).vectors
    np.testing.assert_array_equal(ours.encode(TEXTS, "query"), expected)
    assert ours.encoder_bytes == (minilm / "model.onnx").stat().st_size
    assert "onnxruntime" in ours.versions


def test_times_are_given_for_each_batch(ours: Contender) -> None:
    assert len(ours.time(TEXTS, "query", batch=1, warm_up=1)) == 3
    assert len(ours.time(TEXTS, "query", batch=2, warm_up=0)) == 2
    (whole,) = ours.time(TEXTS, "document", batch=None, warm_up=0)
    assert whole > 0


def test_a_query_is_encoded_and_searched(ours: Contender, tmp_path: Path) -> None:
    path = tmp_path / "i.faiss"
    build_index(EXACT, ours.encode(TEXTS, "document")).write(path)
    ours.open_index(path)
    times = ours.query(TEXTS, path, k=2, warm_up=2)
    assert {name: len(seconds) for name, seconds in times.items()} == {
        "encode": 3,
        "search": 3,
        "total": 3,
    }
    for encode, search, total in zip(*times.values(), strict=True):
        assert total == pytest.approx(encode + search)


def test_clients_ask_again_when_answered(ours: Contender) -> None:
    loop = ours.clients(TEXTS, 4, 0.2)
    assert loop["seconds"] >= 0.2
    assert len(loop["latencies"]) >= 4
    assert all(0 < seconds <= loop["seconds"] for seconds in loop["latencies"])


def test_memory_is_the_workers_own(ours: Contender) -> None:
    assert 30e6 < ours.peak_memory(reset=True) < 1e9


def test_a_request_that_fails_leaves_the_worker_alive(ours: Contender, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="trimseek: FileNotFoundError"):
        ours.open_index(tmp_path / "missing.faiss")
    assert ours.encode(TEXTS[:1], "query").shape == (1, 384)


def test_a_worker_that_dies_says_what_it_last_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('out of luck')"]
    with pytest.raises(WorkerError, match="x: its process ended with status 1: out of luck"):
        WorkerProcess("x", command, Setting(str(tmp_path), 1))


def test_a_backend_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"trimseek: EncoderError: .*encoder\.json"):
        WorkerProcess(
            "trimseek", module_command("trimseek.eval.bench.workers"), Setting(str(tmp_path), 1)
        )


@pytest.mark.slow  # each imports transformers and torch
@pytest.mark.usefixtures("own_environment")
def test_peers_of_the_same_weights(minilm_float32: Path, minilm_checkpoint: Path) -> None:
    """Those that need transformers and torch alone; one that needs more is reported."""
    card = open_encoder(minilm_float32)
    names = ["transformers", "torch-int8", "fastembed"]
    running, reasons = open_peers(names, card, minilm_checkpoint)
    try:
        assert list(reasons) == ["fastembed"]
        assert "ModuleNotFoundError: No module named" in reasons["fastembed"]
        expected = QueryEncoder(minilm_float32).encode(TEXTS).vectors
        plain, int8 = running
        assert (plain.precision, int8.precision) == ("float32", "int8")
        assert (plain.encode(TEXTS, "query") * expected).sum(1).min() > 0.99999
        assert 0.9 < (int8.encode(TEXTS, "query") * expected).sum(1).min() < 0.999
        assert int8.encoder_bytes < plain.encoder_bytes
        assert plain.fingerprint != int8.fingerprint
    finally:
        for peer in running:
            peer.close()


@pytest.mark.peers
@pytest.mark.parametrize("name", list(PEERS))
def test_every_peer_finds_what_the_encoder_finds(
    name: str, minilm_float32: Path, minilm_checkpoint: Path
) -> None:
    """Long texts, too: a peer that cut them at another token would be another encoder."""
    texts = [*TEXTS, " ".join(TEXTS * 30), " ".join(TEXTS * 60)]
    expected = QueryEncoder(minilm_float32).encode(texts).vectors
    peer = PeerContender(name, open_encoder(minilm_float32), minilm_checkpoint)
    try:
        for role in ("query", "document"):
            cosines = (peer.encode(texts, role) * expected).sum(1)
            assert cosines.min() > (0.9 if peer.precision == "int8" else 0.9999)
        assert len(peer.clients(TEXTS, 2, 0.1)["latencies"]) >= 2
    finally:
        peer.close()


def test_unknown_peers_and_no_environment(
    minilm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    card = open_encoder(minilm)
    monkeypatch.setenv("TRIMSEEK_PEERS", sys.prefix)
    with pytest.raises(ConfigError, match="unknown peer 'spacy'; there are transformers, "):
        check_peers(["spacy"], card)
    monkeypatch.setenv("TRIMSEEK_PEERS", str(tmp_path))
    with pytest.raises(ConfigError, match="python: missing; `make peers`"):
        check_peers(["transformers"], card)
    check_peers([], card)


def test_a_checkpoint_of_another_encoder_is_refused(
    tiny_encoder: Path, minilm_checkpoint: Path
) -> None:
    with pytest.raises(EncoderError, match="not the checkpoint that"):
        base_checkpoint(open_encoder(tiny_encoder), minilm_checkpoint)


def test_fingerprints_tell_encoders_apart(minilm: Path, minilm_float32: Path) -> None:
    cards = [open_encoder(folder) for folder in (minilm, minilm_float32)]
    assert len({fingerprint(card) for card in cards}) == 2
    assert fingerprint(cards[0]) == fingerprint(open_encoder(minilm))


def test_the_work_of_minilm(minilm: Path) -> None:
    """6 layers of 12 x 384^2 weights; attention adds 2 x 384 for each pair of tokens."""
    weights = read_weights(minilm)
    assert multiply_accumulates(weights, [1]) == 6 * (12 * 384**2 + 2 * 384)
    assert multiply_accumulates(weights, [10, 20]) == 6 * (30 * 12 * 384**2 + (100 + 400) * 2 * 384)
