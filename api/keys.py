"""API keys: who may read, write and administer.

A key is 256 random bits; what is stored is its SHA-256, in a line ``name:role:sha256`` with
perhaps ``:2027-01-31``, the last day on which it counts.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from trimseek.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{64}")
PREFIX = "ts_"


class Role(IntEnum):
    """Each may do what those before it may."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


ROLES = {role.name.lower(): role for role in Role if role is not Role.NONE}  # of a key


class Key(NamedTuple):
    """``sha256``: of the secret, in hexadecimal. ``last_day``: in UTC, on which it still counts."""

    name: str
    role: Role
    sha256: str
    last_day: date | None = None

    @property
    def expired(self) -> bool:
        """Whether its last day is over."""
        return self.last_day is not None and datetime.now(UTC).date() > self.last_day

    def line(self) -> str:
        """As ``read_keys`` reads it."""
        parts = [self.name, self.role.name.lower(), self.sha256]
        return ":".join([*parts, self.last_day.isoformat()] if self.last_day else parts)


def new_key(name: str, role: Role, last_day: date | None = None) -> tuple[str, Key]:
    """A fresh key, which is nowhere else, and what to store of it; ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"a key's name is letters, digits, '_', '.' and '-', not {name!a}")
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, Key(name, role, digest(secret), last_day)


def digest(secret: str) -> str:
    """SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def find_key(keys: Sequence[Key], secret: str) -> Key | None:
    """The key that this is; every one is compared, each in constant time."""
    presented = digest(secret)
    matches = [key for key in keys if hmac.compare_digest(key.sha256, presented)]
    return matches[0] if matches else None


def read_keys(file: Path | None, inline: str) -> tuple[Key, ...]:
    """Keys from a file and from a setting; ConfigError names the line, never its content."""
    keys: list[Key] = []
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: the keys cannot be read: {error}") from None
        keys += parse_keys(lines, str(file))
    keys += parse_keys(inline.split(","), "TRIMSEEK_KEYS")
    names = [key.name for key in keys]
    if len(set(names)) < len(names):
        raise ConfigError("two API keys have the same name; rename one")
    return tuple(keys)


def parse_keys(lines: Iterable[str], where: str) -> list[Key]:
    """Keys of lines; empty ones and comments are skipped. ConfigError names a line."""
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, role, sha256, *rest = [*text.split(":"), "", ""][:5]
        day = [part for part in rest if part]
        try:
            last_day = date.fromisoformat(day[0]) if day else None
        except ValueError:
            raise ConfigError(f"{where}:{number}: the last day must be as 2027-01-31") from None
        if not NAME.fullmatch(name) or role not in ROLES or not DIGEST.fullmatch(sha256):
            raise ConfigError(
                f"{where}:{number}: no API key; expected name:role:sha256, as `trimseek key` prints"
            )
        keys.append(Key(name, ROLES[role], sha256, last_day))
    return keys
