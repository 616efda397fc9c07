"""The tiny models' training: the same numbers as transformers, real folders at its end, and configs that say what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from espresso.errors import DataError
from finetune.config import read
from finetune.tiny import build, data, forward
from finetune.tiny.config import TinyConfig
from finetune.tiny.train import train

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs"
SMALL = {
    "hidden": 64,
    "heads": 2,
    "kv_heads": 1,
    "layers": 2,
    "feed_forward": 64,
    "vision_width": 32,
    "vision_heads": 2,
    "vision_depth": 1,
}
BATCHES = {"caption_batch": 4, "text_batch": 4, "report_batch": 4, "selector_batch": 4, "judge_batch": 4}


def config(tmp_path, role="vlm", **changes):
    settings = {
        "batches": 2,
        "learning_rate": 1e-3,
        "output": tmp_path / "model",
        "checkpoints": tmp_path / "checkpoints",
        "threads": 1,
    }
    return TinyConfig(role=role, **{**SMALL, **BATCHES, **settings, **changes})


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return build.processor(config(tmp_path_factory.mktemp("build")))


def test_the_training_loss_is_the_loss_of_transformers(tmp_path, processor):
    settings = config(tmp_path)
    model = build.build(settings, processor.tokenizer).eval()
    batch = data.TinyBatches(settings, processor.tokenizer)._reports(np.random.default_rng(0), seen=True)
    count = len(batch["patches"])
    twice = torch.cat([batch["patches"].view(-1, 3, 1, 14, 14)] * 2, dim=2).reshape(-1, 1176)
    with torch.no_grad():
        theirs = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
            pixel_values=twice,
            image_grid_thw=torch.tensor([[1, 8, 8]] * count),
            mm_token_type_ids=(batch["input_ids"] == model.config.image_token_id).int(),
        ).loss
        hidden = forward.read(model, batch["input_ids"], batch["attention_mask"], batch["position_ids"], batch["patches"])
        ours = forward.loss(model, hidden, batch["labels"])
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-4)


def test_patches_are_those_of_the_image_processor(processor):
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    theirs = processor.image_processor(images=[pixels], return_tensors="np")["pixel_values"].reshape(64, 3, 2, 14, 14)[:, :, 0]
    assert np.allclose(theirs.reshape(64, 588), data.patches(pixels), atol=1e-5)


def test_the_tokens_of_a_batch_are_those_of_the_chat_template(tmp_path, processor):
    batch = data.SelectorBatches(config(tmp_path, "selector"), processor.tokenizer)[0]
    text = processor.tokenizer.decode(batch["input_ids"][0][batch["attention_mask"][0].bool()])
    user, reply = text.removeprefix("<|im_start|>user\n").split("<|im_end|>\n<|im_start|>assistant\n")
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": reply.removesuffix("<|im_end|>\n")}]
    assert processor.tokenizer.apply_chat_template(messages, tokenize=False) == text


def test_the_loss_is_on_the_reply_alone(tmp_path, processor):
    batch = data.SelectorBatches(config(tmp_path, "selector"), processor.tokenizer)[0]
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        learnt = processor.tokenizer.decode(ids[labels != -100])
        assert learnt.startswith('{"frames":[')
        assert learnt.endswith("]}<|im_end|>")


def test_the_right_numbers_of_the_prompt_are_marked(tmp_path, processor):
    batch = data.SelectorBatches(config(tmp_path, "selector"), processor.tokenizer)[0]
    for ids, labels, marks in zip(batch["input_ids"], batch["labels"], batch["marks"], strict=True):
        prompt = processor.tokenizer.decode(ids[labels == -100])
        named = json.loads(processor.tokenizer.decode(ids[labels != -100]).removesuffix("<|im_end|>"))["frames"]
        assert (marks == 1).sum() == len(named)
        assert (marks != -100).sum() == len(
            [line for line in prompt.splitlines() if line.removesuffix("<|im_end|>")[-1:].isdigit()]
        )


def test_noise_misleads_the_next_word_and_leaves_what_is_learnt(tmp_path, processor):
    plain, misled = (
        data.TinyBatches(config(tmp_path, noise=noise), processor.tokenizer)._captions(np.random.default_rng(0))
        for noise in (0, 1)
    )
    reply = plain["labels"] != -100
    assert torch.equal(plain["labels"], misled["labels"])
    assert torch.equal(plain["input_ids"][~reply], misled["input_ids"][~reply])
    assert 0.2 < (plain["input_ids"][reply] != misled["input_ids"][reply]).float().mean() < 1


@pytest.mark.parametrize("seen", [True, False])
def test_a_report_tells_what_holds_the_named_word_and_nothing_else(tmp_path, processor, seen):
    batch = data.TinyBatches(config(tmp_path), processor.tokenizer)._reports(np.random.default_rng(1), seen=seen)
    assert ("patches" in batch) == seen
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        prompt = processor.tokenizer.decode(ids[labels == -100])
        named = prompt.split("report")[1].split("<|im_end|>")[0].strip()
        reply = processor.tokenizer.decode(labels[labels != -100]).removesuffix("<|im_end|>")
        told = reply.removesuffix(".").split(". ")
        assert reply == "nothing seen." or all(f" {named} ".lstrip() in f"{fact} ".split(": ")[1].join("  ") for fact in told)
        times = [fact.split("s: ")[0] for fact in told if reply != "nothing seen."]
        assert times == sorted(times, key=float)
        assert all(time in prompt for time in times)


def test_language_is_questions_and_options_without_a_clip(tmp_path, processor):
    batch = data.TinyBatches(config(tmp_path, caption_batch=40), processor.tokenizer)._language(np.random.default_rng(2))
    assert "patches" not in batch
    said = [processor.tokenizer.decode(labels[labels != -100]).removesuffix("<|im_end|>") for labels in batch["labels"]]
    prompts = {
        processor.tokenizer.decode(ids[(labels == -100) & mask.bool()])
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    }
    assert len(prompts) == 1
    assert 0.2 < sum(text.endswith("?") for text in said) / len(said) < 0.8


def test_a_tower_is_taken_over_and_stays_as_it_is(tmp_path):
    tower = train(config(tmp_path / "first"))
    made = train(config(tmp_path / "second", tower=tower, seed=5))
    before, after = (load_file(folder / "model.safetensors") for folder in (tower, made))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "visual" in name}


def test_any_text_can_be_written(processor):
    text = "Überraschung: 3 кота, 2 犬 and a 🙂"
    assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("role", "loader"),
    [("vlm", AutoModelForImageTextToText), ("selector", AutoModelForCausalLM), ("judge", AutoModelForCausalLM)],
)
def test_a_short_run_leaves_a_folder_that_transformers_loads(tmp_path, role, loader):
    folder = train(config(tmp_path, role))
    assert loader.from_pretrained(folder).num_parameters() > 0
    assert AutoProcessor.from_pretrained(folder) is not None


@pytest.mark.parametrize("role", ["vlm", "selector"])
def test_a_run_that_goes_on_starts_from_the_weights_it_had(tmp_path, role):
    first = load_file(train(config(tmp_path, role, save_every=1)) / "model.safetensors")
    again = load_file(train(config(tmp_path, role, save_every=1)) / "model.safetensors")  # nothing left to do
    assert sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-2"]
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("role: vlm\nlerning_rate: 1", "Did you mean 'learning_rate'"),
        ("role: [", "not a readable YAML"),
        ("role: vlm\noutput: o\ncheckpoints: c\nbatches: many\nlearning_rate: 1", "batches"),
    ],
)
def test_a_bad_config_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read(path, TinyConfig)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("tiny-*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read_and_names_its_command(path):
    assert read(path, TinyConfig).batches > 0
    assert f"espresso finetune tiny finetune/configs/{path.name}" in path.read_text()
