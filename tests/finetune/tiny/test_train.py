"""A training leaves a folder that transformers loads, and can be resumed."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from finetune.tiny.train import train


@pytest.mark.parametrize(
    ("role", "loader"),
    [("vlm", AutoModelForImageTextToText), ("selector", AutoModelForCausalLM), ("judge", AutoModelForCausalLM)],
)
def test_a_short_training_leaves_a_folder_that_transformers_loads(make_tiny_config, tmp_path, role, loader):
    folder = train(make_tiny_config(tmp_path, role))
    assert loader.from_pretrained(folder).num_parameters() > 0
    assert AutoProcessor.from_pretrained(folder) is not None


@pytest.mark.parametrize("role", ["vlm", "selector"])
def test_a_resumed_training_starts_from_the_last_checkpoint_and_keeps_the_model_card(make_tiny_config, tmp_path, role):
    config = make_tiny_config(tmp_path, role, save_every=1)
    first = load_file(train(config) / "model.safetensors")
    (config.output / "README.md").write_text("a model card")
    again = load_file(train(config) / "model.safetensors")  # no steps are left
    assert sorted(path.name for path in config.checkpoints.iterdir()) == ["checkpoint-2", "training.json"]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (config.output / "README.md").read_text() == "a model card"
