"""Mixed precision where a CPU has it, and attention by separate matrix products there."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from finetune.precision import attention, mixed_precision


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about CPUs")
def test_fused_attention_is_replaced_in_mixed_precision_only():
    query = torch.randn(1, 2, 4, 8)
    used = {}
    for bf16 in (False, True):
        with profile(activities=[ProfilerActivity.CPU]) as profiled, attention(bf16=bf16):
            scaled_dot_product_attention(query, query, query)
        used[bf16] = any("flash_attention" in event.key for event in profiled.key_averages())
    assert used == {False: True, True: False}


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about CPUs")
@pytest.mark.parametrize(("native", "warnings"), [(True, 0), (False, 1)])
def test_a_cpu_without_native_products_trains_in_float32_and_says_so(monkeypatch, caplog, native, warnings):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert mixed_precision(asked=True) == native
    assert not mixed_precision(asked=False)
    assert len(caplog.records) == warnings
