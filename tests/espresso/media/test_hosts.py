"""Downloads for strangers contact allowed hosts at public addresses, also after redirects."""

import ipaddress
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from espresso.errors import MediaError
from espresso.media.fetch import fetch
from espresso.media.hosts import AllowedHosts

THIS = [ipaddress.ip_network("127.0.0.2/32")]


class Redirecting(BaseHTTPRequestHandler):
    """Replies with three bytes; `/to/HOST` redirects to HOST."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", f"http://{self.path[4:]}:{self.server.server_port}/file")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("content-length", "3")
            self.end_headers()
            self.wfile.write(b"abc")

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("0.0.0.0", 0), Redirecting)
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def port(server):
    server.asked.clear()
    return server.server_port


def test_an_allowed_host_in_an_allowed_network_is_downloaded_from(port):
    path = fetch(f"http://127.0.0.2:{port}/file", hosts=AllowedHosts(["127.0.0.2"], THIS))
    assert path.read_bytes() == b"abc"
    path.unlink()


def test_a_host_that_is_not_allowed_is_not_contacted(port, server):
    with pytest.raises(MediaError, match=r"127.0.0.2 is not allowed"):
        fetch(f"http://127.0.0.2:{port}/file", hosts=AllowedHosts(["media.example"], THIS))
    with pytest.raises(MediaError, match=r"127.0.0.1 is not allowed"):
        fetch(f"http://media.example@127.0.0.1:{port}/file", hosts=AllowedHosts(["media.example"], THIS))
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0", "169.254.169.254", "10.0.0.1", "[64:ff9b::7f00:1]"],
)
def test_a_host_with_a_private_address_is_not_contacted(host, port, server):
    with pytest.raises(MediaError, match=r"private address|cannot download"):
        fetch(f"http://{host}:{port}/file", hosts=AllowedHosts([host]))
    assert server.asked == []


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(port, server):
    with pytest.raises(MediaError, match=r"127.0.0.3 is not allowed"):
        fetch(
            f"http://127.0.0.2:{port}/to/127.0.0.3", hosts=AllowedHosts(["127.0.0.2"], [*THIS, ipaddress.ip_network("127.0.0.3")])
        )
    assert server.asked == ["/to/127.0.0.3"]


def test_a_redirect_to_a_private_address_is_not_followed(port, server):
    with pytest.raises(MediaError, match=r"private address 127.0.0.1"):
        fetch(f"http://127.0.0.2:{port}/to/localhost", hosts=AllowedHosts(["127.0.0.2", "localhost"], THIS))
    assert server.asked == ["/to/localhost"]


def test_a_name_is_resolved_once_so_it_cannot_change_after_the_check(port, server, monkeypatch):
    """DNS rebinding: the first answer is allowed, the next one is another machine."""
    real, answers = socket.getaddrinfo, iter(["127.0.0.2", "127.0.0.1", "127.0.0.3"])

    def resolve(host, *arguments, **options):
        return real(next(answers) if host == "media.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    path = fetch(f"http://media.example:{port}/file", hosts=AllowedHosts(["media.example"], THIS))
    path.unlink()
    assert next(answers) == "127.0.0.1"  # the second answer was not asked for


def test_a_proxy_is_not_used_because_it_would_resolve_the_name(port, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.2:{port}")
    with pytest.raises(MediaError, match="cannot download"):
        fetch("http://media.invalid/file", hosts=AllowedHosts(["media.invalid"], THIS))
    assert server.asked == []
