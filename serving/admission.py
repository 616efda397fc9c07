"""Bound the work: requests in progress, requests that wait, bytes of a body, seconds of a request.

`Admission` is ASGI middleware around the routes that compute. It reads the body of a request when
the turn of the request comes, so a waiting request takes a few kilobytes. It cancels a request when
its client disconnects or its time is up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import BodyTooLargeError, BusyError, RequestError, StoppingError, TooSlowError
from serving.settings import Settings

LONGEST_RETRY_S = 60
"""Longest Retry-After in seconds."""

Refuse = Callable[[RequestError, bool], ASGIApp]


class Places:
    """Places for requests in progress, with a bounded queue before them.

    Args:
        at_once: requests in progress at once.
        waiting: requests that may wait.
    """

    in_progress: int = 0
    """Requests that have a place."""

    waiting: int = 0
    """Requests that wait for one."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once, self._may_wait = at_once, waiting
        self._free = asyncio.Semaphore(at_once)
        self._stopped = asyncio.Event()
        self._mean_s = 1.0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Raises:
            BusyError: as many requests wait as may wait.
            StoppingError: the server stops.
        """
        if self.stopped:
            raise StoppingError("the server stops. Send the request again after its restart.")
        if self.in_progress + self.waiting >= self._at_once + self._may_wait:
            retry_s = self.retry_after_s
            raise BusyError(f"{self.waiting} requests wait already. Send the request again in {retry_s} s.", retry_s)
        self.waiting += 1
        try:
            await self._wait()
        finally:
            self.waiting -= 1
        self.in_progress += 1
        start = time.monotonic()
        try:
            yield
            self._mean_s = 0.9 * self._mean_s + 0.1 * (time.monotonic() - start)
        finally:
            self.in_progress -= 1
            self._free.release()

    async def _wait(self) -> None:
        taking, stopping = asyncio.ensure_future(self._free.acquire()), asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self.stopped:
                raise StoppingError("the server stops. Send the request again after its restart.")
        except BaseException:
            if taking.done() and not taking.cancelled():
                self._free.release()
            taking.cancel()
            raise
        finally:
            stopping.cancel()

    @property
    def retry_after_s(self) -> int:
        """Seconds until the requests that wait now will probably have a place."""
        return min(max(math.ceil(self._mean_s * (self.waiting + 1) / self._at_once), 1), LONGEST_RETRY_S)

    @property
    def stopped(self) -> bool:
        """Whether no further request gets a place."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Refuse the requests that wait, and all further ones."""
        self._stopped.set()


class Admission:
    """ASGI middleware that gives each POST request a place, a limit of bytes and of seconds.

    Args:
        app: the application.
        places: the places.
        settings: the limits.
        refuse: makes the reply of an error; its second argument tells whether another reply, a
            stream, has started already.
    """

    def __init__(self, app: ASGIApp, places: Places, settings: Settings, refuse: Refuse) -> None:
        self._app, self._places, self._settings, self._refuse = app, places, settings, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._handle(scope, receive, sending)
        except RequestError as error:
            await self._refuse(error, started)(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._settings.body_bytes
        too_large = BodyTooLargeError(f"the body is larger than {limit / 1024**2:,.1f} MB. Send smaller or fewer files.")
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        inbox: asyncio.Queue[Message] = asyncio.Queue(1)

        async def listen() -> None:
            """Pass the body on; return when the client disconnects."""
            received = 0
            while (message := await receive())["type"] != "http.disconnect":
                received += len(message.get("body", b""))
                if received > limit:
                    raise too_large
                await inbox.put(message)

        async def work() -> None:
            async with self._places.take():
                await self._app(scope, inbox.get, send)

        listening, working = asyncio.create_task(listen()), asyncio.create_task(work())
        timeout_s = self._settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((listening, working), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise TooSlowError(
                f"the request took longer than {timeout_s:g} s. Send fewer requests at once or a shorter video."
            ) from None
        finally:
            finished = working if working.done() else listening
            for task in (listening, working):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        if finished.done() and not finished.cancelled():
            finished.result()
