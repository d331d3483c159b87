"""The settings that hold everywhere, from the environment (``TRIMSEEK_*``)."""

import os
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from trimseek.errors import ConfigError


def available_cpus() -> int:
    """How many CPUs this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Settings(BaseSettings):
    """What holds in every package.

    ``home`` holds models; ``threads`` drives onnxruntime, FAISS and torch alike; ``peers`` is the
    virtual environment of what `trimseek bench --peer` compares with.
    """

    model_config = SettingsConfigDict(env_prefix="TRIMSEEK_", env_ignore_empty=True)

    home: Path = Field(default_factory=lambda: platformdirs.user_cache_path("trimseek"))
    threads: int = Field(default_factory=available_cpus, ge=1, le=1024)
    peers: Path = Path(".venv-peers")


def load_settings() -> Settings:
    """Read the environment; raise ConfigError naming the variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"TRIMSEEK_{str(first['loc'][0]).upper()}"
        raise ConfigError(f"{name}={first['input']!r}: {first['msg'].lower()}") from None
