"""Run a server until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from espresso.errors import DataError, EspressoError
from serving.api.app import create_app
from serving.service import Service
from serving.settings import Settings

MAX_CONNECTIONS = 1024
"""Connections that are open at once, the ones that send nothing included."""


class _Server(uvicorn.Server):
    """Refuses the requests that wait before it waits for those in progress."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.places.stop()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    on_start: Callable[[str], None],
    on_ready: Callable[[], None],
    create: Callable[[Service, Callable[[], Any]], FastAPI] = create_app,
) -> None:
    """Serve the API, or another application of a service, until SIGINT or SIGTERM.

    The signals are handled also in a background job of a script, where a shell ignores SIGINT.

    Args:
        settings: the settings.
        on_start: called with the server's address when it accepts connections.
        on_ready: called when the models are loaded.
        create: makes the application; see `create_app`.

    Raises:
        DataError: the address cannot be used, or a folder does not exist.
        ProfileError: a profile does not exist or is invalid.
        ModelError: a model cannot be loaded.
    """
    check_folders(settings)
    listener = _bind(settings)
    service = Service(settings)
    failures: list[EspressoError] = []

    async def load() -> None:
        try:
            await service.load()
            on_ready()
        except EspressoError as error:
            failures.append(error)
            server.should_exit = True

    def start() -> asyncio.Task[None]:
        host, port = listener.getsockname()[:2]
        on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        return asyncio.create_task(load())

    config = uvicorn.Config(
        create(service, start),
        access_log=False,  # it has the query, which may hold a key; `guards` writes one without
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(settings.stop_s),
    )
    server = _Server(config, service)
    # uvicorn raises the signal again at its end, for the handlers that were set before.
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if failures:
        raise failures[0]


def check_folders(settings: Settings) -> None:
    """Raise DataError if a folder of the settings does not exist."""
    if missing := next((folder for folder in settings.folders if not folder.is_dir()), None):
        raise DataError(f"{missing}: no such folder. Give an existing folder to --allow-media.")


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise DataError(
            f"{settings.host}:{settings.port}: cannot listen there ({error.strerror or error}). Give another --host or --port."
        ) from None
