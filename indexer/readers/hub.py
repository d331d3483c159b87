"""A data set of the hub, or a local folder in its layout, streamed through ``datasets``."""

from collections.abc import Iterator
from pathlib import Path

from encoders.fetch import HUB_TIMEOUT
from indexer.documents import Document, Fields, document_from_row
from trimseek.errors import CorpusError, MissingExtraError


class HubDataset:
    """``hub:NAME`` is a data set's default configuration, ``hub:NAME#CONFIG`` another one."""

    streamed = True

    def __init__(self, reference: str, split: str, fields: Fields) -> None:
        self.name = f"hub:{reference}"
        self._path, _, config = reference.partition("#")
        self._config, self._split, self._fields = config or None, split, fields

    def documents(self) -> Iterator[Document]:
        try:
            import datasets
            from huggingface_hub import HfApi
        except ImportError:
            raise MissingExtraError("reading a data set of the hub", "datasets") from None
        datasets.disable_progress_bars()
        try:
            if not Path(self._path).exists():  # ask first: the library itself tries for long
                HfApi().dataset_info(self._path, timeout=HUB_TIMEOUT)
            rows = datasets.load_dataset(
                self._path, self._config, split=self._split, streaming=True
            )
            for number, row in enumerate(rows, 1):
                yield document_from_row(row, self._fields, number, f"{self.name}: row {number}")
        except CorpusError:
            raise
        except Exception as error:  # the library raises its own, the client's and the system's
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CorpusError(f"{self.name}: cannot be read: {reason}") from error
