"""Connections: proxies of the environment, and what servers and the network say of a failure."""

import json
import socket

import pytest

from espresso.errors import ModelError, ServerDownError
from espresso.models import Message, OpenAIModel, openai_connection
from espresso.models.openai_connection import environment_proxy, is_missing_path, server_words
from tests.http_server import JsonHandler, completion, http_server

HELLO = [Message("user", ("Hello",))]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)


def model(url, **more):
    return OpenAIModel("m", base_url=url, context_length=1000, picture_tokens=10, timeout=5.0, **more)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "foo://nowhere", "http://x:99999"])
async def test_a_server_on_this_machine_is_reached_without_a_proxy(monkeypatch, variable, proxy):
    monkeypatch.setenv(variable, proxy)
    with http_server(answers=lambda request: (200, completion("hi"))) as server:
        assert (await model(server.url).chat(HELLO)).text == "hi"


@pytest.mark.parametrize(
    ("proxy", "fault"),
    [
        ("foo://me:secret@proxy", "HTTP_PROXY=foo://proxy cannot be used as a proxy: its scheme is 'foo'"),
        ("http://me:secret@proxy:99999", "HTTP_PROXY=http://proxy:99999 .* malformed"),
        ("http://", "HTTP_PROXY=http:// .*names no host"),
        ("socks5://proxy:1080", "HTTP_PROXY=socks5://proxy:1080 .*socksio"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(monkeypatch, proxy, fault):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ModelError, match=fault) as caught:
        await model("http://server.invalid/v1").chat(HELLO)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_proxy_that_is_down_is_named(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "127.0.0.1:9")
    with pytest.raises(ServerDownError, match=r"connection refused through the proxy ALL_PROXY=http://127\.0\.0\.1:9"):
        await model("http://server.invalid/v1").chat(HELLO)


async def test_a_proxy_is_used_for_other_machines(monkeypatch):
    with http_server(answers=lambda request: (200, completion("by proxy"))) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        assert (await model("http://server.invalid/v1").chat(HELLO)).text == "by proxy"


def test_exceptions_of_the_environment_are_respected(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", "corp.example,::1")
    assert environment_proxy("https://api.corp.example/v1") is None
    assert environment_proxy("https://other.example/v1") == ("HTTPS_PROXY", "http://proxy:1")
    assert environment_proxy("http://other.example/v1") is None


def test_a_certificate_file_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    with pytest.raises(ModelError, match=r"SSL_CERT_FILE=.*gone\.pem.* cannot be read"):
        openai_connection.connect("https://server.invalid/v1", api_key=None, timeout=1.0, retries=0)
    openai_connection.connect("http://localhost/v1", api_key=None, timeout=1.0, retries=0)


async def test_a_host_that_is_not_known_is_named():
    with pytest.raises(ServerDownError, match=r"could not connect .*no address is known for the host 'server\.invalid'"):
        await model("http://server.invalid/v1").chat(HELLO)


async def test_a_server_without_https_is_named():
    with (
        http_server(answers=lambda request: (200, completion("hi"))) as server,
        pytest.raises(ServerDownError, match="does not speak https; write http://"),
    ):
        await model(server.url.replace("http:", "https:")).chat(HELLO)


async def test_a_connection_that_breaks_off_is_not_called_unreachable():
    class Torn(JsonHandler):
        def reply(self, status, body):
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    with (
        http_server(Torn, lambda request: (200, {})) as server,
        pytest.raises(ServerDownError, match="the connection to the server of m broke off"),
    ):
        await model(server.url).chat(HELLO)


async def test_credentials_in_the_address_are_used_and_not_printed():
    with (
        http_server(answers=lambda request: (500, {"error": "full"})) as server,
        pytest.raises(ModelError, match="full") as caught,
    ):
        await model(server.url.replace("://", "://me:secret@")).chat(HELLO)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "Insufficient balance", "code": 402}}, "Insufficient balance"),
        ({"error": "model 'm' not found"}, "model 'm' not found"),
        ({"object": "error", "message": "too long", "type": "BadRequestError"}, "too long"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "str type expected"}, {"loc": ["body"], "msg": "no"}]},
            "body.messages.0.content: str type expected; body: no",
        ),
        (
            {"timestamp": 1, "status": 400, "error": "Bad Request", "message": "no pictures", "path": "/v1"},
            "Bad Request: no pictures",
        ),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}], "API key not valid"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "overloaded"}}'}}},
            "Provider returned error: overloaded",
        ),
        ({"error": True, "message": "out of\nmemory"}, "out of memory"),
        ({"fault": {"faultstring": "quota exceeded"}}, "quota exceeded"),
        ({"title": "Unauthorized", "detail": "token expired"}, "token expired: Unauthorized"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_words_of_a_json_error_are_found(body, words):
    assert server_words(json.dumps(body)) == words


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>",
            "502 Bad Gateway nginx",
        ),
        (
            "<!DOCTYPE html><html><head><title>Error</title><style>p {x}</style><script>a < b</script></head>"
            "<body><p>Cannot&nbsp;POST /chat</p><!-- no --></body></html>",
            "Error: Cannot POST /chat",
        ),
        ("<?xml version='1.0'?><Error><Message>Access Denied</Message></Error>", "Access Denied"),
        ("Internal Server\nError", "Internal Server Error"),
        ("upstream \x1b[31mconnect\x00 error", "upstream [31mconnect error"),
        ("", ""),
    ],
)
def test_a_page_is_reduced_to_its_text(page, words):
    assert server_words(page) == words


def test_long_words_are_cut():
    assert len(server_words("word " * 1000)) < 310


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("Not Found", True),
        ("404 page not found", True),
        ("File Not Found", True),
        ("404 Not Found nginx", True),
        ("Resource not found", True),
        ("Method Not Allowed", True),
        ("Invalid URL (POST /chat/completions)", True),
        ("", True),
        ("The model `m` does not exist.", False),
        ("model 'm' not found, try pulling it first", False),
        ("Not found the model m", False),
    ],
)
def test_a_missing_path_is_told_from_a_missing_model(words, missing):
    assert is_missing_path(words) is missing
