"""vLLM's worker on a processor, forked instead of started afresh (see `vllm_server`), with adapters that cost what they weigh."""

from __future__ import annotations

import os
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.v1.worker.cpu_worker import CPUWorker


class ForkedWorker(CPUWorker):
    """Takes all cores but the one that vLLM keeps for its other processes; OpenMP was told of one before the fork."""

    def init_device(self) -> None:
        """Set the threads before vLLM forbids it."""
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        super().init_device()


class GroupedAdapters(PunicaWrapperCPU):
    """Applies each adapter once to all tokens that want it, and none to those that want none.

    vLLM 0.32 copies the adapter's weights once for every token, which took two thirds of a tiny model's time, and gives tokens
    without an adapter the last slot's in a batch where others have one.
    """

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """Add to `y`, (tokens, all slices), what each token's adapter makes of `x`, (tokens, width); slices lie side by side."""
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        wanted = self.token_lora_indices
        for slot in wanted.unique().tolist():
            if slot < 0:
                continue
            (tokens,) = torch.nonzero(wanted == slot, as_tuple=True)
            parts = [x[tokens] @ down[slot, 0].T @ up[slot, 0].T for down, up in zip(lora_a_stacked, lora_b_stacked, strict=True)]
            y.index_add_(0, tokens, torch.cat(parts, 1), alpha=scale)
