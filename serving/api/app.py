"""The routes of the API, and the middleware around them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, Response, StreamingResponse

from agents.judge import JudgeResult
from espresso import media
from espresso.errors import EspressoError
from espresso.schema import Answer, Record
from serving.admission import Admission
from serving.api.chat import ChatReply, ChatRequest, chat_reply, read_request
from serving.api.replies import ErrorContent, ErrorReply, end_reply, error_reply, record
from serving.api.stream import INTERNAL, stream
from serving.errors import StoppingError, kind_of
from serving.guards import Keys, Outside, page_policy
from serving.service import AskRequest, JudgeRequest, Service
from serving.uploads import DeletedFile, UploadedFile

log = logging.getLogger("espresso.serving")

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
"""Values of the Host header on loopback: a page whose name resolves to 127.0.0.1 has another."""


class Model(Record):
    """A model that requests can name."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["espresso"] = "espresso"

    description: str
    """What the profile can and cannot do."""


class Models(Record):
    """All models."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class Files(Record):
    """All uploads."""

    object: Literal["list"] = "list"
    data: tuple[UploadedFile, ...]


class Health(Record):
    """The state of the server."""

    status: Literal["ok", "loading", "stopping"]


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 404, 413, 429, 500, 502, 503, 504)
}


def create_app(service: Service, load: Callable[[], Any] | None = None) -> FastAPI:
    """Return the application.

    Args:
        service: answers the requests; it is closed with the application.
        load: starts to load the models; called when the application starts.
    """
    app = FastAPI(
        title="Espresso",
        summary="Questions about images and videos, answered with evidence.",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: service.running(load),
        responses=ERRORS,
    )
    _add_chat(app, service)
    _add_records(app, service)
    _add_files(app, service)
    _add_state(app, service)
    _add_docs(app)
    app.add_exception_handler(EspressoError, lambda _, error: error_reply(error))
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, lambda _, error: record(INTERNAL, 500))
    app.add_middleware(Admission, places=service.places, settings=service.settings, refuse=end_reply)
    app.add_middleware(Keys, keys=service.settings.keys, refuse=error_reply)
    if service.settings.loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_NAMES, service.settings.host])
    app.add_middleware(Outside, metrics=service.metrics)
    return app


def _add_chat(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", response_model=ChatReply)
    async def chat_completions(request: ChatRequest) -> Response:
        """Answer the last message about all images and videos of the conversation."""
        asked = read_request(request)
        session, strategy = service.find(request.model)
        visuals = await service.open(asked.question.visuals)
        if not request.stream:
            return record(chat_reply(asked, await service.answer(asked.question, session, strategy, visuals)))
        events = stream(
            asked,
            lambda on_progress: service.answer(asked.question, session, strategy, visuals, on_progress),
            with_usage=bool(request.stream_options and request.stream_options.include_usage),
        )
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    @app.get("/v1/models", response_model=Models)
    async def models() -> Response:
        """List the models."""
        return record(Models(data=tuple(_model(service, name) for name in service.models())))

    @app.get("/v1/models/{name:path}", response_model=Model)
    async def model(name: str) -> Response:
        """Return one model."""
        service.find(name)
        return record(_model(service, name))


def _model(service: Service, name: str) -> Model:
    return Model(id=name, description=service.find(name)[0].profile.about)


def _add_records(app: FastAPI, service: Service) -> None:
    @app.post("/v1/ask", response_model=Answer)
    async def ask(request: AskRequest) -> Response:
        """Answer a question about images and videos with the whole `Answer`."""
        return record(await service.ask(request))

    @app.post("/v1/judge", response_model=JudgeResult)
    async def judge(request: JudgeRequest) -> Response:
        """Score an answer against a reference."""
        return record(await service.judge(request))


def _add_files(app: FastAPI, service: Service) -> None:
    @app.post("/v1/files", response_model=UploadedFile)
    async def upload(file: UploadFile, purpose: Annotated[str, Form()] = "user_data") -> Response:
        """Upload an image or video, to name it by its id in later requests."""
        stored = await media.in_background(service.uploads.add, file.file, file.filename or "", purpose[:80])
        return record(stored)

    @app.get("/v1/files", response_model=Files)
    async def files() -> Response:
        """List the uploads."""
        return record(Files(data=tuple(service.uploads.all())))

    @app.get("/v1/files/{name}", response_model=UploadedFile)
    async def file(name: str) -> Response:
        """Return the record of an upload."""
        return record(service.uploads.find(name)[1])

    @app.delete("/v1/files/{name}", response_model=DeletedFile)
    async def delete(name: str) -> Response:
        """Delete an upload."""
        return record(service.uploads.delete(name))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """Return 200 as long as the server runs."""
        return record(Health(status="ok"))

    @app.get("/ready", response_model=Health, responses={503: {"model": Health}})
    async def ready() -> Response:
        """Return 200 when the models are loaded and the server does not stop, else 503."""
        if service.ready:
            return record(Health(status="ok"))
        return record(Health(status="stopping" if service.places.stopped else "loading"), StoppingError.status)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return the metrics for Prometheus."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_docs(app: FastAPI) -> None:
    """Add the documentation page. Its script and style are files of this server."""
    assets = resources.files("fastapi_offline") / "static"
    app.mount("/docs/static", StaticFiles(directory=str(assets)))
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Espresso",
        swagger_js_url="/docs/static/swagger-ui-bundle.js",
        swagger_css_url="/docs/static/swagger-ui.css",
        swagger_favicon_url="/docs/static/favicon.png",
    )
    html = bytes(page.body).decode()
    policy = page_policy(html)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(html, headers={"content-security-policy": policy})


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where: Sequence[Any] = [part for part in first["loc"] if part != "body"]
    field = ".".join(map(str, where)) or None
    message = f"{field or 'the body'}: {first['msg']}. Correct the request."
    return record(ErrorReply(error=ErrorContent(message=message, type=kind_of(400), param=field)), 400)


async def _http_error(_: Request, error: HTTPException) -> Response:
    content = ErrorContent(message=f"{error.detail}.", type=kind_of(error.status_code))
    reply = record(ErrorReply(error=content), error.status_code)
    reply.headers.update(error.headers or {})
    return reply
