"""Response headers that keep browsers careful with what the service answers."""

from starlette.datastructures import MutableHeaders

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def secured(headers: list[tuple[bytes, bytes]]) -> MutableHeaders:
    """The headers of an answer with those for browsers: a page may load what is its own alone."""
    secure = MutableHeaders(raw=[*headers, *HEADERS])
    is_page = secure.get("content-type", "").startswith("text/html")
    secure.append("Content-Security-Policy", PAGE if is_page else NO_CONTENT)
    if "cache-control" not in secure:
        secure.append("Cache-Control", "no-store")
    return secure
