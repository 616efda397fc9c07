"""Which hosts a download may contact, if strangers choose its URL (server-side request forgery).

A URL can name a machine behind the firewall, by its address, by a name that resolves to it, or by a
redirect. So the address is checked that the socket connects to, after the name is resolved and for
each redirect; it is not resolved a second time.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from espresso.errors import MediaError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"), ipaddress.ip_network("::/96"))
"""IPv6 networks whose addresses stand for IPv4 addresses: NAT64, 6to4, IPv4-compatible."""


class AllowedHosts:
    """The hosts that a download may contact, at public addresses.

    Args:
        names: names or addresses of hosts.
        networks: private networks whose addresses may be contacted all the same.
    """

    def __init__(self, names: Collection[str], networks: Collection[Network] = ()) -> None:
        self.names = frozenset(name.lower().strip("[]").rstrip(".") for name in names)
        self.networks = tuple(networks)

    def check(self, host: str, url: str) -> None:
        """Raise MediaError if a host is not allowed. `url` is what the message calls the URL."""
        if host.lower().rstrip(".") not in self.names:
            raise MediaError(
                f"{url}: the host {host} is not allowed here. Upload the file, or start the server with --allow-host."
            )

    def address(self, host: str, port: int) -> tuple[str, int]:
        """Resolve a host and return the address to connect to, which is the first one.

        Raises:
            OSError: the name does not resolve, or one of its addresses is not public.
        """
        found = [entry[4] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for address in found:
            if not self._allowed(str(address[0])):
                raise OSError(f"{host} has the private address {address[0]}, which is not allowed here")
        return str(found[0][0]), port

    def _allowed(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if any(address in network for network in self.networks):
            return True
        return address.is_global and not address.is_multicast and not any(address in network for network in _TRANSLATED)

    def handlers(self) -> tuple[urllib.request.BaseHandler, ...]:
        """Return the handlers of `urllib` that connect and redirect only where it is allowed."""
        return _Http(self), _Https(self), _Redirect(self)


class _Connection(http.client.HTTPConnection):
    """Connects to the address that was checked, not to what the name resolves to next."""

    allowed: AllowedHosts

    def connect(self) -> None:
        self.sock = socket.create_connection(self.allowed.address(self.host, self.port), self.timeout)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same with TLS: `HTTPSConnection` calls the `connect` above, then checks the name."""


def _make(kind: type[_Connection], allowed: AllowedHosts) -> Callable[..., Any]:
    def make(host: str, **options: Any) -> _Connection:
        connection = kind(host, **options)
        connection.allowed = allowed
        return connection

    return make


class _Http(urllib.request.HTTPHandler):
    def __init__(self, allowed: AllowedHosts) -> None:
        super().__init__()
        self._allowed = allowed

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_make(_Connection, self._allowed), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, allowed: AllowedHosts) -> None:
        super().__init__()
        self._allowed = allowed

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_make(_SecureConnection, self._allowed), request)


class _Redirect(urllib.request.HTTPRedirectHandler):
    def __init__(self, allowed: AllowedHosts) -> None:
        self._allowed = allowed

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        url = arguments[-1]
        self._allowed.check(urlsplit(url).hostname or "", "the redirect")
        return super().redirect_request(*arguments)
