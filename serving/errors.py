"""Why a request is refused, and the HTTP status of each error."""

from __future__ import annotations

from typing import ClassVar

from espresso.errors import EspressoError, ModelError, ServerDownError


class RequestError(EspressoError):
    """A request that the server refuses. The message is the reply."""

    status: ClassVar[int] = 400
    code: ClassVar[str | None] = None
    """Machine-readable reason, as in OpenAI's errors."""

    retry_after_s: int | None = None
    """Seconds after which the client may try again, or None."""


class KeyMissingError(RequestError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"


class UnknownModelError(RequestError):
    """No such model is offered."""

    status = 404
    code = "model_not_found"


class UnknownFileError(RequestError):
    """No such upload exists."""

    status = 404
    code = "file_not_found"


class BodyTooLargeError(RequestError):
    """The body of the request is larger than the limit."""

    status = 413
    code = "request_too_large"


class BusyError(RequestError):
    """As many requests wait as may wait."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoppingError(RequestError):
    """The server stops."""

    status = 503
    code = "stopping"


class TooSlowError(RequestError):
    """The time of the request is up."""

    status = 504
    code = "timeout"


def status_of(error: EspressoError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, ServerDownError):
        return 503
    return 502 if isinstance(error, ModelError) else 400


def kind_of(status: int) -> str:
    """Return the `type` of OpenAI's errors with this status."""
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    return kinds.get(status) or ("invalid_request_error" if status < 500 else "server_error")
