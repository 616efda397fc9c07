"""The number format follows what the weights were saved in, then what the device computes natively."""

import json

import pytest
import torch

from espresso.models.device import model_dtype


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_a_cpu_uses_bfloat16_only_if_it_multiplies_it_natively(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert model_dtype(None) is dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_does_not_emulate_bfloat16(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or native)
    assert model_dtype(None) is dtype


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"dtype": "float32"}, torch.float32),
        ({"torch_dtype": "float32"}, torch.float32),  # as transformers 4 wrote it
        ({"text_config": {"dtype": "float32"}}, torch.float32),
        ({"dtype": "bfloat16", "text_config": {"dtype": "float32"}}, torch.bfloat16),
        ({"dtype": "float16"}, torch.bfloat16),
        ({}, torch.bfloat16),
    ],
)
def test_a_model_saved_in_float32_is_not_rounded_to_bfloat16(monkeypatch, tmp_path, config, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_dtype(tmp_path) is dtype
    assert model_dtype(tmp_path / "not here") is torch.bfloat16
