"""What an interrupted search leaves, so that the same search goes on from there.

A folder of a JSON file for each candidate that was measured, and the weights of those that were
trained. Others are made again when they are needed, which takes seconds. It is removed when the
search ends, whether it found something or not.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from trimseek import __version__
from trimseek.atomic import make_folder, write_text
from trimseek.compression.budget import Measurement
from trimseek.compression.trial import Half
from trimseek.console import note
from trimseek.encoders.cached import text_hash
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.cpu import cpu_name
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.recipe import Shrunk
from trimseek.encoders.weights import load_weights, save_weights
from trimseek.errors import EncoderError
from trimseek.settings import load_settings

WEIGHTS = ".safetensors"


class Kept(NamedTuple):
    """A candidate as it is kept; ``quantization`` and ``steps`` as in ``Shrunk``."""

    measurement: Measurement
    quantization: Quantization
    steps: tuple[str, ...]


ADAPTER = TypeAdapter(Kept)


class SearchState:
    """The candidates of one search, of this base, trial, machine and version, in the user's folder.

    ``options``: what else measurements depend on, in words.
    """

    def __init__(self, base: Checkpoint, start: Checkpoint, half: Half, options: str) -> None:
        texts = [*half.documents.values(), *half.queries.values(), *half.made.values()]
        made_by = [options, cpu_name(), __version__]
        key = text_hash([base.sha256, start.sha256, *made_by, *texts])
        self.folder = load_settings().home / "searches" / key[:24]
        self._start = start

    def keep(self, key: str, shrunk: Shrunk, measurement: Measurement, *, trained: bool) -> None:
        """Note a candidate under a key, with its weights if it was trained.

        One that was trained with a tokenizer of its own is not noted: it is trained again, from
        where its training is then.
        """
        if trained and shrunk.checkpoint.tokenizer is not self._start.tokenizer:
            return
        path = self._path(key)
        make_folder(self.folder)
        if trained:
            save_weights(shrunk.checkpoint.weights, path.with_suffix(WEIGHTS))
        kept = Kept(measurement, shrunk.quantization, shrunk.steps)
        write_text(path, ADAPTER.dump_json(kept).decode())

    def measured(self, key: str) -> Measurement | None:
        """Of a candidate of that key that was not trained; None where there is none."""
        path = self._path(key)
        kept = None if path.with_suffix(WEIGHTS).exists() else self._read(path)
        return None if kept is None else kept.measurement

    def trained(self) -> Iterator[tuple[Measurement, Shrunk]]:
        """Those that were trained."""
        for path in sorted(self.folder.glob(f"*{WEIGHTS}")):
            kept = self._read(path.with_suffix(".json"))
            if kept is None:
                continue
            try:
                weights = load_weights(path)
            except EncoderError as error:
                note(f"{error}; it is left out")
                continue
            checkpoint = replace(self._start, weights=weights)
            yield kept.measurement, Shrunk(checkpoint, kept.quantization, kept.steps)

    def remove(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{text_hash([key])[:24]}.json"

    def _read(self, path: Path) -> Kept | None:
        """None for a file that is missing or damaged."""
        try:
            return ADAPTER.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
