"""``trimseek serve``: takes the port, then serves in this process or in several."""

import socket
from collections.abc import Sequence
from pathlib import Path

from trimseek.api.descriptors import room_for_connections
from trimseek.api.settings import LOOPBACK, ServiceSettings
from trimseek.api.workers import supervise
from trimseek.console import note
from trimseek.errors import ConfigError


def serve(folders: Sequence[Path], settings: ServiceSettings) -> None:
    """Answer until SIGTERM or SIGINT; requests under way are finished first.

    ConfigError if the port is taken or there is nothing to serve; IndexFolderError.
    """
    with bind(settings.host, settings.port) as bound:
        host, port = bound.getsockname()[:2]

        def announce(names: Sequence[str], *, keys: bool) -> None:
            if not keys and settings.host not in LOOPBACK:
                note(
                    "there are no API keys: whoever reaches this address can read (see trimseek "
                    "key)"
                )
            served = ", ".join(names) or "no index yet"
            note(f"serving {served} at http://{f'[{host}]' if ':' in host else host}:{port}")

        if settings.processes > 1:
            bound.listen(room_for_connections().waiting)
            supervise(folders, settings, bound, announce)
        else:
            # not what a supervisor needs, and half a second to import
            from trimseek.api.process import open_service, run

            service = open_service(folders, settings)
            announce(service.indexes.names(), keys=bool(service.keys))
            run(service, bound)


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
    bound.set_inheritable(True)
    return bound
