"""Which servers a profile needs, and what is said where they cannot start; tests/finetune/test_served.py starts real ones."""

import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espresso import profiles
from espresso.cli import app
from espresso.errors import ModelError, ProfileError
from espresso.models.vllm import launch as serving


def options(server):
    """What follows each option of a command."""
    command = list(server.arguments)
    return {word: command[place + 1] if place + 1 < len(command) else "" for place, word in enumerate(command)}


def test_roles_that_share_a_base_share_a_server():
    vlm, selector, judge = serving.plan(profiles.load("tiny"), 8000)
    assert vlm.roles == ("captioner", "reasoner")
    assert (selector.roles, judge.roles) == (("selector",), ("judge",))
    assert [server.base_url for server in (vlm, selector, judge)] == [
        f"http://localhost:{port}/v1" for port in (8000, 8001, 8002)
    ]


def test_models_that_only_read_are_not_offered_pictures():
    vlm, *readers = serving.plan(profiles.load("tiny"), 8000)
    assert "--limit-mm-per-prompt" in vlm.arguments
    assert not any("--limit-mm-per-prompt" in server.arguments for server in readers)


def test_a_server_offers_each_adapter_under_its_name_and_takes_what_the_profile_says():
    profile = profiles.load("laptop")
    reasoner = profile.reasoner.model_copy(update={"adapters": {"evidence": "/lora/e", "answer": "/lora/a"}})
    captioner, rest = serving.plan(profile.model_copy(update={"reasoner": reasoner}), 8000)
    assert rest.roles == ("selector", "reasoner")
    assert options(captioner)["--limit-mm-per-prompt"] == '{"image": 1}'
    assert options(rest)["--max-model-len"] == "16384"
    assert options(rest)["--kv-cache-memory-bytes"] == str(4 << 30)
    base, *named = rest.models
    assert base == "Qwen/Qwen3-VL-2B-Instruct"
    assert rest.arguments[-2:] == (f"{named[0]}=/lora/e", f"{named[1]}=/lora/a")
    assert options(rest)["--max-loras"] == "2"


def test_what_is_served_elsewhere_is_not_served_again():
    with pytest.raises(ProfileError, match="behind servers already"):
        serving.plan(profiles.load("api"), 8000)


def test_a_dry_run_prints_commands_that_a_shell_can_read():
    done = CliRunner().invoke(app, ["serve", "models", "--profile", "paper", "--dry-run"])
    assert done.exit_code == 0
    command = shlex.split(done.stdout)
    assert command[:3] == [sys.executable, "-m", "espresso.models.vllm.process"]
    models = [command[place + 1] for place, word in enumerate(command) if word == "--model"]
    assert models == ["OpenGVLab/InternVL3-1B-hf", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"]


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["serve", "models", "--port", str(port)])
    assert done.exit_code == 2
    assert f"port {port} is taken, where vlm@" in "".join(done.stderr.splitlines())


def test_a_model_that_vllm_does_not_know_is_told_in_its_words(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nobody"}')
    broken = profiles.load("tiny").selector.model_copy(update={"model": str(tmp_path)})
    servers = serving.plan(profiles.load("tiny").model_copy(update={"captioner": broken, "reasoner": broken}), free())
    told = r"vLLM gave up: .*nobody.* More is in .*vllm\.log\."
    with pytest.raises(ModelError, match=told), serving.running(servers):
        pytest.fail("it never answered")
    assert not any("vllm_server" in line and str(tmp_path) in line for line in running())


def free():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def running():
    """Yield the command line of each process on the machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield file.read_text().replace("\0", " ")
