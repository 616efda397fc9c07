"""The shipped recipe for fifty steps, then a real vLLM server with both adapters: what it says is what was trained."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from espresso.cli import app

ROOT = Path(__file__).parents[2]
RECIPE = "finetune/configs/tiny.yaml"
SERVER_UP_S = 300


def espresso(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny-lora")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for stage in ("evidence", "answer"):
            espresso("finetune", stage, RECIPE, "--steps", 50, "--output", folder)
    return folder


@pytest.fixture(scope="module")
def server(adapters):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(ROOT / "espresso/profiles/tiny/vlm"), "--served-model-name", "tiny", "--dtype", "float32"),
        *("--enable-lora", "--max-lora-rank", "32", "--enforce-eager", "--max-model-len", "1024"),
        *("--lora-modules", f"evidence={adapters / 'evidence'}", f"answer={adapters / 'answer'}"),
        *("--limit-mm-per-prompt", '{"image": 16}'),
    ]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    log = adapters / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait(url, process, log):
    until = time.monotonic() + SERVER_UP_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(1)
    pytest.fail("the server did not come up:\n" + log.read_text()[-3000:])


@pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
def test_a_server_says_what_was_trained(adapters, server, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = espresso(
        "finetune", "check", RECIPE, "--output", adapters, "--server", server, "--model", "tiny", "--limit", 64, "--json"
    )
    evidence, answer = json.loads(said)
    for stage in (evidence, answer):
        assert stage["n"] == 64
        assert stage["same"] >= 0.98
        assert stage["changed"] > 0


def test_a_server_that_is_down_is_told_with_how_to_start_it(adapters, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(
        app, ["finetune", "check", RECIPE, "--output", str(adapters), "--server", "http://127.0.0.1:9/v1", "--model", "tiny"]
    )
    assert done.exit_code == 2
    assert "no server answers there" in done.stderr
    assert "--lora-modules evidence=" in "".join(done.stderr.splitlines())
