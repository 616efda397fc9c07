"""Real HTTP servers with scripted replies, in place of OpenAI-compatible services."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JsonHandler(BaseHTTPRequestHandler):
    """Replies to a POST request with `server.answers(request)`: (status, body).

    `server.asked` lists the requests.
    """

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(request)
        self.reply(*self.server.answers(request))

    def reply(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html" if data.startswith(b"<") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "5")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with Python's five, a burst of connections waits seconds for a busy machine

    def handle_error(self, *_):
        """Say nothing of clients that time out or are killed."""


@contextmanager
def http_server(handler=JsonHandler, answers=None, port=0):
    """Serve `answers(request)`, on a free port unless one is given; `server.url` is the address for OpenAI's clients."""
    server = _Server(("127.0.0.1", port), handler)
    server.answers, server.asked, server.lock = answers, [], threading.Lock()
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def completion(text, tokens_in=100, tokens_out=50):
    """Return a reply of OpenAI's chat completions."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out},
    }
