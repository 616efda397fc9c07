"""A server without loaded models for the guards, and one started server for what needs answers."""

from pathlib import Path

import httpx
import pytest

from espresso import world
from serving.api.app import create_app
from serving.service import Service
from serving.settings import Settings


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Return a function from settings to a `Service`; no model is loaded before it is asked."""
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    opened = []

    def make(**settings):
        opened.append(Service(Settings(**settings)))
        return opened[-1]

    yield make
    for each in opened:
        each.uploads.close()
        for session in each.sessions.values():
            session.close()


@pytest.fixture
def client(service):
    """Return a function from settings to an HTTP client of the application, in this process."""

    def connect(base="http://127.0.0.1:8080", headers=None, **settings):
        transport = httpx.ASGITransport(create_app(service(**settings)), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=base, headers=headers)

    return connect


@pytest.fixture(scope="package")
def questions(tmp_path_factory):
    """Questions about clips of the world, with the paths of the clips."""
    return world.make("test", 8, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="package")
def folder(questions):
    return Path(questions[0].visuals[0]).parent
