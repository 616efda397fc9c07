"""Check addresses and API keys of servers before they are used, and print them without secrets."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit, urlunsplit

_ENDPOINT = re.compile(
    r"/chat/completions$|(?<=/v1)/(?:completions|embeddings|models|responses|messages)$|/api/(?:chat|generate)$", re.IGNORECASE
)
"""Paths that belong to a request and not to the address of the API."""

_HOST = re.compile(r"[^\W_](?:[\w.-]*\w)?\.?|\[[0-9A-Fa-f:.]+(?:%25?\w+)?\]")


def check_address(url: str) -> str:
    """Return the address of an OpenAI-compatible API unchanged.

    Raises:
        ValueError: it cannot be such an address; the message says what is wrong with it.
    """
    shown = repr(without_credentials(url))
    if not url:
        raise ValueError("the address is empty; an address looks like http://localhost:8000/v1")
    if odd := next((letter for letter in url if letter.isspace() or not letter.isprintable()), None):
        raise ValueError(f"the address {shown} contains {_name(odd)}; remove it")
    scheme, separator, _ = url.partition("://")
    if not separator:
        if slashless := re.match(r"(https?):", url, re.IGNORECASE):
            raise ValueError(f"the address {shown} lacks a slash after its scheme; write {slashless[1].lower()}://host:port/v1")
        raise ValueError(f"the address {shown} has no scheme; write http://{without_credentials(url).lstrip('/')} (or https://)")
    if scheme.lower() not in ("http", "https"):
        raise ValueError(f"the address {shown} has the scheme {scheme!r}; only http and https can be used")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"the host of the address {shown} is malformed ({error})") from error
    _check_port(parts, shown)
    place = parts.netloc.rpartition("@")[2]
    name = place if place.startswith("[") else place.partition(":")[0]
    if not host:
        raise ValueError(f"the address {shown} has no host; an address looks like http://localhost:8000/v1")
    if not _HOST.fullmatch(name.partition("]")[0] + "]" if name.startswith("[") else name) or ".." in name:
        raise ValueError(f"the host {name!r} of the address {shown} is malformed")
    if parts.query or parts.fragment:
        extra = f"?{parts.query}" if parts.query else f"#{parts.fragment}"
        raise ValueError(f"the address {shown} ends in {extra.partition('=')[0]!r}; give it without query and fragment")
    if "//" in parts.path:
        raise ValueError(f"the path of the address {shown} contains two slashes in a row; remove one")
    path = parts.path.rstrip("/")
    if surplus := _ENDPOINT.search(path):
        better = without_credentials(urlunsplit(parts._replace(path=path[: surplus.start()])))
        better += "/v1" if surplus[0].startswith("/api/") else ""  # Ollama's own API
        raise ValueError(f"the address {shown} ends in {surplus[0]!r}, which is added to it; write {better}")
    if path.endswith("/v1/v1"):
        raise ValueError(f"the address {shown} contains /v1 twice; remove one")
    return url


def _check_port(parts: SplitResult, shown: str) -> None:
    port = re.search(r":([^:\]]*)$", parts.netloc.rpartition("@")[2])
    if port and port[1] and not (port[1].isascii() and port[1].isdecimal() and 0 < int(port[1]) < 65536):
        raise ValueError(f"the address {shown} has the impossible port {port[1]!r}; a port is a number from 1 to 65535")


def without_credentials(url: str) -> str:
    """Return a URL without user name, password, query and fragment, to print it."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        scheme, rest = "", url
    place, slash, path = rest.partition("/")
    return f"{scheme}{colon}{place.rpartition('@')[2]}{slash}{path}".partition("?")[0].partition("#")[0]


def is_loopback(url: str) -> bool:
    """Return whether a URL is on this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def check_key(key: str, source: str) -> str:
    """Return an API key unchanged. The message of an error does not contain the key.

    Args:
        key: the key.
        source: where it comes from, such as "the environment variable OPENAI_API_KEY".

    Raises:
        ValueError: it cannot be sent in a header; the message says which character is wrong.
    """
    if key.lower().startswith("bearer "):
        raise ValueError(f"the API key in {source} starts with 'Bearer'; give the key alone")
    for position, letter in enumerate(key, 1):
        if not ("!" <= letter <= "~"):
            raise ValueError(
                f"the API key in {source} contains {_name(letter)} (character {position} of {len(key)}), "
                "which no header can carry; copy the key again"
            )
    return key


def _name(letter: str) -> str:
    """Return the name of a character that is hard to see."""
    names = {"\n": "a line break", "\r": "a carriage return", " ": "a space", "\t": "a tab"}
    kind = "the non-ASCII character" if ord(letter) > 127 else "the control character"
    return names.get(letter) or f"{kind} U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip()
