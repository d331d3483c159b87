"""The HTTP service and its clients."""

from typing import TYPE_CHECKING

from trimseek.lazy import lazy_names

if TYPE_CHECKING:
    from trimseek.api.app import create_app
    from trimseek.api.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Client",
    "create_app",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsyncClient": "trimseek.api.client",
        "Client": "trimseek.api.client",
        "create_app": "trimseek.api.app",
    },
)
