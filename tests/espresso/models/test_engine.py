"""A family is supported if its tiny random-weight model passes these tests."""

import asyncio
from typing import Literal

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import BaseModel, Field
from transformers import AutoConfig, AutoModelForCausalLM

from espresso.models import Message, Picture
from espresso.models.engine import Engine


class Choice(BaseModel):
    frames: list[int] = Field(max_length=4)
    why: str
    sure: Literal["yes", "no"]


async def test_a_batch_gives_the_replies_of_single_requests(family, conversations):
    batch = await family.chat_many(conversations, max_tokens=12)
    single = [await family.chat(messages, max_tokens=12) for messages in conversations]
    assert [reply.text for reply in batch] == [reply.text for reply in single]
    assert np.allclose([reply.confidence for reply in batch], [reply.confidence for reply in single], atol=1e-4)
    assert len({reply.text for reply in batch}) > 1
    assert all(1 <= reply.tokens_out <= 12 and 0 < reply.confidence <= 1 for reply in batch)


async def test_pictures_change_the_reply(family, picture):
    dark = Picture(np.zeros((56, 56, 3), np.uint8))
    noise, black = await family.chat_many(
        [[Message("user", (each, "What is this?"))] for each in (picture, dark)], choices=["A", "B", "C"]
    )
    assert not np.allclose(list(noise.logprobs.values()), list(black.logprobs.values()), atol=1e-3)


@pytest.mark.parametrize("choices", [["A", "B", "C", "D"], ["red", "red ball", "a blue square"]])
async def test_choices_are_scored_as_a_plain_forward_pass_scores_them(family, conversations, choices):
    replies = await family.chat_many(conversations, choices=choices)
    model, processor = family._engine().model, family._engine().processor
    for messages, reply in zip(conversations, replies, strict=True):
        inputs = processor.prepare([processor.render(messages)], [messages])
        sums = []
        for choice in choices:
            tokens = processor.encode(processor.reply_prefix + choice)
            if len(choices) == 3 or processor.reply_prefix:
                tokens.append(processor.tokenizer.eos_token_id)
            longer = torch.cat([inputs["input_ids"], torch.tensor([tokens])], 1)
            more = inputs | {"input_ids": longer, "attention_mask": torch.ones_like(longer)}
            if "mm_token_type_ids" in inputs:
                more["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(tokens)))
            with torch.no_grad(), model.disable_adapter():
                logprobs = model(**more).logits[0].log_softmax(-1)
            start = inputs["input_ids"].shape[1] - 1
            sums.append(sum(logprobs[start + step, token] for step, token in enumerate(tokens)))
        expected = torch.tensor(sums).log_softmax(-1).numpy()
        assert np.allclose(list(reply.logprobs.values()), expected, atol=1e-3)
        assert np.isclose(np.exp(list(reply.logprobs.values())).sum(), 1)
        assert reply.text == choices[int(expected.argmax())]
        assert np.isclose(reply.confidence, np.exp(expected.max()), atol=1e-3)


async def test_random_weights_follow_a_schema(family, conversations):
    replies = await family.chat_many(conversations, schema=Choice, max_tokens=120)
    assert all(isinstance(reply.parsed, Choice) for reply in replies)
    assert [Choice.model_validate_json(reply.text) for reply in replies] == [reply.parsed for reply in replies]
    single = await family.chat(conversations[1], schema=Choice, max_tokens=120)
    assert single.text == replies[1].text


async def test_an_adapter_changes_the_reply_but_not_that_of_the_base_model(family, conversations):
    before = await family.chat(conversations[0], choices=["A", "B", "C"])
    base, adapted = await asyncio.gather(
        family.chat(conversations[0], choices=["A", "B", "C"]),
        family.chat(conversations[0], choices=["A", "B", "C"], adapter="strong"),
    )
    assert base.logprobs == before.logprobs
    assert not np.allclose(list(adapted.logprobs.values()), list(base.logprobs.values()), atol=1e-2)


async def test_a_seed_gives_the_same_sample_in_any_batch(family, conversations):
    single = await family.chat(conversations[0], max_tokens=8, temperature=1.0, seed=7)
    batch = await family.chat_many(conversations, max_tokens=8, temperature=1.0, seed=7)
    other = await family.chat(conversations[0], max_tokens=8, temperature=1.0, seed=8)
    assert single.text == batch[0].text != other.text


def test_an_adapter_for_another_model_is_an_error_of_one_line(text_model, tmp_path):
    torch.manual_seed(0)
    wider = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(text_model._folder, hidden_size=128))
    get_peft_model(wider, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"the adapter .*other was made for another model") as caught:
        Engine(str(text_model._folder), {"evidence": str(tmp_path / "other")})
    assert "\n" not in str(caught.value)
