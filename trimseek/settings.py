"""The settings that hold everywhere: from the environment (``TRIMSEEK_*``), else a TOML file.

The file is the one that ``TRIMSEEK_CONFIG`` names. What is given on the command line goes before
both; ``trimseek config`` says what is in force, and from where.
"""

import os
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from trimseek.errors import ConfigError

PREFIX = "TRIMSEEK_"
CONFIG = "TRIMSEEK_CONFIG"


def available_cpus() -> int:
    """How many CPUs this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class RuntimeName(str, Enum):
    """What runs encoders: the compiled kernels, or onnxruntime; ``auto`` is the first that can."""

    AUTO = "auto"
    NATIVE = "native"
    ONNX = "onnxruntime"


class Settings(BaseSettings):
    """What holds in every package.

    ``home`` holds models; ``threads`` drives encoders, FAISS and torch alike; ``peers`` is the
    virtual environment of what `trimseek bench --peer` compares with.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    home: Path = Field(default_factory=lambda: platformdirs.user_cache_path("trimseek"))
    threads: int = Field(default_factory=available_cpus, ge=1, le=1024)
    runtime: RuntimeName = RuntimeName.AUTO
    peers: Path = Path(".venv-peers")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, read_config())


S = TypeVar("S", bound=Settings)


def read_config() -> dict[str, Any]:
    """What the TOML file says, if one is named; ConfigError."""
    name = os.environ.get(CONFIG)
    if not name:
        return {}
    try:
        return tomllib.loads(Path(name).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{name}: not TOML: {error}") from error


def make_settings(kind: type[S], **given: Any) -> S:
    """Settings of a kind; what is given is what the command line says. ConfigError says where."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = f"{PREFIX}{name.upper()}"
        where = f"{os.environ.get(CONFIG)}: {name}"
        if name in given:
            where = f"--{name.replace('_', '-')}"
        elif variable in os.environ:
            where = variable
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: there is no such setting") from None
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"{where}={first['input']!r}: {message}") from None


def load_settings() -> Settings:
    """What holds in every package; ConfigError naming what is wrong."""
    return make_settings(Settings)


def sources(settings: Settings) -> dict[str, str]:
    """Where each setting is from, without a command line: the environment, the file, or nowhere."""
    file = read_config()

    def source(name: str) -> str:
        if os.environ.get(f"{PREFIX}{name.upper()}"):
            return f"{PREFIX}{name.upper()}"
        return os.environ[CONFIG] if name in file else "default"

    return {name: source(name) for name in type(settings).model_fields}
