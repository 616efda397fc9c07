"""A training can be resumed, adapts the language model only, and reports errors."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from espresso.errors import DataError, ModelError
from finetune.lora.stages import train_stage


def test_only_the_language_model_is_adapted(two_stages):
    weights = load_file(two_stages[0].output / "evidence" / "adapter_model.safetensors")
    assert all("language_model" in name for name in weights)


def test_only_the_adapter_is_saved(two_stages):
    names = {path.name for path in (two_stages[0].output / "answer").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "lineage.json", "loss.png"}


def test_an_interrupted_training_resumes_to_the_same_weights(make_config, tmp_path):
    """An epoch has two steps; the training is interrupted in the middle of the second one."""
    data = [{"format": "world", "count": 8}]
    whole, interrupted = (make_config(tmp_path / name, data=data, save_every=1) for name in ("whole", "interrupted"))
    train_stage(whole, "evidence", steps=4)
    script = (
        "import os, sys, trl\n"
        "from transformers import TrainerCallback\n"
        "from finetune.lora.config import FinetuneConfig\n"
        "from finetune.lora.stages import train_stage\n"
        "class Stop(TrainerCallback):\n"
        "    def on_save(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 3: os._exit(9)\n"
        "original = trl.SFTTrainer.train\n"
        "def train(self, **kwargs):\n"
        "    self.add_callback(Stop()); return original(self, **kwargs)\n"
        "trl.SFTTrainer.train = train\n"
        "train_stage(FinetuneConfig.model_validate_json(sys.argv[1]), 'evidence', steps=4)"
    )
    command = [sys.executable, "-c", script, interrupted.model_dump_json()]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert stopped.returncode == 9, stopped.stderr
    provenance, _ = train_stage(interrupted, "evidence", steps=4)
    one, other = (load_file(config.output / "evidence" / "adapter_model.safetensors") for config in (whole, interrupted))
    assert provenance.steps == 4
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_mixed_precision_trains_nearly_the_same_adapter(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    losses, weights = [], []
    for bf16 in (False, True):
        config = make_config(tmp_path / str(bf16), bf16=bf16, held_out=[{"format": "world", "split": "val", "count": 4}])
        provenance, _ = train_stage(config, "evidence", steps=2)
        losses.append(provenance.after["loss"])
        weights.append(load_file(config.output / "evidence" / "adapter_model.safetensors"))
    assert losses[0] != losses[1], "computed otherwise"
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert {weight.dtype for weight in weights[1].values()} == {torch.float32}


def test_an_adapter_without_effect_is_an_error(make_config, tmp_path):
    with pytest.raises(ModelError, match="changes no logits"):
        train_stage(make_config(tmp_path, evidence={"learning_rate": 1e-30}), "evidence", steps=1)


def test_a_batch_that_cannot_be_divided_is_an_error(make_config, tmp_path):
    with pytest.raises(DataError, match=r"a batch of 6 cannot be divided .*multiple"):
        train_stage(make_config(tmp_path, batch=6, device_batch=4), "evidence", steps=1)
