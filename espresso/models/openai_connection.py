"""Connect to an OpenAI-compatible server, and say in one line what a server or the network reports.

The proxies of the environment are used, except for servers on this machine.
"""

from __future__ import annotations

import html
import json
import os
import re
import ssl
from collections.abc import Mapping
from socket import gaierror
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import openai

from espresso.errors import ModelError
from espresso.profiles.address import is_loopback, without_credentials

CONNECT_S = 5.0
"""Seconds to wait for a connection."""

WORDS = 300
"""Most characters of a server's own words in an error."""

_MESSAGE_KEYS = (
    "error",
    "message",
    "msg",
    "detail",
    "details",
    "errors",
    "error_message",
    "error_msg",
    "errorMessage",
    "error_description",
    "fault",
    "faultstring",
    "Message",
    "title",
    "description",
    "reason",
)
"""Where servers put the reason of an error: OpenAI, vLLM, FastAPI, TGI, Azure, Spring, gateways."""

_NO_SUCH_PATH = re.compile(
    r"|(?:error |status )?40[45]|(?:40[45][: ]*)?(?:(?:the )?(?:page|path|file|resource|route|url|endpoint) )?"
    r"(?:could )?not (?:be )?found\b(?:(?!model|deployment).)*|(?:405[: ]*)?(?:method )?not allowed.*|"
    r"(?:the )?requested url .*|cannot post .*|(?:invalid|unknown|unexpected) .*(?:url|endpoint|path|route).*|"
    r"no (?:static resource|route|matching|handler|endpoint matches).*",
    re.IGNORECASE,
)


class Proxy(NamedTuple):
    """A proxy of the environment."""

    variable: str
    """The environment variable that names it."""

    url: str
    """Its address, which may contain a password."""


def connect(address: str, *, api_key: str | None, timeout: float, retries: int) -> openai.AsyncOpenAI:
    """Return a client for one event loop.

    Args:
        address: address of the API, checked by `check_address`.
        api_key: sent to the server; None if it needs none.
        timeout: seconds for one try.
        retries: further tries after a failure.

    Raises:
        ModelError: a proxy or a certificate file that the environment names cannot be used.
    """
    proxy = environment_proxy(address)
    certificates = address.lower().startswith("http:") or _certificates()
    try:
        # The SDK's default client closes itself in whatever loop runs then.
        http = openai.DefaultAsyncHttpxClient(proxy=proxy.url if proxy else None, trust_env=False, verify=certificates)
    except ImportError as error:
        raise ModelError(f"{_proxy_of(proxy)} is a SOCKS proxy, which needs the package socksio. Install it.") from error
    except Exception as error:  # InvalidURL of the HTTP library is a plain Exception
        raise ModelError(f"{_proxy_of(proxy)} cannot be used as a proxy. Correct the variable, or unset it.") from error
    return openai.AsyncOpenAI(
        base_url=address,
        api_key=api_key or "none",
        timeout=openai.Timeout(timeout, connect=min(timeout, CONNECT_S)),
        max_retries=retries,
        http_client=http,
    )


def environment_proxy(address: str) -> Proxy | None:
    """Return the proxy that the environment names for an address; None for this machine.

    Raises:
        ModelError: the value of the variable cannot be the address of a proxy.
    """
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    if is_loopback(address) or proxy_bypass(host):
        return None
    proxies = getproxies()
    scheme = next((scheme for scheme in (parts.scheme.lower(), "all") if proxies.get(scheme)), None)
    if scheme is None:
        return None
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    variable = next((name for name in names if os.environ.get(name)), "the system's settings")
    url = proxies[scheme].strip()
    proxy = Proxy(variable, url if "://" in url else f"http://{url}")
    scheme = proxy.url.partition("://")[0].lower()
    try:
        found = urlsplit(proxy.url)
        fault = "its port is impossible" if found.port == 0 else None if found.hostname else "it names no host"
    except ValueError:
        fault = "its host or port is malformed"
    if scheme not in ("http", "https", "socks5", "socks5h"):
        fault = f"its scheme is {scheme!r}, not http, https or socks5"
    if fault:
        raise ModelError(f"{_proxy_of(proxy)} cannot be used as a proxy: {fault}. Correct the variable, or unset it.")
    return proxy


