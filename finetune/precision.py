"""Mixed precision on a CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def attention(*, bf16: bool) -> AbstractContextManager[None]:
    """Return a context in which a training uses the faster kind of attention.

    On a CPU, the backward pass of PyTorch's fused attention takes five times as long in bfloat16 as
    in float32; separate matrix products take the same time (PyTorch 2.13, AVX512-BF16).
    """
    return sdpa_kernel(SDPBackend.MATH) if bf16 and not torch.cuda.is_available() else nullcontext()
