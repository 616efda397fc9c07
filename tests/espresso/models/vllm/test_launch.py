"""The servers that a profile needs, and the errors if they cannot start.

tests/espresso/cli/test_serve.py starts real ones.
"""

import json
import os
import re
import shlex
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espresso import profiles
from espresso.cli import app
from espresso.errors import ModelError, ProfileError
from espresso.models.vllm import launch, process
from espresso.models.vllm.memory import Card
from tests.ports import free_ports

H100 = Card(total_gb=79.1, free_gb=78.6)


def options(server):
    """Return option -> value of a server's arguments."""
    words = list(server.arguments)
    return {word: words[place + 1] if place + 1 < len(words) else "" for place, word in enumerate(words)}


def with_adapters(**adapters):
    profile = profiles.load("laptop")
    return profile.model_copy(update={"reasoner": profile.reasoner.model_copy(update={"adapters": adapters})})


def test_roles_with_the_same_base_share_a_server():
    vlm, *others = launch.plan(profiles.load("tiny"), 8000)
    assert vlm.roles == ("captioner", "reasoner", "detector")
    assert [server.roles for server in others] == [("selector",), ("judge",), ("writer",)]
    assert [server.base_url for server in (vlm, *others)] == [f"http://localhost:{port}/v1" for port in (8000, 8001, 8002, 8003)]


def test_only_servers_of_vision_roles_accept_pictures():
    vlm, *text_servers = launch.plan(profiles.load("tiny"), 8000)
    assert "--limit-mm-per-prompt" in vlm.arguments
    assert not any("--limit-mm-per-prompt" in server.arguments for server in text_servers)


def test_servers_write_json_as_this_process_does():
    """By default, vLLM lets a model put white space into JSON: `{ "frames": ...`."""
    for server in launch.plan(profiles.load("tiny"), 8000):
        settings = json.loads(options(server)["--structured-outputs-config"])
        assert settings == {"backend": "guidance", "disable_any_whitespace": True}


def test_a_server_offers_its_adapters_and_follows_the_profile():
    captioner, reasoner = launch.plan(with_adapters(evidence="/lora/e", answer="/lora/a"), 8000)
    assert reasoner.roles == ("selector", "reasoner", "writer")
    assert options(captioner)["--limit-mm-per-prompt"] == '{"image": 1}'
    assert options(reasoner)["--max-model-len"] == "16384"
    assert options(reasoner)["--kv-cache-memory-bytes"] == str(4 << 30)
    base, *adapters = reasoner.models
    assert base == "Qwen/Qwen3-VL-2B-Instruct"
    assert reasoner.arguments[-2:] == (f"{adapters[0]}=/lora/e", f"{adapters[1]}=/lora/a")
    assert options(reasoner)["--max-loras"] == "2"


def test_servers_of_one_gpu_request_shares_that_fit_together():
    servers = launch.plan(profiles.load("paper"), 8000, cards=[H100])
    shares = [float(options(server)["--gpu-memory-utilization"]) for server in servers]
    assert len(shares) == 3
    assert sum(shares) < H100.free_gb / H100.total_gb
    assert not any("--enforce-eager" in server.arguments for server in servers)


def test_a_role_can_use_several_gpus():
    profile = profiles.load("paper")
    split = profile.reasoner.model_copy(update={"tensor_parallel": 2, "devices": (2, 3)})
    servers = launch.plan(profile.model_copy(update={"reasoner": split, "writer": split}), 8000, cards=[H100] * 4)
    *_, reasoner = servers
    assert options(reasoner)["--tensor-parallel-size"] == "2"
    assert options(reasoner)["--kv-cache-memory-bytes"] == str(8 << 30)
    assert [words[0] for words in process._split(launch.command(servers)[3:])] == [
        f"CUDA_VISIBLE_DEVICES={devices}" for devices in ("1", "0", "2,3")
    ]


def test_servers_of_the_cpu_request_no_gpu():
    servers = launch.plan(profiles.load("paper"), 8000, cards=[])
    command = launch.command(servers)
    assert not any(word.startswith("CUDA_VISIBLE_DEVICES") for word in command)
    assert "--gpu-memory-utilization" not in command
    assert command.count("--enforce-eager") == 3


@pytest.mark.parametrize("from_profile", [True, False])
def test_a_server_sees_pictures_as_this_process_does(family, from_profile):
    processor = family._engine().processor
    given = processor._image_options if from_profile else None
    role = profiles.load("laptop").captioner.model_copy(update={"model": str(family._folder), "image_options": given})
    server, *_ = launch.plan(profiles.load("laptop").model_copy(update={"captioner": role}), 8000, cards=[])
    assert json.loads(options(server).get("--mm-processor-kwargs", "{}")) == processor._image_options


