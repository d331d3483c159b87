"""Where the service's log lines go."""

import json
import logging
import sys
import time
from collections.abc import Mapping

from trimseek.api.settings import ServiceSettings

access = logging.getLogger("trimseek.access")


def log_request(fields: Mapping[str, object], *, as_json: bool) -> None:
    """One line of a request: its id, method, route, status, milliseconds and what else is given."""
    if as_json:
        access.info(json.dumps({"time": time.time(), **fields}, ensure_ascii=False))
        return
    access.info(
        " ".join(
            f"{name}={value!r}" if name == "query" else f"{name}={value}"
            for name, value in fields.items()
        )
    )


def start_logging(settings: ServiceSettings) -> None:
    """Write requests and errors to stderr, a line each; as JSON if the settings say so."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access.handlers, access.propagate = [handler], False
    access.setLevel(logging.INFO)
    errors = logging.StreamHandler(sys.stderr)
    errors.setFormatter(ErrorFormatter(as_json=settings.log == "json"))
    for name in ("trimseek.api", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [errors], False
        logger.setLevel(logging.WARNING)


class ErrorFormatter(logging.Formatter):
    """Formats a warning or an error with its traceback, which no answer contains."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__("%(levelname)s %(message)s")
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its traceback."""
        text = super().format(record)
        if not self.as_json:
            return text
        return json.dumps({"time": record.created, "level": record.levelname, "message": text})