def _proxy_of(proxy: Proxy | None) -> str:
    return f"{proxy.variable}={without_credentials(proxy.url)}" if proxy else "the proxy"


def _certificates() -> ssl.SSLContext | bool:
    """Return the certificate authorities that SSL_CERT_FILE and SSL_CERT_DIR name, else True."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        return True
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except OSError as error:
        names = " and ".join(f"{name}={value}" for name, value in (("SSL_CERT_FILE", file), ("SSL_CERT_DIR", folder)) if value)
        raise ModelError(f"{names} cannot be read as certificates ({error.strerror or error}). Correct or unset it.") from error


def connection_fault(error: BaseException, address: str) -> tuple[str, bool]:
    """Return why a connection failed, and whether it was open already when it failed."""
    proxy = environment_proxy(address)
    through = f" through the proxy {_proxy_of(proxy)}" if proxy else ""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        nested = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = nested or cause.__cause__ or cause.__context__
    kinds = {type(each).__name__ for each in chain}
    broke_off = bool(kinds & {"RemoteProtocolError", "ReadError", "WriteError", "EndOfStream"}) and "ConnectError" not in kinds
    known = next((fault for each in chain if (fault := _network_fault(each, proxy.url if proxy else address))), None)
    said = next((text for each in chain[1:] if (text := " ".join(str(each).split())[:WORDS])), type(chain[-1]).__name__)
    return f"{known or said}{through}", broke_off


def _network_fault(error: BaseException, address: str) -> str | None:
    """Return one of the usual reasons of a failed connection in plain words; None for any other."""
    fault = None
    if isinstance(error, gaierror):
        fault = f"no address is known for the host {urlsplit(address).hostname!r}"
    elif isinstance(error, ssl.SSLCertVerificationError):
        fault = f"its certificate is not accepted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        fault = "it does not speak https; write http:// in the address"
    elif isinstance(error, ConnectionRefusedError):
        fault = "connection refused"
    elif type(error).__name__ == "ConnectTimeout":
        fault = f"no answer within {CONNECT_S:g} s"
    return fault


def is_missing_path(words: str) -> bool:
    """Return whether a server says that it has no such path, rather than no such model."""
    return _NO_SUCH_PATH.fullmatch(words.rstrip(".! ")) is not None


def server_words(body: str) -> str:
    """Return what the body of an error says, in one line; empty if it says nothing.

    JSON is reduced to its messages and a web page to its text.
    """
    try:
        words = _message(json.loads(body))
    except (ValueError, RecursionError):
        words = _page_text(body) if re.match(r"\s*(?:<\?xml|<!|<[a-zA-Z])", body) else body
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
    return words if len(words) <= WORDS else f"{words[:WORDS]}..."


def _message(value: Any) -> str:
    if isinstance(value, str):
        return _message(json.loads(value)) if re.match(r'\s*[{\[]\s*["{]', value) and _is_json(value) else value
    if isinstance(value, list):
        return "; ".join(filter(None, map(_message, value[:3])))
    if not isinstance(value, Mapping):
        return ""
    if isinstance(value.get("loc"), list) and isinstance(value.get("msg"), str):  # pydantic's, by FastAPI
        return f"{'.'.join(map(str, value['loc']))}: {value['msg']}"
    found = [_message(value[key]) for key in _MESSAGE_KEYS if key in value]
    if isinstance(metadata := value.get("metadata"), Mapping):  # OpenRouter quotes the provider there
        found.append(_message(metadata.get("raw")))
    words: list[str] = []
    for each in filter(None, found):
        if not any(each in other for other in words):
            words.append(each)
    return ": ".join(words)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _page_text(page: str) -> str:
    """Return the text of a web page; the title is left out if the page repeats it."""
    page = re.sub(r"<!--.*?-->|<(script|style|svg|template)\b.*?</\1\s*>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    title = re.search(r"<title[^>]*>(.*?)</title\s*>", page, re.DOTALL | re.IGNORECASE)
    heading = html.unescape(title[1]).strip() if title else ""
    if title:
        page = page.replace(title[0], " ")
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    return text if heading in text else f"{heading}: {text}" if text else heading
