"""The CPU worker on doubles of vLLM's classes, because importing vLLM takes half a minute.

tests/finetune/lora/test_verify_served.py uses the real worker.
"""

import importlib
import os
import sys
from types import ModuleType

import pytest
import torch

SLOTS = torch.tensor([1, -1, 0, 1, -1])
"""Adapter slot of each token; -1 is none."""


class PunicaWrapperCPU:
    token_lora_indices = SLOTS


class CPUWorker:
    def init_device(self):
        self.initialized = True


@pytest.fixture
def worker(monkeypatch):
    doubles = {"vllm.lora.punica_wrapper.punica_cpu": PunicaWrapperCPU, "vllm.v1.worker.cpu_worker": CPUWorker}
    for name, double in doubles.items():
        parts = name.split(".")
        for package in (".".join(parts[: end + 1]) for end in range(len(parts))):
            monkeypatch.setitem(sys.modules, package, ModuleType(package))
        setattr(sys.modules[name], double.__name__, double)
    yield importlib.import_module("espresso.models.vllm.worker")
    sys.modules.pop("espresso.models.vllm.worker", None)


def test_each_token_gets_the_output_of_its_own_adapter(worker):
    torch.manual_seed(0)
    x, y = torch.randn(5, 8), torch.randn(5, 6)
    down = tuple(torch.randn(2, 1, 3, 8) for _ in range(2))
    up = tuple(torch.randn(2, 1, width, 3) for width in (2, 4))
    expected = y.clone()
    for token, slot in enumerate(SLOTS.tolist()):
        if slot >= 0:
            expected[token] += 0.5 * torch.cat([up[part][slot, 0] @ down[part][slot, 0] @ x[token] for part in range(2)])
    worker.GroupedAdapters().add_lora_linear(y, x, down, up, 0.5, (2, 4))
    assert torch.allclose(y, expected, atol=1e-5)
    assert torch.equal(y[SLOTS < 0], expected[SLOTS < 0])


def test_the_worker_leaves_one_core_to_the_other_processes(worker, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    forked = worker.ForkedWorker()
    forked.init_device()
    assert threads == [3]
    assert forked.initialized
