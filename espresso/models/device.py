"""The number format in which a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def model_dtype(folder: str | Path | None) -> torch.dtype:
    """Return the number format to load a model in.

    A model that was saved in float32 stays in it, so that it replies the same on every machine.
    Any other model is loaded in the format in which this machine computes fastest.

    Args:
        folder: folder of the model; None if it is not on this machine yet.
    """
    saved_as = _saved_dtype(Path(folder)) if folder is not None else None
    return torch.float32 if saved_as == "float32" else fastest_dtype()


def fastest_dtype() -> torch.dtype:
    """Return bfloat16 if the device multiplies it natively (CUDA, AMX, AVX512-BF16), or float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    cpu = torch.cpu.get_capabilities()
    return torch.bfloat16 if cpu.get("amx_bf16") or cpu.get("avx512_bf16") else torch.float32


def _saved_dtype(folder: Path) -> str | None:
    """Return the format that a model's config names, or None."""
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    for part in (config, config.get("text_config") or {}):
        if dtype := part.get("dtype") or part.get("torch_dtype"):
            return str(dtype)
    return None
