"""The Ray cluster that this process works with."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimseek.errors import ConfigError, MissingExtraError, ServiceError, TrimseekError

LARGEST_BLOCK = 2**16  # bytes: each batch of documents is a block, so that all encoders get some
ENVIRONMENT = {
    # Ray's proxy is not given up while busy CPUs keep it from starting
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it becomes: no warning
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong is raised
}


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected: to the cluster at an address, else to one that is started here and ends.

    ConfigError where nothing is at the address.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise MissingExtraError("a cluster", "cluster") from None
    address = address or os.environ.get("RAY_ADDRESS")
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        with unsaid():
            if address:
                ray.init(address=address, **options)
            else:
                # "local": not one that `ray start` has left running on this machine
                ray.init(address="local", include_dashboard=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"no Ray cluster at {address or 'this machine'}: {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def unsaid() -> Iterator[None]:
    """What compiled code says on stderr of its settings is not shown; errors are raised."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextmanager
def ray_errors() -> Iterator[None]:
    """Raise the error of ours that made a task of Ray fail; ServiceError for one of Ray's own."""
    from ray.exceptions import RayError

    try:
        yield
    except TrimseekError as error:
        raise plain(error) from None
    except RayError as error:
        own = own_error(error)
        if own is not None:
            raise own from None
        reason = " ".join(str(error).split())
        raise ServiceError(f"Ray: {reason:.500}; run it again to go on") from error


def own_error(error: BaseException | None) -> TrimseekError | None:
    """The error of ours among the causes of an error."""
    seen = 0
    while error is not None and seen < 20:
        cause = getattr(error, "cause", None)
        if isinstance(cause, TrimseekError):
            return plain(cause)
        if isinstance(error, TrimseekError):
            return plain(error)
        error = cause if isinstance(cause, BaseException) else error.__cause__
        seen += 1
    return None


def plain(error: TrimseekError) -> TrimseekError:
    """An error as it was raised, without the traceback that Ray adds to its text."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, TrimseekError) else error


@contextmanager
def quiet_data() -> Iterator[None]:
    """Ray Data without bars of its own, and with small blocks."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = LARGEST_BLOCK
    with quiet("ray.data"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray\.data", category=UserWarning)
        yield


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """A part of Ray that tells only what goes wrong."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
