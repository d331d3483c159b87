"""One process that serves: opens the indexes, answers, and drains on SIGTERM."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from types import FrameType

import uvicorn
from fastapi import FastAPI

from trimseek.api.app import create_app
from trimseek.api.balance import Balance
from trimseek.api.connections import Connection, connection_class
from trimseek.api.descriptors import room_for_connections
from trimseek.api.indexes import Indexes, open_searchers
from trimseek.api.keys import read_keys
from trimseek.api.lane import PlainLane
from trimseek.api.logs import start_logging
from trimseek.api.service import Service
from trimseek.api.settings import ServiceSettings
from trimseek.errors import ConfigError

DRAINING = Event()  # this process is about to end
LEAST_HEAD_SECONDS = 1.0  # for a head to arrive, however short the deadline is


def open_service(
    folders: Sequence[Path],
    settings: ServiceSettings,
    buckets: int | None = None,
    board: Path | None = None,
) -> Service:
    """Open everything that is served; ConfigError, IndexFolderError.

    ``buckets``, ``board``: as ``Service``.
    """
    if not folders and settings.data is None:
        raise ConfigError("nothing to serve: give an index folder, or --data FOLDER")
    keys = read_keys(settings.keys_file, settings.keys)
    searchers = open_searchers(folders, settings.query_encoder)
    indexes = Indexes(searchers, settings.data, settings.query_encoder)
    service = Service(indexes, settings, keys, DRAINING, buckets, board)
    if settings.reranker is not None:
        try:
            service.cross_encoder()  # one that cannot be opened ends the start
        except BaseException:
            service.close()
            raise
    return service


class Server(uvicorn.Server):
    """Says that it is not ready first, serves on for the notice, then drains."""

    notice = 0.0
    balance: Balance | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, those of the other processes too."""
        await super().startup(sockets)
        if self.balance is not None:
            loop = asyncio.get_running_loop()

            def protocol() -> Connection:
                connection: Connection = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
                    config=self.config,
                    server_state=self.server_state,
                    app_state=self.lifespan.state,
                    _loop=loop,
                )
                return connection.take_over()

            self.balance.listen(loop, protocol)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop being ready; drain after the notice, or at once on SIGINT or a second signal."""
        again = DRAINING.is_set()
        DRAINING.set()
        if again or not self.notice or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
        else:
            asyncio.get_running_loop().call_later(self.notice, super().handle_exit, sig, frame)


def run(service: Service, bound: socket.socket, balance: Balance | None = None) -> None:
    """Answer what arrives at a socket until SIGTERM; what is accepted by then is answered.

    ``balance``: with the other processes of the socket; None where there are none.
    """
    start_logging(service.settings)
    # uvicorn drains on SIGTERM, then raises the signal again, which lands here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(uvicorn_config(create_app(service), service, balance))
    server.balance = balance
    server.notice = service.settings.notice
    # what lives until the end is taken out of the garbage collector's rounds
    gc.collect()
    gc.freeze()
    server.run(sockets=[bound])


def uvicorn_config(app: FastAPI, service: Service, balance: Balance | None) -> uvicorn.Config:
    """How uvicorn runs: without its own logs, with our limits."""
    settings, room = service.settings, room_for_connections()
    return uvicorn.Config(
        app,
        http=connection_class(
            max(LEAST_HEAD_SECONDS, settings.deadline), PlainLane(service), balance, room.open
        ),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain),
        backlog=room.waiting,
    )
