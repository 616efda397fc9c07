"""API keys, the headers of replies, the name of the host, and what the log does not say."""

import base64
import hashlib
import logging
import re

import pytest
from api_server import asking

KEY = "sk-very-secret"


async def test_without_the_key_nothing_but_the_state_is_served(client):
    async with client(keys=(KEY, "another")) as http:
        for path in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/v1/files"):
            assert (await http.get(path)).status_code == 401
        assert (await http.post("/v1/chat/completions", json=asking("x"))).status_code == 401
        assert (await http.get("/health")).status_code == 200
        for wrong in ("Bearer", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer \xff"):
            reply = await http.get("/v1/models", headers={"authorization": wrong.encode("latin-1")})
            assert reply.status_code == 401
        assert reply.json()["error"]["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"] == "Bearer"
        for right in (KEY, "another"):
            assert (await http.get("/v1/models", headers={"authorization": f"Bearer {right}"})).status_code == 200


async def test_no_key_is_in_any_log(client, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):  # the client in this test
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    async with client(keys=(KEY,)) as http:
        for header in (f"Bearer {KEY}", f"Bearer x{KEY}"):
            await http.get(f"/v1/models?api_key={KEY}", headers={"authorization": header, "api-key": KEY})
            body = asking(f"https://user:{KEY}@media.example/clip.mp4?token={KEY}")
            reply = await http.post(f"/v1/chat/completions?key={KEY}", headers={"authorization": header}, json=body)
            assert KEY not in reply.text
    assert "POST /v1/chat/completions 400" in caplog.text
    assert KEY not in caplog.text


async def test_settings_do_not_show_the_keys(service):
    assert KEY not in repr(service(keys=(KEY,)).settings)


async def test_every_reply_forbids_content_and_frames(client):
    async with client() as http:
        for path in ("/health", "/v1/models", "/nothing", "/docs/static/swagger-ui.css"):
            headers = (await http.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"


async def test_the_page_loads_files_of_this_server_and_runs_its_own_script_only(client):
    async with client() as http:
        page = await http.get("/docs")
        policy = page.headers["content-security-policy"]
        (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'self' 'sha256-{digest}';" in policy
        assert "'unsafe-inline'" not in re.search("script-src[^;]*", policy)[0]
        for url in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert url.startswith("/docs/static/")
            assert (await http.get(url)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "[::2]"])
async def test_a_page_whose_name_resolves_to_this_machine_cannot_use_the_server(client, host):
    async with client() as http:
        assert (await http.get("/v1/models", headers={"host": host})).status_code == 400
        for own in ("localhost:8080", "[::1]:8080", "127.0.0.1"):
            assert (await http.get("/v1/models", headers={"host": own})).status_code == 200


async def test_a_page_elsewhere_cannot_send_a_question_without_a_preflight(client):
    """A browser sends text/plain to another origin without asking that origin first."""
    async with client() as http:
        reply = await http.post("/v1/ask", content='{"model":"tiny"}', headers={"content-type": "text/plain"})
        assert reply.status_code == 400
        assert (await http.options("/v1/ask", headers={"origin": "https://evil.example"})).headers.get(
            "access-control-allow-origin"
        ) is None
