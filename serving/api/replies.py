"""Replies: records as JSON, and errors in OpenAI's form."""

from __future__ import annotations

import math

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from espresso.errors import EspressoError
from espresso.schema import Record
from serving.errors import RequestError, kind_of, status_of


class ErrorContent(Record):
    """What is wrong, as in OpenAI's API."""

    message: str
    """What is wrong, where, and how to fix it."""

    type: str
    """Kind of error."""

    param: str | None = None
    """The field of the request that is wrong, if it is one."""

    code: str | None = None
    """Machine-readable reason."""


class ErrorReply(Record):
    """The body of every reply that is an error."""

    error: ErrorContent


def record(content: Record, status: int = 200) -> Response:
    """Return a record as JSON; text that is not valid Unicode is escaped."""
    return Response(content.model_dump_json(), status, media_type="application/json")


def error_content(error: EspressoError) -> ErrorReply:
    """Return an error as a record."""
    code = error.code if isinstance(error, RequestError) else None
    return ErrorReply(error=ErrorContent(message=str(error), type=kind_of(status_of(error)), code=code))


def error_reply(error: EspressoError) -> Response:
    """Return the reply of an error."""
    reply = record(error_content(error), status_of(error))
    if isinstance(error, RequestError) and error.retry_after_s is not None:
        reply.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if reply.status_code == 401:
        reply.headers["www-authenticate"] = "Bearer"
    return reply


def event(content: Record) -> str:
    """Return a record as a server-sent event."""
    return f"data: {content.model_dump_json(exclude_none=True)}\n\n"


def end_reply(error: RequestError, started: bool) -> ASGIApp:
    """Return the reply of an error, or the end of a stream that has started."""
    if not started:
        return error_reply(error)

    async def end(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": event(error_content(error)).encode(), "more_body": False})

    return end
