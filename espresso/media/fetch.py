"""URLs of images and videos: local `file:` URLs, and downloads with limits on size and time."""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import tempfile
import time
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from espresso.errors import MediaError
from espresso.media.hosts import AllowedHosts

MAX_BYTES = 2 * 1024**3
"""Default limit of the file size in bytes."""

READ_TIMEOUT_S = 20.0
"""Default timeout in seconds of a single read from the server."""

TOTAL_TIMEOUT_S = 600.0
"""Default timeout in seconds of the whole download."""

BLOCK = 1 << 20
"""Bytes that are read, and decompressed, at once."""

_SECRET = r"token|key|sig|secret|pass|pwd|auth|cred|session|policy|code|ticket|jwt|sas"
"""Words in the name of a query parameter whose value is not shown."""


def is_url(source: str) -> bool:
    """Return whether a source is a URL, not a path. A file of that very name is a path."""
    return re.match(r"data:|[a-z][a-z0-9+.-]+:/", source, re.IGNORECASE) is not None and not os.path.exists(source)


def public(url: str) -> str:
    """Return a URL without user, password, fragment and values of secret parameters, for output."""
    if url[:5].lower() == "data:":
        return f"{url[:100].partition(',')[0]},..."
    url = re.sub(r"#.*", "", _without_user(url), flags=re.DOTALL)
    url = re.sub(rf"([?&;][^=&;]*({_SECRET})[^=&;]*=)[^&;]*", r"\1***", url, flags=re.IGNORECASE)
    return url if len(url) <= 200 else f"{url[:200]}..."


def local_path(url: str) -> Path | None:
    """Return the path of a `file:` URL, or None for other URLs.

    Raises:
        MediaError: the URL names another machine.
    """
    match = re.match(r"file:(//(?P<host>[^/]*))?(?P<path>/.*)", url, re.IGNORECASE | re.DOTALL)
    if not match:
        return None
    if (match["host"] or "localhost").lower() not in ("localhost", "127.0.0.1"):
        raise MediaError(f"{public(url)}: this file is on another machine. Use file:///PATH for a file of this machine.")
    return Path(unquote(match["path"]))


def fetch(
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    read_timeout_s: float = READ_TIMEOUT_S,
    total_timeout_s: float = TOTAL_TIMEOUT_S,
    hosts: AllowedHosts | None = None,
) -> Path:
    """Download a URL to a temporary file, which the caller deletes.

    Args:
        url: an http or https address; a user and password in it are sent to its host only.
        max_bytes: maximum size of the file.
        read_timeout_s: maximum wait in seconds for the next bytes.
        total_timeout_s: maximum time in seconds of the download.
        hosts: the hosts that may be contacted, for URLs of strangers; None allows every host.

    Raises:
        MediaError: a host is not allowed, or the download fails, is incomplete, times out or
            exceeds the size limit. The message does not contain the credentials of the URL.
    """
    name = public(url)
    request, opener, proxy = _prepare(url, hosts)
    handle, path_name = tempfile.mkstemp(prefix="espresso-")
    path = Path(path_name)
    try:
        with os.fdopen(handle, "wb") as file, opener.open(request, timeout=read_timeout_s) as reply:
            _copy(reply, file.write, name, max_bytes, time.monotonic() + total_timeout_s)
    except BaseException as error:
        path.unlink()
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            raise MediaError(
                f"{name}: the download timed out (limits: {read_timeout_s:g} s per read, {total_timeout_s:g} s in total). "
                "Download it yourself and give the file."
            ) from None
        if isinstance(error, http.client.IncompleteRead):
            raise MediaError(f"{name}: the download ended before the file was complete. Try again.") from None
        if isinstance(error, (OSError, ValueError, http.client.HTTPException)):
            answered = isinstance(error, urllib.request.HTTPError) and error.code != http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            cure = f"Check the proxy in {proxy}, or unset it." if proxy and not answered else "Check the address."
            raise MediaError(f"{name}: cannot download ({_reason(error, url)}). {cure}") from None
        raise
    return path


