"""The tokenizer encodes any text, and a vision tower or start weights are copied as they are."""

import torch
from safetensors.torch import load_file

from finetune.tiny import build
from finetune.tiny.train import train


def test_any_text_can_be_encoded(processor):
    text = "Überraschung: 3 кота, 2 犬 and a 🙂"
    assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text


def test_a_vision_tower_is_copied_and_frozen(make_tiny_config, tmp_path):
    tower = train(make_tiny_config(tmp_path / "first"))
    model = train(make_tiny_config(tmp_path / "second", tower=tower, seed=5))
    before, after = (load_file(folder / "model.safetensors") for folder in (tower, model))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "visual" in name}


def test_start_weights_replace_the_random_ones(make_tiny_config, tmp_path, processor):
    config = make_tiny_config(tmp_path, "selector")
    torch.manual_seed(0)
    trained = build.build_model(config, processor.tokenizer)
    trained.save_pretrained(tmp_path / "start")
    processor.tokenizer.save_pretrained(tmp_path / "start")
    model = build.build_model(config, processor.tokenizer)
    build.load_start_weights(model, processor.tokenizer, tmp_path / "start")
    assert all(torch.equal(weight, trained.state_dict()[name]) for name, weight in model.state_dict().items())
