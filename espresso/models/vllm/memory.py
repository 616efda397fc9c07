"""Plan which GPUs the servers of a profile use, and which share of the GPUs' memory.

vLLM refuses to start unless `--gpu-memory-utilization` (0.92 by default) of a GPU's whole memory is
free, whatever `--kv-cache-memory-bytes` says. So each server requests the share that it needs. As
no server takes more than its share and all shares fit, the servers can start at the same time.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espresso.errors import ModelError, ProfileError
from espresso.models.hub import cached
from espresso.profiles import LocalRole
from espresso.profiles.weights import weight_files

GIB = 2**30
MARGIN_GB = 1.0
"""GiB of each GPU that are not planned.

vLLM checks the free memory after it has created its CUDA context and NCCL's buffers.
"""
DEVICE_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Numbers the GPUs as `nvidia-smi` and vLLM do."""
_PROBE = """
import json, torch
memory = map(torch.cuda.mem_get_info, range(torch.cuda.device_count()))
print(json.dumps([[total / 2**30, free / 2**30] for free, total in memory]))
"""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|MB)")


@dataclass(frozen=True)
class Card:
    """A GPU."""

    total_gb: float
    """Its memory in GiB."""

    free_gb: float
    """Memory in GiB that no process uses."""


@dataclass(frozen=True)
class Placement:
    """GPUs of a server and its memory on each of them, in GiB."""

    devices: tuple[int, ...]
    """Numbers of the GPUs; empty on a CPU."""

    weights_gb: float | None
    """The model's part on each GPU, adapters included; None if its size is unknown."""

    cache_gb: float
    """KV cache."""

    overhead_gb: float = 0
    """CUDA context, activations and CUDA graphs."""

    share: float | None = None
    """Part of the GPU's memory, 0..1, for `--gpu-memory-utilization`; None on a CPU."""

    @property
    def total_gb(self) -> float:
        """Sum of all parts."""
        return (self.weights_gb or 0) + self.cache_gb + self.overhead_gb


def place(models: Sequence[LocalRole], cards: Sequence[Card]) -> list[Placement]:
    """Assign GPUs and memory to models.

    A model without `devices` gets the GPUs with the most memory left, the largest model first.

    Args:
        models: the models to serve, one server each.
        cards: the GPUs. None of them means that the servers run on the CPU.

    Raises:
        ProfileError: the models do not fit, a GPU does not exist, or the size of a model is
            unknown.
    """
    if not cards:
        return [Placement((), weights_gb(model), model.cache_gb) for model in models]
    needs = [_need(model) for model in models]
    left = [card.free_gb - MARGIN_GB for card in cards]
    placed: dict[int, Placement] = {}
    # First the models that name their GPUs, then the largest ones.
    for index in sorted(range(len(models)), key=lambda index: (models[index].devices is None, -needs[index].total_gb)):
        model, need = models[index], needs[index]
        devices = _devices(model, left)
        smallest = min(cards[device].total_gb for device in devices)
        # Rounded up to what the command line shows.
        share = math.ceil(need.total_gb / smallest * 1000) / 1000
        for device in devices:
            left[device] -= share * cards[device].total_gb
        placed[index] = Placement(devices, need.weights_gb, need.cache_gb, need.overhead_gb, share)
    placements = [placed[index] for index in range(len(models))]
    for device, card in enumerate(cards):
        if left[device] < 0:
            raise ProfileError(_too_large(device, card, models, placements))
    return placements


def _need(model: LocalRole) -> Placement:
    """Return a model's memory on each of its GPUs."""
    weights = weights_gb(model)
    if weights is None:
        raise ProfileError(
            f"the size of {model.model} is unknown. Run `hf download {model.model}`, "
            'or add its size to its role in the profile, such as download = "4.3 GB".'
        )
    return Placement((), weights / model.tensor_parallel, model.cache_gb / model.tensor_parallel, model.overhead_gb)


def _devices(model: LocalRole, left: Sequence[float]) -> tuple[int, ...]:
    """Return the GPUs of a model.

    Args:
        model: the model.
        left: memory of each GPU in GiB that is not planned yet.
    """
    devices = model.devices
    if devices is None:
        devices = tuple(sorted(sorted(range(len(left)), key=lambda device: -left[device])[: model.tensor_parallel]))
    if len(devices) < model.tensor_parallel or max(devices) >= len(left):
        wanted = f"GPUs {', '.join(map(str, devices))}" if model.devices else f"tensor_parallel = {model.tensor_parallel}"
        raise ProfileError(f"{model.model}: the profile sets {wanted}, but this machine has {len(left)} GPUs. Change its role.")
    return devices


def _too_large(device: int, card: Card, models: Sequence[LocalRole], placements: Sequence[Placement]) -> str:
    here = [(model, placement) for model, placement in zip(models, placements, strict=True) if device in placement.devices]
    parts = ", ".join(f"{model.model} {placement.total_gb:.1f}" for model, placement in here)
    return (
        f"GPU {device} has {card.free_gb:.1f} of {card.total_gb:.1f} GB free, but its servers need "
        f"{sum(placement.total_gb for _, placement in here) + MARGIN_GB:.1f} GB ({parts}). Free memory, lower cache_gb in the "
        "profile, or use more GPUs with devices or tensor_parallel."
    )


def weights_gb(model: LocalRole) -> float | None:
    """Return the size of a model and its adapters in GiB.

    Measured from the files on this machine; for a model that is not downloaded yet, the number in
    `download`. Weights that are published in float32 take half of that on a GPU.

    Returns:
        The size, or None if it is unknown.
    """
    if folder := cached(model.model):
        size = float(_file_size(folder))
    elif match := _SIZE.search(model.download or ""):
        size = float(match[1]) * {"GB": 1e9, "MB": 1e6}[match[2]]
    else:
        return None
    adapters = (cached(source) for source in model.adapters.values())
    return (size + sum(_file_size(adapter) for adapter in adapters if adapter)) / GIB


def _file_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in weight_files(folder))


def read_cards() -> list[Card]:
    """Return the GPUs that this process may use.

    Another process asks CUDA, which would otherwise keep 0.5 GiB of each GPU in this one.

    Raises:
        ModelError: CUDA does not answer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, env=DEVICE_ORDER | os.environ
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError(f"cannot read the memory of the GPUs ({reason}). Check that `nvidia-smi` works.") from error
    return [Card(total, free) for total, free in json.loads(done.stdout)]


def visible_devices(devices: Sequence[int]) -> str:
    """Return CUDA_VISIBLE_DEVICES for a server, within the one of this process."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = allowed.split(",") if allowed else None
    return ",".join(names[device].strip() if names else str(device) for device in devices)
