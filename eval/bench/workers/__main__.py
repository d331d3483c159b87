"""Start a worker: python -m workers NAME SETTING, of ``backends.PEERS`` or ``trimseek``."""

import json
import sys

from .backends import Setting, open_backend
from .loop import serve


def main() -> None:
    """Open the encoder and answer requests until stdin ends."""
    name, setting = sys.argv[1:]
    serve(lambda: open_backend(name, Setting(**json.loads(setting))))


if __name__ == "__main__":
    main()
