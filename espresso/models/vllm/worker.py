"""vLLM's CPU worker for a forked process (see `process`), with faster LoRA adapters."""

from __future__ import annotations

import os
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.v1.worker.cpu_worker import CPUWorker


class ForkedWorker(CPUWorker):
    """Uses all cores but one, which is left to vLLM's other processes.

    Before the fork, OpenMP was limited to one thread.
    """

    def init_device(self) -> None:
        """Set the number of threads before vLLM locks it."""
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        super().init_device()


class GroupedAdapters(PunicaWrapperCPU):
    """Applies each adapter once to all tokens that use it, and none to tokens without an adapter.

    vLLM 0.32 copies the adapter's weights for every token, which takes two thirds of a tiny model's
    time, and in a mixed batch it applies the adapter of the last slot to tokens without one.
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
        """Add the output of each token's adapter to `y`.

        Args:
            y: output of the base layer, shape (tokens, sum of all slices); changed in place.
            x: input of the layer, shape (tokens, width).
            lora_a_stacked: down projections by slice, shape (slots, 1, rank, width) each.
            lora_b_stacked: up projections by slice, shape (slots, 1, slice, rank) each.
            scale: factor for the output of the adapters.
            output_slices: widths of the slices, which lie side by side in `y`.
            **kwargs: ignored.
        """
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        slots = self.token_lora_indices
        for slot in slots.unique().tolist():
            if slot < 0:
                continue
            (tokens,) = torch.nonzero(slots == slot, as_tuple=True)
            parts = [x[tokens] @ down[slot, 0].T @ up[slot, 0].T for down, up in zip(lora_a_stacked, lora_b_stacked, strict=True)]
            y.index_add_(0, tokens, torch.cat(parts, 1), alpha=scale)
