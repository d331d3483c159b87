"""Run the service: one socket, one process, drained on SIGTERM."""

import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn

from api.app import create_app
from search import Searcher
from trimseek.console import note
from trimseek.errors import ConfigError

DRAIN = 30  # seconds that requests under way are given on SIGTERM


def open_searchers(folders: Sequence[Path], query_encoder: str | None) -> dict[str, Searcher]:
    """Open the indexes under their folders' names; ConfigError if two have the same."""
    by_name: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in by_name:
            raise ConfigError(f"{by_name[name]} and {folder} are both called {name!r}; rename one")
        by_name[name] = folder
    return {name: Searcher(folder, query_encoder) for name, folder in by_name.items()}


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded; ConfigError if it is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port"
        ) from None
    return bound


def serve(searchers: Mapping[str, Searcher], bound: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; requests under way are finished first."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        create_app(searchers),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN,
    )
    # uvicorn drains on SIGTERM, then raises the signal again, which lands here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    note(f"serving {', '.join(searchers)} at http://{shown}:{port}")
    uvicorn.Server(config).run(sockets=[bound])
