"""The application: the page, the routes beside it, and the middleware around both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from fastapi import Body, FastAPI, Request
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espresso import media
from espresso.cache import default_folder
from espresso.errors import EspressoError
from serving.admission import Admission
from serving.api.app import LOOPBACK_NAMES
from serving.api.replies import end_reply, error_reply
from serving.app.examples import Examples
from serving.app.page import build, theme
from serving.app.reports import Decided, Reports
from serving.app.shown import Visuals
from serving.errors import RequestError, UnknownFileError
from serving.guards import Outside, page_policy
from serving.process import serve
from serving.service import Service
from serving.settings import Settings

HERE = Path(__file__).parent

IMMUTABLE = {"cache-control": "private, max-age=86400, immutable"}
"""For what is named by its digest."""

PAGE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'self'"
)
"""Content security policy of the run report and the review page, which are shown in a frame."""

_HEAD = '<link rel="stylesheet" href="assets-of-app/page.css"><script src="assets-of-app/page.js"></script>'


def run(
    settings: Settings,
    examples: Examples,
    reports: Reports,
    *,
    on_start: Callable[[str], None],
    on_ready: Callable[[], None],
) -> None:
    """Serve the app until SIGINT or SIGTERM.

    Args:
        settings: the settings; the folders are those whose files the page lists.
        examples: what the page offers to ask.
        reports: pages about runs and datasets; closed at the end.
        on_start: called with the server's address when it accepts connections.
        on_ready: called when the models are loaded.

    Raises:
        DataError: the address cannot be used, or a folder does not exist.
        ProfileError: the profile does not exist or is invalid.
        ModelError: a model cannot be loaded.
    """
    folders = settings.folders
    settings = settings.model_copy(update={"folders": (*folders, default_folder() / "world")})
    try:
        serve(settings, on_start, on_ready, partial(create_app, examples=examples, reports=reports, folders=folders))
    finally:
        reports.close()


def create_app(
    service: Service, load: Callable[[], Any] | None, examples: Examples, reports: Reports, folders: Sequence[Path]
) -> FastAPI:
    """Return the application.

    Args:
        service: answers the questions; it is closed with the application.
        load: starts to load the models; called when the application starts.
        examples: what the page offers to ask; their files are in the service's folders.
        reports: pages about runs and datasets.
        folders: folders whose files the page lists.
    """
    # Open pages hold connections; that stopping ends them is no error.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not service.places.stopped)
    app = FastAPI(title="Espresso", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lambda _: service.running(load))
    visuals = Visuals(service)
    _add_media(app, visuals)
    _add_reports(app, reports)
    app.add_exception_handler(EspressoError, lambda _, error: error_reply(error))
    page = build(service, visuals, examples, reports, folders)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=service.settings.limits.max_bytes,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        favicon_path=str(HERE / "favicon.svg"),
        theme=theme(),
        head=_HEAD,
    )
    app.add_middleware(Admission, places=service.places, settings=service.settings, refuse=end_reply)
    if service.settings.loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_NAMES, service.settings.host])
    app.add_middleware(Policy)
    app.add_middleware(Outside, metrics=service.metrics)
    return app


def _add_media(app: FastAPI, visuals: Visuals) -> None:
    @app.get("/assets-of-app/{name}")
    async def asset(name: str) -> Response:
        if name not in ("page.css", "page.js"):
            raise UnknownFileError(f"{name[:80]}: no such file.")
        return FileResponse(HERE / name, headers={"cache-control": "no-cache"})

    @app.get("/media/{digest}")
    async def file(digest: str) -> Response:
        """Return the file of a visual that the page shows."""
        if (shown := visuals.find(digest)) is None or not shown.file.is_file():
            raise UnknownFileError(f"{digest[:80]}: this image or video is not shown any more. Choose it again.")
        kind = "video/mp4" if shown.opened.visual.kind == "video" else "image/png"  # browsers look at the content
        return FileResponse(shown.file, media_type=kind, headers=IMMUTABLE)

    @app.get("/frames/{digest}/{index}.webp")
    async def frame(digest: str, index: int) -> Response:
        """Return the picture of a frame."""
        shown = visuals.find(digest)
        if shown is None or index not in shown.pictures:
            raise UnknownFileError(f"{digest[:80]}: no picture of frame {index}. Ask again.")
        return Response(shown.pictures[index], media_type="image/webp", headers=IMMUTABLE)


def _add_reports(app: FastAPI, reports: Reports) -> None:
    @app.get("/pages/runs/{name}")
    async def run(name: str) -> Response:
        """Return a page about runs."""
        return FileResponse(reports.page(name), media_type="text/html", headers={"content-security-policy": PAGE_POLICY})

    @app.get("/pages/review/{name}")
    async def review(name: str) -> Response:
        """Return the page to review a dataset on."""
        html = await media.in_background(reports.review_page, name, f"{name}/decisions")
        return HTMLResponse(html, headers={"content-security-policy": PAGE_POLICY, "cache-control": "no-store"})

    @app.post("/pages/review/{name}/decisions")
    async def decide(request: Request, name: str, decided: Annotated[dict[str, Decided], Body()]) -> Response:
        """Store decisions."""
        if request.headers.get("content-type") != "application/json":  # a form of another page has another type
            raise RequestError("the decisions are not sent as JSON. Send them as application/json.")
        return JSONResponse({"decisions": await media.in_background(reports.decide, name, decided)})


class Policy:
    """ASGI middleware that gives the page its content security policy: scripts by file and by hash.

    Gradio compiles templates of its components at run time, which needs 'unsafe-eval'.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see ASGI."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def sending(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if start and not message.get("more_body"):
                policy = page_policy(body.decode(errors="replace"), evaluates=True)
                start["headers"] = [*start["headers"], (b"content-security-policy", policy.encode())]
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, sending)
