"""Run the service: one socket, one process or several, drained on SIGTERM."""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.indexes import Indexes, open_searchers
from api.keys import read_keys
from api.service import Service
from api.settings import LOOPBACK, ServiceSettings
from trimseek.console import note
from trimseek.errors import ConfigError
from trimseek.settings import make_settings

# What the processes of --workers are told: folders and settings, as JSON.
TOLD = "TRIMSEEK_SERVE"
DRAINING = Event()  # this process is about to end
BACKLOG = 2048  # connections
LOOK, RESTART = 0.2, 1.0  # seconds


def open_service(folders: Sequence[Path], settings: ServiceSettings) -> Service:
    """Open everything that is served; ConfigError, IndexFolderError."""
    if not folders and settings.data is None:
        raise ConfigError("nothing to serve: give an index folder, or --data FOLDER")
    keys = read_keys(settings.keys_file, settings.keys)
    searchers = open_searchers(folders, settings.query_encoder)
    indexes = Indexes(searchers, settings.data, settings.query_encoder)
    return Service(indexes, settings, keys, DRAINING)


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


class Server(uvicorn.Server):
    """Says that it is not ready first, serves on for the notice, then drains."""

    notice = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        again = DRAINING.is_set()
        DRAINING.set()
        if again or not self.notice or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
        else:
            asyncio.get_running_loop().call_later(self.notice, super().handle_exit, sig, frame)


def serve(folders: Sequence[Path], settings: ServiceSettings) -> None:
    """Answer until SIGTERM or SIGINT; requests under way are finished first."""
    bound = bind(settings.host, settings.port)
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    service = open_service(folders, settings)
    names = ", ".join(service.indexes.names()) or "no index yet"
    if not service.keys and settings.host not in LOOPBACK:
        note("there are no API keys: whoever reaches this address can read (see trimseek key)")
    note(f"serving {names} at http://{shown}:{port}")
    if settings.workers == 1:
        run(service, bound)
        return
    service.close()
    bound.listen(BACKLOG)
    told = {"folders": [str(each) for each in folders], "socket": bound.fileno()}
    told["settings"] = settings.model_dump(mode="json")
    Workers(settings.workers, os.environ | {TOLD: json.dumps(told)}, bound.fileno()).run()


class Workers:
    """Processes that serve one socket; one that dies is started again, until SIGTERM."""

    def __init__(self, count: int, environment: dict[str, str], socket_number: int) -> None:
        self.environment, self.socket_number = environment, socket_number
        self.ending = False
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self.end)
        self.processes = [self.start() for _ in range(count)]

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "api.server"],
            env=self.environment,
            pass_fds=[self.socket_number],
            start_new_session=True,
        )

    def end(self, *_: object) -> None:
        self.ending = True
        for each in self.processes:
            each.terminate()

    def run(self) -> None:
        while not self.ending:
            time.sleep(LOOK)
            for i, each in enumerate(self.processes):
                if each.poll() is not None and not self.ending:
                    note(f"a worker ended with {each.returncode}; starting another")
                    time.sleep(RESTART)
                    self.processes[i] = self.start()
        statuses = [each.wait() for each in self.processes]
        # one that had not begun to serve was ended by the signal itself
        sys.exit(next((each for each in statuses if each not in (0, -signal.SIGTERM)), 0))


def worker() -> None:
    """One process of several."""
    told = json.loads(os.environ[TOLD])
    settings = make_settings(ServiceSettings, **told["settings"])
    service = open_service([Path(each) for each in told["folders"]], settings)
    run(service, socket.socket(fileno=told["socket"]))


def run(service: Service, bound: socket.socket) -> None:
    start_logging(service.settings)
    # uvicorn drains on SIGTERM, then raises the signal again, which lands here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(uvicorn_config(create_app(service), service.settings))
    server.notice = service.settings.notice
    # what is there until the end is not looked through again while somebody waits for an answer
    gc.collect()
    gc.freeze()
    server.run(sockets=[bound])


def uvicorn_config(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain),
        backlog=BACKLOG,
    )


def start_logging(settings: ServiceSettings) -> None:
    """One line each, to stderr; as JSON if that is asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests = logging.getLogger("trimseek.access")
    requests.handlers, requests.propagate = [handler], False
    requests.setLevel(logging.INFO)
    errors = logging.StreamHandler(sys.stderr)
    errors.setFormatter(Lines(as_json=settings.log == "json"))
    for name in ("trimseek.api", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [errors], False
        logger.setLevel(logging.WARNING)


class Lines(logging.Formatter):
    """A warning or an error, with its traceback: that stays on this machine."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__("%(levelname)s %(message)s")
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self.as_json:
            return text
        return json.dumps({"time": record.created, "level": record.levelname, "message": text})


if __name__ == "__main__":
    worker()
