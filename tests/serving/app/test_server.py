"""The guards of the app, over HTTP."""

import json
from urllib.parse import urlsplit

import httpx
import psutil
import pytest


@pytest.fixture
def client(app):
    with httpx.Client(base_url=app.url, timeout=60) as client:
        yield client


def test_page_has_a_policy_that_injected_scripts_do_not_pass(client):
    policy = client.get("/").headers["content-security-policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'self'" in scripts
    assert "'unsafe-inline'" not in scripts
    assert "http" not in policy


def test_another_name_of_the_host_is_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_the_app_listens_on_this_machine_only(app):
    port = urlsplit(app.url).port
    listening = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("path", ["/media/{0}", "/frames/{0}/0.webp", "/pages/runs/{0}.html", "/pages/review/{0}"])
def test_what_no_page_has_opened_is_not_served(client, path):
    reply = client.get(path.format("ab" * 32))
    assert reply.status_code == 404
    assert "\n" not in reply.json()["error"]["message"]


def test_no_other_file_of_the_machine_is_served(client, app):
    for path in (app.data, "/etc/passwd"):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert client.get("/pages/runs/..%2f..%2fetc%2fpasswd").status_code == 404
    assert client.get("/assets-of-app/..%2fserver.py").status_code == 404


def test_upload_over_the_limit_of_bytes_is_refused(client):
    reply = client.post("/gradio_api/upload", files={"files": ("large.mp4", b"0" * 3 * 1024**2)})
    assert reply.status_code == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_form_of_another_page_cannot_decide(client, app, kind):
    body = json.dumps({app.questions[0].id: "drop"})
    reply = client.post(f"/pages/review/{app.data.name}/decisions", content=body, headers={"content-type": kind})
    assert reply.status_code >= 400
    assert not app.data.with_suffix(".decisions.json").exists()
