"""vLLM's worker on a processor, forked instead of started afresh (see `vllm_server`)."""

from __future__ import annotations

import os

import torch
from vllm.v1.worker.cpu_worker import CPUWorker


class ForkedWorker(CPUWorker):
    """Takes all cores but the one that vLLM keeps for its other processes; OpenMP was told of one before the fork."""

    def init_device(self) -> None:
        """Set the threads before vLLM forbids it."""
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        super().init_device()
