"""ASGI middleware for every request: API keys, headers, the log, and counting."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import KeyMissingError, RequestError
from serving.metrics import Metrics

log = logging.getLogger("espresso.serving")

OPEN_PATHS = ("/health", "/ready")
"""Paths that need no API key, for load balancers."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of each reply that does not set them itself."""


def page_policy(html: str, *, evaluates: bool = False) -> str:
    """Return a content security policy for a page: files of this server and the page's own scripts.

    Scripts that somebody injects have other hashes and do not run.

    Args:
        html: the page.
        evaluates: whether its scripts compile code at run time.
    """
    scripts = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", html, re.DOTALL)
    allowed = ["'self'", *(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts)]
    if evaluates:
        allowed.append("'unsafe-eval'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(allowed)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "frame-src 'self'",
            "manifest-src 'self'",
            "connect-src 'self'",
            "base-uri 'self'" if "<base " in html else "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Keys:
    """ASGI middleware that refuses requests without an API key (`Authorization: Bearer KEY`).

    Args:
        app: the application.
        keys: the keys; without keys, nothing is refused.
        refuse: makes the reply of an error.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr], refuse: Callable[[RequestError], ASGIApp]) -> None:
        self._app, self._refuse = app, refuse
        self._keys = [key.get_secret_value().encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see ASGI."""
        if scope["type"] != "http" or not self._keys or scope["path"] in OPEN_PATHS or self._known(Headers(scope=scope)):
            await self._app(scope, receive, send)
        else:
            error = KeyMissingError("the API key is missing or wrong. Send it as Authorization: Bearer KEY.")
            await self._refuse(error)(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode()
        matches = [secrets.compare_digest(given, known) for known in self._keys]
        return scheme.lower() == "bearer" and any(matches)


class Outside:
    """ASGI middleware that sets the headers of replies, and logs and counts requests.

    The log has neither query nor headers nor bodies: they may hold keys.

    Args:
        app: the application.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds, known = time.perf_counter() - start, scope.get("route")
            route = getattr(known, "path", "other")
            self._metrics.requests.labels(route, status or "disconnected").inc()
            self._metrics.seconds.labels(route).observe(seconds)
            path = scope["path"].encode("unicode_escape").decode()[:200]
            log.info("%s %s %s %.3f s", scope["method"], path, status or "disconnected", seconds)
