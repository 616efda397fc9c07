"""Places for requests: a bounded queue, limits of bytes and seconds, disconnecting, stopping."""

import asyncio

import pytest

from espresso.media import Limits
from serving.admission import Admission, Places
from serving.api.replies import end_reply
from serving.settings import Settings

SMALL = Limits(max_bytes=3000)
BODY = 3000 * 4 // 3 + 1024**2


class Application:
    """Reads the body, then works until `go` is set."""

    def __init__(self, at_once=1, waiting=1, timeout_s=30.0):
        self.places = Places(at_once, waiting)
        settings = Settings(at_once=at_once, waiting=waiting, timeout_s=timeout_s, limits=SMALL)
        self.admission = Admission(self.work, self.places, settings, end_reply)
        self.go, self.started, self.ended, self.cancelled = asyncio.Event(), 0, 0, 0
        self.streams = False

    async def work(self, scope, receive, send):
        self.started += 1
        try:
            while (await receive()).get("more_body"):
                pass
            if self.streams:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


class Client:
    """One request; `leave` disconnects."""

    def __init__(self, application, *, body=(b"{}",), headers=()):
        self.chunks, self.left, self.read, self.sent = list(body), asyncio.Event(), 0, []
        scope = {"type": "http", "method": "POST", "path": "/v1/ask", "headers": list(headers)}
        self.task = asyncio.create_task(application.admission(scope, self.receive, self.send))

    async def receive(self):
        if self.chunks:
            self.read += len(self.chunks[0])
            return {"type": "http.request", "body": self.chunks.pop(0), "more_body": bool(self.chunks)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_request_beyond_the_queue_gets_429_and_when_to_come_again():
    application = Application(at_once=2, waiting=3)
    clients = [Client(application) for _ in range(8)]
    await settle()
    assert (application.started, application.places.in_progress, application.places.waiting) == (2, 2, 3)
    assert [client.status for client in clients[5:]] == [429] * 3
    assert int(clients[5].headers[b"retry-after"]) >= 1
    application.go.set()
    await asyncio.gather(*(client.task for client in clients))
    assert [client.status for client in clients[:5]] == [200] * 5
    assert (application.places.in_progress, application.places.waiting) == (0, 0)


async def test_a_waiting_request_is_not_read():
    application = Application()
    Client(application)
    waits = Client(application, body=[b"x" * 1000] * 100)
    await settle()
    assert waits.read <= 2000
    application.go.set()
    await waits.task
    assert (waits.read, waits.status) == (100_000, 200)


async def test_a_client_that_leaves_frees_its_place():
    application = Application()
    works, waits = Client(application), Client(application)
    await settle()
    waits.left.set()
    await waits.task
    assert application.places.waiting == 0
    works.left.set()
    await works.task
    assert (application.cancelled, application.places.in_progress) == (1, 0)
    assert waits.sent == works.sent == []  # not even that their time was up
    application.go.set()
    following = Client(application)
    await following.task
    assert following.status == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(announced):
    application = Application()
    headers = [(b"content-length", str(BODY + 1).encode())] if announced else []
    client = Client(application, body=[b"x" * 65536] * 100, headers=headers)
    await client.task
    assert client.status == 413
    assert client.read <= (0 if announced else BODY + 65536)
    assert application.ended == 0


async def test_a_request_whose_time_is_up_ends_whether_it_works_or_waits():
    application = Application(timeout_s=0.05)
    clients = [Client(application), Client(application)]
    await asyncio.wait([client.task for client in clients], timeout=20)
    assert [client.status for client in clients if client.sent] == [504, 504]
    assert application.places.in_progress == application.places.waiting == 0


async def test_a_stream_whose_time_is_up_ends_with_an_error():
    application = Application(timeout_s=0.05)
    application.streams = True
    client = Client(application)
    await client.task
    assert client.status == 200
    assert b'"code":"timeout"' in client.sent[1]["body"]
    assert client.sent[1]["more_body"] is False


async def test_when_the_server_stops_requests_in_progress_end_and_others_are_refused():
    application = Application()
    works, waits = Client(application), Client(application)
    await settle()
    application.places.stop()
    await waits.task
    late = Client(application)
    await late.task
    assert (waits.status, late.status) == (503, 503)
    application.go.set()
    await works.task
    assert works.status == 200
