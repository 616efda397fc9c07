"""The number format in which this machine computes fastest."""

from __future__ import annotations

import torch


def best_dtype() -> torch.dtype:
    """Return bfloat16 if the device supports it natively (CUDA, AMX, AVX512-BF16), else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    cpu = torch.cpu.get_capabilities()
    return torch.bfloat16 if cpu.get("amx_bf16") or cpu.get("avx512_bf16") else torch.float32
