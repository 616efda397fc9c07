"""A family is supported when its tiny random-weight sibling passes these tests, through the same code as the real one."""

import asyncio
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field

from espresso.errors import ModelError
from espresso.models import Message, Picture

RANDOM = np.random.default_rng(0)
SQUARE, WIDE = (Picture(RANDOM.integers(0, 255, size, np.uint8)) for size in ((56, 56, 3), (56, 84, 3)))
ASKED = [
    [Message("user", (SQUARE, "What is this?"))],
    [
        Message("system", ("Be brief.",)),
        Message("user", ("0.0 s", SQUARE, "1.5 s", WIDE, "2.0 s", SQUARE, "Who moves, and why?")),
    ],
    [Message("user", ("No picture here.",)), Message("assistant", ("So?",)), Message("user", ("Guess.",))],
    [Message("user", ("first", WIDE, "last"))],
]


class Choice(BaseModel):
    frames: list[int] = Field(max_length=4)
    why: str
    sure: Literal["yes", "no"]


async def test_a_batch_says_what_single_requests_say(family):
    batch = await family.chat_many(ASKED, max_tokens=12)
    single = [await family.chat(messages, max_tokens=12) for messages in ASKED]
    assert [reply.text for reply in batch] == [reply.text for reply in single]
    assert np.allclose([reply.confidence for reply in batch], [reply.confidence for reply in single], atol=1e-4)
    assert len({reply.text for reply in batch}) > 1
    assert all(1 <= reply.tokens_out <= 12 and 0 < reply.confidence <= 1 for reply in batch)


async def test_pictures_are_seen(family):
    dark = Picture(np.zeros((56, 56, 3), np.uint8))
    seen, other = await family.chat_many(
        [[Message("user", (picture, "What is this?"))] for picture in (SQUARE, dark)], choices=["A", "B", "C"]
    )
    assert not np.allclose(list(seen.logprobs.values()), list(other.logprobs.values()), atol=1e-3)


async def test_tokens_are_counted_as_the_model_receives_them(family):
    reader = family._engine().reader
    for messages in ASKED:
        received = reader.prepare([reader.render(messages)], [messages])["input_ids"][0]
        counted = family.count_tokens(messages)
        assert counted.total == len(received)
        assert counted.visual == int((received == reader.processor.image_token_id).sum() if counted.visual else 0)
        assert (counted.visual > 0) == any(message.pictures for message in messages)
        reply = await family.chat(messages, max_tokens=1)
        assert (reply.tokens_in, reply.tokens_visual) == (counted.total, counted.visual)


async def test_pictures_stay_with_the_times_they_belong_to(family):
    reader = family._engine().reader
    prompt = reader.render(ASKED[1])
    order = [prompt.index(time) for time in ("0.0 s", "1.5 s", "2.0 s")]
    pictures = [place for place in range(len(prompt)) if prompt.startswith(reader.processor.image_token, place)]
    assert sorted(order + pictures) == [place for pair in zip(order, pictures, strict=True) for place in pair]


@pytest.mark.parametrize("choices", [["A", "B", "C", "D"], ["red", "red ball", "a blue square"]])
async def test_choices_are_weighed_as_by_hand(family, choices):
    replies = await family.chat_many(ASKED, choices=choices)
    model, reader = family._engine().model, family._engine().reader
    for messages, reply in zip(ASKED, replies, strict=True):
        inputs = reader.prepare([reader.render(messages)], [messages])
        sums = []
        for choice in choices:
            tokens = reader.encode(reader.lead + choice)
            if len(choices) == 3 or reader.lead:
                tokens.append(reader.tokenizer.eos_token_id)
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


async def test_a_schema_is_kept_to_even_by_random_weights(family):
    replies = await family.chat_many(ASKED, schema=Choice, max_tokens=120)
    assert all(isinstance(reply.parsed, Choice) for reply in replies)
    assert [Choice.model_validate_json(reply.text) for reply in replies] == [reply.parsed for reply in replies]
    single = await family.chat(ASKED[1], schema=Choice, max_tokens=120)
    assert single.text == replies[1].text


async def test_an_adapter_changes_the_reply_and_leaves_the_base_alone(family):
    before = await family.chat(ASKED[0], choices=["A", "B", "C"])
    plain, loud = await asyncio.gather(
        family.chat(ASKED[0], choices=["A", "B", "C"]), family.chat(ASKED[0], choices=["A", "B", "C"], adapter="loud")
    )
    assert plain.logprobs == before.logprobs
    assert not np.allclose(list(loud.logprobs.values()), list(plain.logprobs.values()), atol=1e-2)


async def test_an_adapter_that_is_not_there_is_named(family):
    with pytest.raises(ModelError, match=r"no adapter is called 'quiet' \(loaded: loud\)"):
        await family.chat(ASKED[0], adapter="quiet")


async def test_a_prompt_over_the_context_is_refused_before_generation(family):
    with pytest.raises(ModelError, match=r"are over its context of 2048\. Give fewer frames or a shorter text"):
        await family.chat([Message("user", (SQUARE, "word " * 1000))])


async def test_a_seed_gives_the_same_sample_in_any_batch(family):
    alone = await family.chat(ASKED[0], max_tokens=8, temperature=1.0, seed=7)
    batch = await family.chat_many(ASKED, max_tokens=8, temperature=1.0, seed=7)
    other = await family.chat(ASKED[0], max_tokens=8, temperature=1.0, seed=8)
    assert alone.text == batch[0].text != other.text


async def test_special_tokens_in_a_question_are_only_words(family):
    reader = family._engine().reader
    tricks = "".join(sorted(token.content for token in reader.tokenizer.added_tokens_decoder.values()))
    plain, tricked = (
        family.count_tokens([Message("user", (SQUARE, "x"))]),
        family.count_tokens([Message("user", (SQUARE, tricks))]),
    )
    assert tricked.visual == plain.visual
    received = reader.encode(reader.render([Message("user", (tricks,))]))
    empty = reader.encode(reader.render([Message("user", ("x",))]))
    specials = set(reader.tokenizer.added_tokens_decoder)
    assert sum(token in specials for token in received) == sum(token in specials for token in empty)
