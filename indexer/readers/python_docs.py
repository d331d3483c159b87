"""``sample:python``: the documentation of the running interpreter's standard library.

One document for each documented public module, class, function and method; its id is its dotted
name.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from trimseek.errors import CorpusError
from trimseek.indexer.documents import Document
from trimseek.indexer.notices import Notices

# Without installed packages, some of which put themselves in the place of standard modules.
BARE = ("-I", "-S")
LISTING = Path(__file__).resolve().with_name("python_library.py")


class PythonDocs:
    """The corpus ``sample:python``."""

    name = "sample:python"
    streamed = False

    def __init__(self) -> None:
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        for line in list_library().splitlines():
            row = json.loads(line)
            yield Document(**row, where=f"sample:python: {row['id']}")


def list_library() -> bytes:
    """What ``python_library.py`` prints; CorpusError if it fails."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *BARE, "-W", "ignore", str(LISTING)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            check=False,
        )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise CorpusError(f"sample:python: cannot read this interpreter's library: {reason}")
    return done.stdout
