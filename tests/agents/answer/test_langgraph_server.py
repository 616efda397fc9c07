"""LangGraph's own server runs the graph of langgraph.json; it refuses code that blocks its event loop."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from espresso import world
from tests.ports import free_ports

ROOT = Path(__file__).parents[3]
START_S = 240


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run `langgraph dev` in an environment of its own: it needs another protobuf than vLLM does."""
    tmp_path = tmp_path_factory.mktemp("server")
    port = free_ports()
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    command = [uv, "run", "--isolated", "--no-dev", "--group", "langgraph", "langgraph", "dev"]
    environment = os.environ | {"ESPRESSO_CACHE": str(tmp_path / "cache")}
    environment.pop("VIRTUAL_ENV", None)
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--no-browser", "--no-reload", "--port", str(port)],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while not answers(f"{url}/ok"):
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()[-2000:]
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url):
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are for Unix")
def test_a_run_through_the_servers_api_answers_a_question(server, tmp_path):
    (question, *_) = world.demo_clip(tmp_path / "clip.mp4", 7)
    asked = {"id": "q", "visuals": [str(tmp_path / "clip.mp4")], "text": question.text, "options": list(question.options)}
    state = run(server, "answer", {"question": asked, "boxes": True})
    assert state["text"] in question.options
    assert state["core_frames"]
    nodes = ["sample", "caption", "select", "evidence", "sufficient", "name", "ground", "answer"]
    assert [step["node"] for step in state["trace"]] == nodes


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are for Unix")
def test_a_run_through_the_servers_api_constructs_questions(server, tmp_path):
    (question,) = world.make("val", 1, tmp_path, workers=1)
    state = run(server, "annotate", {"source": question.visuals[0]})
    assert {"sample", "caption", "group", "write"} <= {step["node"] for step in state["trace"]}


def run(server, graph, values):
    """Run a graph of the server with the profile `tiny`; return its last state."""
    body = {"assistant_id": graph, "input": values, "context": {"profile": "tiny"}}
    request = Request(f"{server}/runs/wait", json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=120) as reply:
        state = json.load(reply)
    assert "__error__" not in state, state
    return state
