"""Mixed precision, on a CPU too."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from espresso.models.device import fastest_dtype

logger = logging.getLogger(__name__)


def mixed_precision(*, asked: bool) -> bool:
    """Return whether a training that asks for mixed precision gets it.

    A machine that does not multiply bfloat16 natively trains in float32, with a warning: products
    of matrices took 60 times as long in bfloat16 on a CPU with AVX2.
    """
    if asked and fastest_dtype() is not torch.bfloat16:
        logger.warning("This machine does not multiply bfloat16 natively, so it trains in float32 despite bf16: true.")
        return False
    return asked


def attention(*, bf16: bool) -> AbstractContextManager[None]:
    """Return a context in which a training uses the faster kind of attention.

    On a CPU, the backward pass of PyTorch's fused attention takes five times as long in bfloat16 as
    in float32; separate matrix products take the same time (PyTorch 2.13, AVX512-BF16).
    """
    return sdpa_kernel(SDPBackend.MATH) if bf16 and not torch.cuda.is_available() else nullcontext()
