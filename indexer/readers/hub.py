"""A data set of the hub, or a local folder in its layout, streamed through ``datasets``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimseek.encoders.fetch import HUB_TIMEOUT
from trimseek.errors import CorpusError, MissingExtraError
from trimseek.indexer.documents import Document, ReadOptions, document_from_row
from trimseek.indexer.notices import Notices
from trimseek.indexer.readers.parquet import decoded, without_nan


class HubDataset:
    """``hub:NAME`` is a data set's default configuration, ``hub:NAME#CONFIG`` another one."""

    streamed = True

    def __init__(self, reference: str, options: ReadOptions) -> None:
        self.name = f"hub:{reference}"
        self._path, _, config = reference.partition("#")
        self._config, self._options = config or None, options
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        fields, notices = self._options.fields, Notices(self._options.skip_bad)
        self.notices = notices
        complaint = f"{self.name}: cannot be read"
        rows = hub_rows(self._path, self._config, self._options.split, complaint)
        for number, row in enumerate(rows, 1):
            where = f"{self.name}: row {number}"

            def read(row: Any = row, number: int = number, where: str = where) -> Document:
                plain = decoded(without_nan(row))
                return document_from_row(plain, fields, number, where, notices)

            document = notices.attempt(read)
            if document is not None:
                yield document


def hub_rows(path: str, config: str | None, split: str, complaint: str) -> Iterator[dict[str, Any]]:
    """Rows of one configuration, streamed.

    CorpusError, which begins with ``complaint``, at once when the hub does not answer.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("reading a data set of the hub", "hub") from None
    datasets.disable_progress_bars()
    try:
        if not Path(path).exists():  # ask first: the library itself tries for long
            ask_hub(path)
        yield from datasets.load_dataset(path, config, split=split, streaming=True)
    except Exception as error:  # the library raises its own, the client's and the system's
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CorpusError(f"{complaint}: {reason}") from error


def ask_hub(path: str) -> None:
    """Raise the hub client's error unless the hub has a data set of that name."""
    from huggingface_hub import HfApi

    HfApi().dataset_info(path, timeout=HUB_TIMEOUT)
