"""Every error that trimseek raises on purpose.

A message is one line: what is wrong, where, and what to do about it. The command line prints it
and exits with ``exit_code``; ``trimseek.api.errors`` maps each class to an HTTP status.
"""

import sys

from trimseek.printable import printable


def print_error(message: str) -> None:
    """Write an error's one line to stderr, as every command does."""
    sys.stderr.write("trimseek: " + printable(" ".join(message.split())) + "\n")


class TrimseekError(Exception):
    """The base of all. ``exit_code`` 2 is the user's mistake, 1 a failure that is not."""

    exit_code = 2


class ConfigError(TrimseekError):
    """A setting, a flag or an environment variable that makes no sense."""


class MissingExtraError(TrimseekError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'trimseek[{extra}]'")


class CorpusError(TrimseekError):
    """A corpus or a test collection that cannot be read as asked."""


class EncoderError(TrimseekError):
    """A checkpoint or an encoder folder that cannot be used."""


class BudgetError(TrimseekError):
    """No encoder was found that keeps to the budget."""


class OutOfTimeError(TrimseekError):
    """Work was not done within its time limit."""


class DownloadError(TrimseekError):
    """A model could not be fetched from anywhere."""

    exit_code = 1


class WorkerError(TrimseekError):
    """A process of a benchmark could not start, refused a request, or died."""

    exit_code = 1


class ServiceError(TrimseekError):
    """A service that should be there does not answer."""

    exit_code = 1


class IndexFolderError(TrimseekError):
    """An index folder that is missing, damaged, newer than this version, or of another space."""


class IndexExistsError(IndexFolderError):
    """An index is to be made where something is already."""


class ReplacedError(IndexFolderError):
    """Another index has taken the place of the one that the work had begun with."""


class MissingShardsError(TrimseekError):
    """Shards of an index in a cluster that do not answer, of what needs all of them."""

    exit_code = 1


class UnknownIndexError(TrimseekError):
    """The service has no index of that name."""


class UnknownDocumentError(TrimseekError):
    """The index has no document of that id."""


class QueryError(TrimseekError):
    """A query or a parameter of a search that cannot be answered."""


class StorageError(TrimseekError):
    """The disk is full or failed; what was committed before is intact."""

    exit_code = 1
