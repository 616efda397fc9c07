"""Batches have the chat template's tokens, labels on replies and marks on numbers."""

import json
from hashlib import sha256

import numpy as np
import pytest
import torch

from finetune.tiny import data


@pytest.fixture
def selections(make_tiny_config, tmp_path, processor):
    return data.SelectorBatches(make_tiny_config(tmp_path, "selector"), processor.tokenizer)[0]


def reply_text(processor, labels):
    return processor.tokenizer.decode(labels[labels != -100]).removesuffix("<|im_end|>")


def test_patches_are_those_of_the_image_processor(processor):
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    values = processor.image_processor(images=[pixels], return_tensors="np")["pixel_values"]
    expected = values.reshape(64, 3, 2, 14, 14)[:, :, 0].reshape(64, 588)
    assert np.allclose(expected, data.to_patches(pixels), atol=1e-5)


def test_the_tokens_of_a_batch_are_those_of_the_chat_template(processor, selections):
    text = processor.tokenizer.decode(selections["input_ids"][0][selections["attention_mask"][0].bool()])
    user, reply = text.removeprefix("<|im_start|>user\n").split("<|im_end|>\n<|im_start|>assistant\n")
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": reply.removesuffix("<|im_end|>\n")}]
    assert processor.tokenizer.apply_chat_template(messages, tokenize=False) == text


def test_only_replies_have_labels(processor, selections):
    for ids, labels in zip(selections["input_ids"], selections["labels"], strict=True):
        learned = processor.tokenizer.decode(ids[labels != -100])
        assert learned.startswith('{"frames":[')
        assert learned.endswith("]}<|im_end|>")


def test_the_right_numbers_of_the_prompt_are_marked(processor, selections):
    rows = zip(selections["input_ids"], selections["labels"], selections["marks"], strict=True)
    for ids, labels, marks in rows:
        prompt = processor.tokenizer.decode(ids[labels == -100])
        right = json.loads(reply_text(processor, labels))["frames"]
        numbers = [line for line in prompt.splitlines() if line.removesuffix("<|im_end|>")[-1:].isdigit()]
        assert (marks == 1).sum() == len(right)
        assert (marks != -100).sum() == len(numbers)


def test_the_texts_that_the_shipped_weights_were_trained_on_do_not_change(make_tiny_config, tmp_path, processor):
    selector = data.SelectorBatches(make_tiny_config(tmp_path, "selector", batches=100), processor.tokenizer)
    vision, rng = data.VisionBatches(make_tiny_config(tmp_path), processor.tokenizer), np.random.default_rng(0)
    batches = [selector[0], selector[8], selector[99], vision._captions(rng), vision._language(rng)]
    batches += [vision._reports(rng, from_frames=from_frames) for from_frames in (True, False)]
    texts = [
        processor.tokenizer.decode(ids[mask.bool()])
        for batch in batches
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert sha256("".join(texts).encode()).hexdigest()[:16] == "793009f07388dffd"


def test_noise_changes_the_input_tokens_of_captions_and_not_the_labels(make_tiny_config, tmp_path, processor):
    plain, noisy = (
        data.VisionBatches(make_tiny_config(tmp_path, noise=noise), processor.tokenizer)._captions(np.random.default_rng(0))
        for noise in (0, 1)
    )
    reply = plain["labels"] != -100
    assert torch.equal(plain["labels"], noisy["labels"])
    assert torch.equal(plain["input_ids"][~reply], noisy["input_ids"][~reply])
    assert 0.2 < (plain["input_ids"][reply] != noisy["input_ids"][reply]).float().mean() < 1


@pytest.mark.parametrize("from_frames", [True, False])
def test_a_report_contains_what_has_the_requested_word_and_nothing_else(make_tiny_config, tmp_path, processor, from_frames):
    batches = data.VisionBatches(make_tiny_config(tmp_path), processor.tokenizer)
    batch = batches._reports(np.random.default_rng(1), from_frames=from_frames)
    assert ("patches" in batch) == from_frames
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        prompt = processor.tokenizer.decode(ids[labels == -100])
        query = prompt.split("report")[1].split("<|im_end|>")[0].strip()
        reply = reply_text(processor, labels)
        facts = [] if reply == "nothing seen." else reply.removesuffix(".").split(". ")
        assert all(f" {query} ".lstrip() in f"{fact} ".split(": ")[1].join("  ") for fact in facts)
        times = [fact.split("s: ")[0] for fact in facts]
        assert times == sorted(times, key=float)
        assert all(time in prompt for time in times)


def test_language_batches_are_questions_and_options_without_frames(make_tiny_config, tmp_path, processor):
    config = make_tiny_config(tmp_path, caption_batch=40)
    batch = data.VisionBatches(config, processor.tokenizer)._language(np.random.default_rng(2))
    assert "patches" not in batch
    replies = [reply_text(processor, labels) for labels in batch["labels"]]
    prompts = {
        processor.tokenizer.decode(ids[(labels == -100) & mask.bool()])
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    }
    assert len(prompts) == 1
    assert 0.2 < sum(text.endswith("?") for text in replies) / len(replies) < 0.8
