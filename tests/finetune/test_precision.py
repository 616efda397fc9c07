"""In mixed precision, attention on a CPU is computed by separate matrix products."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from finetune.precision import attention


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about CPUs")
def test_fused_attention_is_replaced_in_mixed_precision_only():
    query = torch.randn(1, 2, 4, 8)
    used = {}
    for bf16 in (False, True):
        with profile(activities=[ProfilerActivity.CPU]) as profiled, attention(bf16=bf16):
            scaled_dot_product_attention(query, query, query)
        used[bf16] = any("flash_attention" in event.key for event in profiled.key_averages())
    assert used == {False: True, True: False}