def _prepare(url: str, hosts: AllowedHosts | None) -> tuple[urllib.request.Request, urllib.request.OpenerDirector, str | None]:
    """Return the request, what sends it, and the environment variable of the proxy that is used."""
    name, url = public(url), url.strip()
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise MediaError(f"{name}: {scheme}: URLs are not supported. Download it and give the file.")
    parts = _split(re.sub(r"^(\w+):/(?!/)", r"\1://", url))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise MediaError(f"{name}: the port is not a number from 0 to 65535. Check the address.") from None
    if not host:
        raise MediaError(f"{name}: the address names no host. Check the address.")
    try:
        authority = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        raise MediaError(f"{name}: the host name is not valid. Check the address.") from None
    authority += f":{port}" if port is not None else ""
    query = f"?{_quoted(parts.query)}" if parts.query else ""
    request = urllib.request.Request(
        f"{scheme}://{authority}{_quoted(parts.path) or '/'}{query}", headers={"User-Agent": "espresso"}
    )
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
    local = _is_loopback(host) or urllib.request.proxy_bypass(authority)
    proxies = {} if local else urllib.request.getproxies()
    if hosts:
        hosts.check(host, name)
        proxies = {}  # a proxy resolves the name itself
    opener = urllib.request.OpenerDirector()  # the default one also follows redirects to ftp
    for handler in (
        urllib.request.ProxyHandler(proxies),
        *(hosts.handlers() if hosts else (urllib.request.HTTPHandler(), urllib.request.HTTPSHandler())),
        urllib.request.HTTPDefaultErrorHandler(),
        *(() if hosts else (urllib.request.HTTPRedirectHandler(),)),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    variable = f"{scheme}_proxy"
    return request, opener, (variable if variable in os.environ else variable.upper()) if scheme in proxies else None


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise MediaError(f"{public(url)}: the host name is not valid. Check the address.") from None


def _without_user(url: str) -> str:
    """Remove user and password, also a password with unquoted `/`, `?` or `#`."""
    scheme, slashes, rest = url.partition("//")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return scheme + slashes + rest[authority.rindex("@") + 1 :]
    if "@" in rest and re.search(r":\D", authority):  # not a port
        return scheme + slashes + rest[rest.rindex("@") + 1 :]
    return url


def _quoted(text: str) -> str:
    """Quote spaces and non-ASCII characters; what is quoted already stays."""
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text), safe="/%:@!$&'()*+,;=~?[]")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception, url: str) -> str:
    """Return the text of an error on one line, without parts of the URL that are not shown."""
    text = " ".join(str(getattr(error, "reason", None) or error).split())
    if isinstance(error, urllib.request.HTTPError):
        text = f"HTTP {error.code} {text}".strip()
    shown = public(url)
    secrets = {part for part in re.split(r"[/?&;=#@:]", url) if part and part not in shown}
    for secret in sorted(secrets | {unquote(part) for part in secrets}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return re.sub(r"https?://\S+", lambda match: public(match[0]), text)


def _copy(reply: http.client.HTTPResponse, write: Callable[[bytes], object], name: str, max_bytes: int, deadline: float) -> None:
    """Copy the content, decompressed; raise MediaError if the server announced another length."""
    announced, received, size = reply.length, 0, 0
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise MediaError(f"{name}: the server sends it compressed as {encoding!r}. Download it yourself and give the file.")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in ("", "identity") else None
    too_large = MediaError(f"{name}: larger than {max_bytes / 1024**2:,.0f} MB. Download it yourself and give the file.")
    if announced is not None and announced > max_bytes:
        raise too_large
    while block := reply.read1(BLOCK):
        received += len(block)
        while block:
            piece = unpack.decompress(block, BLOCK) if unpack else block
            block = unpack.unconsumed_tail if unpack else b""
            size += len(piece)
            if size > max_bytes:
                raise too_large
            if time.monotonic() > deadline:
                raise TimeoutError
            write(piece)
    if announced is not None and received < announced:
        raise MediaError(f"{name}: the download ended after {received:,} of {announced:,} bytes. Try again.")
    if not size:
        raise MediaError(f"{name}: the server sent an empty file. Check the address.")
    if unpack and not unpack.eof:
        raise MediaError(f"{name}: the download ended before the file was complete. Try again.")
