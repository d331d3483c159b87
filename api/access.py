"""Who may ask, and how fast: host names, API keys, roles, and the rate of each key."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from trimseek.api.errors import ForbiddenError, OverloadedError, UnauthorizedError
from trimseek.api.keys import Key, Role, find_key
from trimseek.api.rates import RateLimit, bucket_file
from trimseek.api.settings import ServiceSettings
from trimseek.errors import QueryError

SECRETS_IN_URL = {"key", "api_key", "apikey", "access_token", "token"}


class AccessControl:
    """``keys``: without any, everyone may read and nobody may write.

    ``buckets``: of ``bucket_file``, which all workers share.
    """

    def __init__(
        self, settings: ServiceSettings, keys: Sequence[Key], buckets: int | None = None
    ) -> None:
        self._keys = keys
        self._hosts = settings.allowed_hosts(with_keys=bool(keys))
        self._numbers = {key.name: number for number, key in enumerate(keys)}
        self._limit: RateLimit | None = None
        if settings.rate_limit is not None:
            file = bucket_file(len(keys)) if buckets is None else buckets
            self._limit = RateLimit(settings.rate_limit, file)

    def check(self, scope: Scope, headers: Headers, role: Role) -> Key | None:
        """The key that a request brings, if any.

        ForbiddenError, UnauthorizedError, OverloadedError or QueryError for a request that may not
        pass. ``role``: what the endpoint needs.
        """
        host = host_of(headers)
        if self._hosts and host not in self._hosts:
            raise ForbiddenError(f"{host!a} is not a name of this service (the setting hosts)")
        check_url(scope["query_string"])
        secret = bearer(headers)
        key = None if secret is None else find_key(self._keys, secret)
        if role is not Role.NONE:
            self._check_role(key, role)
        return key

    def _check_role(self, key: Key | None, role: Role) -> None:
        if not self._keys:
            if role > Role.READ:
                raise UnauthorizedError(
                    "this service has no API keys, so nobody may write; make one with: "
                    "trimseek key NAME --role write"
                )
            return
        if key is None or key.expired:
            raise UnauthorizedError("send an API key that counts: Authorization: Bearer KEY")
        if key.role < role:
            raise ForbiddenError(f"this needs a key of the role {role.name.lower()}")
        if self._limit is not None and not self._limit.take(self._numbers[key.name]):
            raise OverloadedError(f"this key has its {self._limit.rate:g} requests a second; wait")


def check_url(query: bytes) -> None:
    """QueryError for a key in the URL's query, which would end up in logs."""
    if not query:
        return
    names = {name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)}
    if SECRETS_IN_URL & names:
        raise QueryError(
            "an API key in a URL ends up in logs: send it as Authorization: Bearer KEY"
        )


def host_of(headers: Headers) -> str:
    """The name that a client calls the service by, without a port."""
    name = headers.get("host", "").lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def bearer(headers: Headers) -> str | None:
    """The secret of the key that a request brings; None without one."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    return headers.get("x-api-key")