def test_the_shipped_profiles_name_the_options_of_their_captioners():
    assert [options(launch.plan(profiles.load(name), 8000)[0])["--mm-processor-kwargs"] for name in ("laptop", "paper")] == [
        '{"do_image_splitting": false, "size": {"longest_edge": 512}}',
        '{"crop_to_patches": false}',
    ]


@pytest.mark.parametrize(("rank", "accepted"), [(4, "8"), (16, "16"), (200, "256")])
def test_the_rank_is_rounded_up_to_one_that_vllm_accepts(tmp_path, rank, accepted):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    _, reasoner = launch.plan(with_adapters(evidence=str(tmp_path)), 8000)
    assert options(reasoner)["--max-lora-rank"] == accepted


def test_a_profile_without_local_models_has_nothing_to_serve():
    with pytest.raises(ProfileError, match="profile api has no local models to serve"):
        launch.plan(profiles.load("api"), 8000)


def test_a_model_saved_in_float32_is_served_in_it_on_every_machine(monkeypatch):
    monkeypatch.setattr(launch.torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert {options(server)["--dtype"] for server in launch.plan(profiles.load("tiny"), 8000)} == {"float32"}


def test_a_dry_run_prints_a_shell_command():
    done = CliRunner().invoke(app, ["serve", "models", "--profile", "paper", "--dry-run"])
    assert done.exit_code == 0
    command = shlex.split(done.stdout)
    assert command[:3] == [sys.executable, "-m", "espresso.models.vllm.process"]
    models = [command[place + 1] for place, word in enumerate(command) if word == "--model"]
    assert models == ["OpenGVLab/InternVL3-1B-hf", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"]


def test_a_dry_run_prints_the_plan_besides_the_command(monkeypatch):
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch.torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(launch, "read_cards", lambda: [H100])
    done = CliRunner().invoke(app, ["serve", "models", "--profile", "paper", "--dry-run", "--port", "9000"])
    assert done.stderr.splitlines()[1] == (
        "selector: Qwen/Qwen2.5-1.5B-Instruct, port 9001, GPU 0, "
        "2.89 GB weights + 4 GB KV cache + 4 GB overhead = 10.9 GB, share 0.138"
    )
    assert "options of its image processor are read from its files once it is downloaded" in done.stderr
    assert shlex.split(done.stdout).count("CUDA_VISIBLE_DEVICES=0") == 3


def test_a_dry_run_on_a_cpu_says_so():
    done = CliRunner().invoke(app, ["serve", "models", "--profile", "tiny", "--dry-run"])
    assert re.search(
        r"captioner, reasoner, detector: .*/tiny/vlm, port 8000, CPU, [\d.]+ GB weights \+ 1 GB KV cache$", done.stderr, re.M
    )


def test_a_port_that_is_in_use_is_named():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        done = CliRunner().invoke(app, ["serve", "models", "--port", str(port)])
    assert done.exit_code == 2
    assert f"port {port} for vlm@" in "".join(done.stderr.splitlines())
    assert "already in use" in " ".join(done.stderr.split())


def test_a_model_that_vllm_does_not_support_is_reported_in_its_words(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nobody"}')
    broken = profiles.load("tiny").selector.model_copy(update={"model": str(tmp_path)})
    servers = launch.plan(profiles.load("tiny").model_copy(update={"captioner": broken, "reasoner": broken}), free_ports())
    message = r"vLLM failed to start: .*nobody.* The full log is in .*vllm\.log\."
    with pytest.raises(ModelError, match=message), launch.running(servers):
        pytest.fail("the servers started")
    deadline = time.monotonic() + 60  # a busy machine takes a while to end what was killed
    while left := [line for line in command_lines() if "espresso.models.vllm.process" in line and str(tmp_path) in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (" INFO KeyError: a\nTraceback\nValueError: no such model.\nlast line", "no such model."),
        ("1 validation error for Config\nKilled", "Killed."),
        ("", "the log is empty."),
    ],
)
def test_the_first_error_of_the_log_is_the_reason(tmp_path, log, reason):
    (tmp_path / "vllm.log").write_text(log)
    assert launch._reason(tmp_path / "vllm.log") == reason


def command_lines():
    """Yield the command line of every other process on the machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.parent.name != str(os.getpid()):
                yield file.read_text().replace("\0", " ")
