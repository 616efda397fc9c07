"""The real command over a real clip; the models stand behind a small OpenAI-compatible server, as anybody's may."""

import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from espresso import media
from espresso.cli import app
from tests.http_server import JsonHandler, http_server

ROLE = """
[{role}]
backend = "openai"
model = "{role}"
base_url = "{url}"
context_length = 32000
picture_tokens = 100
"""


def write_profile(path, url):
    head = 'about = "test"\ndownload = "none"\nprompts = "general"\nsampling = "uniform-6"\nframe_size = 64\ncore_frames = 4\n'
    path.write_text(head + "".join(ROLE.format(role=role, url=url) for role in ("captioner", "selector", "reasoner")))
    return path


class Handler(JsonHandler):
    """The captioner sees a square further on each time, the selector names frames 2 and 3, the reasoner takes the last option."""

    captioned = itertools.count()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choices = request.get("structured_outputs", {}).get("choice", [])
        seen = f"a red square after {next(self.captioned)} steps"
        said = {"captioner": seen, "selector": '{"frames": [2, 3]}', "reasoner": "it moves right"}[request["model"]]
        token = lambda text, p: {"token": text, "logprob": float(np.log(p)), "bytes": None, "top_logprobs": []}  # noqa: E731
        content = [token(said, 0.5)]
        if choices:
            said = self.choose(request["messages"], choices)
            rest = 0.2 / (len(choices) - 1)
            content = [token(said, 0.8) | {"top_logprobs": [token(c, 0.8 if c == said else rest) for c in choices]}]
        self.reply(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": said},
                        "logprobs": {"content": content},
                    }
                ],
                "usage": {"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104},
            },
        )

    def choose(self, messages, choices):
        return choices[-1]


@pytest.fixture(scope="session")
def server():
    with http_server(Handler) as server:
        yield server.url


@pytest.fixture
def profile(tmp_path, server):
    return write_profile(tmp_path / "served.toml", server)


@pytest.fixture
def profile_of_a_dead_server(tmp_path):
    return write_profile(tmp_path / "dead.toml", "http://127.0.0.1:9/v1")


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    frames = np.full((24, 64, 64, 3), 230, np.uint8)
    for index, frame in enumerate(frames):
        frame[20:36, 2 * index : 2 * index + 16] = (200, 30, 30)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.write_video(path, frames, 8)
    return path


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESPRESSO_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def espresso():
    """Run `espresso` with arguments; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])
