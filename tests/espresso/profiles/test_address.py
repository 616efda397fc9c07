"""Addresses and keys: the message names the very thing that is wrong, and no secret."""

import pytest

from espresso.profiles.address import check_address, check_key, is_loopback, without_credentials


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "https://api.openai.com/v1/",
        "http://[::1]:8000/v1",
        "https://user:p@ss@host/v1",
        "https://name.openai.azure.com/openai/deployments/gpt",
        "http://my_host",
        "http://hö.de/v1",
    ],
)
def test_an_address_is_returned_as_it_is(url):
    assert check_address(url) == url


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "is empty"),
        ("localhost:8000/v1", "has no scheme; write http://localhost:8000/v1"),
        ("//localhost/v1", "has no scheme"),
        ("http:/localhost/v1", "lacks a slash"),
        ("htp://localhost/v1", "scheme 'htp'"),
        ("http://localhost:99999/v1", "impossible port '99999'"),
        ("http://localhost:80a/v1", "impossible port '80a'"),
        ("http://localhost:0/v1", "impossible port '0'"),
        ("http:///v1", "has no host"),
        ("http://:80/v1", "has no host"),
        ("http://${HOST}/v1", "malformed"),
        ("http://[::1/v1", "malformed"),
        ("http://localhost:80/v1/chat/completions", "ends in '/chat/completions'.* write http://localhost:80/v1$"),
        ("http://localhost:80/v1/models/", "ends in '/models'"),
        ("http://localhost:11434/api/chat", "ends in '/api/chat'.* write http://localhost:11434/v1$"),
        ("http://localhost/v1/v1", "/v1 twice"),
        ("http://localhost//v1", "two slashes"),
        ("http://localhost/v1?api-version=1", r"ends in '\?api-version'"),
        ("http://localhost/v1\n", "a line break"),
        ("http://local host/v1", "a space"),
        ("http://localhost\u200b/v1", "U\\+200B ZERO WIDTH SPACE"),
    ],
)
def test_the_fault_of_an_address_is_named(url, fault):
    with pytest.raises(ValueError, match=fault):
        check_address(url)


@pytest.mark.parametrize(
    "url", ["http://me:secret@h/v1/chat/completions", "me:secret@h:80", "http://me:secret@h:x/v1", "http://me:secret@/v1"]
)
def test_a_message_contains_no_credentials(url):
    with pytest.raises(ValueError, match="address") as caught:
        check_address(url)
    assert "secret" not in str(caught.value)


def test_credentials_queries_and_fragments_are_not_printed():
    assert without_credentials("https://me:secret@host:1/v1?key=secret#secret") == "https://host:1/v1"
    assert without_credentials("me:secret@proxy:3128") == "proxy:3128"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.1.2.3", True),
        ("[::1]:80", True),
        ("a.localhost", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("h", False),
    ],
)
def test_loopback_is_this_machine(host, here):
    assert is_loopback(f"http://{host}/v1") is here


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("sk-secret\n", r"a line break \(character 10 of 10\)"),
        ("sk-secret\r", "a carriage return"),
        ("sk secret", "a space"),
        ("“sk-secret”", "non-ASCII character U\\+201C LEFT DOUBLE QUOTATION MARK"),
        ("sk-secret\xfc", "non-ASCII character U\\+00FC"),
        ("sk-secret\x00", "control character U\\+0000"),
        ("Bearer sk-secret", "starts with 'Bearer'"),
    ],
)
def test_the_fault_of_a_key_is_named_and_the_key_is_not(key, fault):
    with pytest.raises(ValueError, match=rf"the API key in MY_KEY .*{fault}") as caught:
        check_key(key, "MY_KEY")
    assert "secret" not in str(caught.value)


def test_a_key_is_returned_as_it_is():
    assert check_key("sk-proj_1.2+/=", "MY_KEY") == "sk-proj_1.2+/="
