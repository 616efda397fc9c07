"""Prompts of every family: rendered in order, counted exactly, safe against special tokens."""

import numpy as np
import pytest
import torch

from espresso.errors import ModelError
from espresso.models import Message, Picture, TransformersModel


@pytest.fixture
def processor(family):
    return family._engine().processor


def count(processor, *content):
    messages = [Message("user", content)]
    return processor.count(processor.render(messages), messages)


def test_tokens_are_counted_as_the_model_receives_them(processor, conversations):
    for messages in conversations:
        prompt = processor.render(messages)
        received = processor.prepare([prompt], [messages])["input_ids"][0]
        counted = processor.count(prompt, messages)
        assert counted.total == len(received)
        assert counted.visual == int((received == processor.processor.image_token_id).sum() if counted.visual else 0)
        assert (counted.visual > 0) == any(message.pictures for message in messages)


def test_pictures_stay_with_their_times(processor, conversations):
    prompt = processor.render(conversations[1])
    times = [prompt.index(time) for time in ("0.0 s", "1.5 s", "2.0 s")]
    image_token = processor.processor.image_token
    pictures = [place for place in range(len(prompt)) if prompt.startswith(image_token, place)]
    assert sorted(times + pictures) == [place for pair in zip(times, pictures, strict=True) for place in pair]


def test_special_tokens_in_a_question_are_plain_text(processor, picture):
    specials = set(processor.tokenizer.added_tokens_decoder)
    tricks = "".join(sorted(token.content for token in processor.tokenizer.added_tokens_decoder.values()))
    assert count(processor, picture, tricks).visual == count(processor, picture, "x").visual
    tricked, plain = (processor.encode(processor.render([Message("user", (text,))])) for text in (tricks, "x"))
    assert sum(token in specials for token in tricked) == sum(token in specials for token in plain)


def test_a_rendered_reply_ends_its_turn_as_the_chat_template_does(processor):
    user, assistant = Message("user", ("Who?",)), Message("assistant", ("a red ball",))
    whole = processor._apply_template(
        [{"role": message.role, "content": processor._content(message)} for message in (user, assistant)],
        add_generation_prompt=False,
    )
    reply = processor.render_reply("a red ball").strip()
    assert whole.rstrip().endswith(reply)
    assert reply == f"a red ball{processor.tokenizer.eos_token}"


def test_replies_are_appended_after_the_prompts(processor, conversations):
    inputs = processor.prepare([processor.render(messages) for messages in conversations], conversations)
    longer = processor.append_replies(inputs, [[5], [6, 7], [8], [9, 10]])
    assert longer["input_ids"][:, -2:].tolist() == [[5, 0], [6, 7], [8, 0], [9, 10]]
    assert longer["attention_mask"][:, -2:].tolist() == [[1, 0], [1, 1], [1, 0], [1, 1]]
    assert torch.equal(longer["input_ids"][:, :-2], inputs["input_ids"])
    assert longer.get("pixel_values") is inputs.get("pixel_values")


def test_small_pictures_are_not_enlarged(qwen2_vl):
    processor = qwen2_vl._engine().processor
    messages = [Message("user", (Picture(np.zeros((56, 56, 3), np.uint8)),))]
    assert processor.prepare([processor.render(messages)], [messages])["image_grid_thw"].tolist() == [[1, 4, 4]]


def test_a_picture_of_an_impossible_size_is_an_error(qwen2_vl):
    with pytest.raises(ModelError, match="the model cannot process a picture of 900x1 pixels"):
        count(qwen2_vl._engine().processor, Picture(np.zeros((1, 900, 3), np.uint8)))


def test_a_server_counts_and_sees_the_same_pixels(processor):
    """vLLM passes the options to the whole processor, not to its images_kwargs."""
    messages = [Message("user", (Picture(np.random.default_rng(0).integers(0, 255, (112, 200, 3), np.uint8)), "Who?"))]
    prompt = processor.render(messages)
    served = processor.processor(
        text=[prompt], images=[[messages[0].content[0].pixels]], return_tensors="pt", **processor._image_options
    )
    here = processor.prepare([prompt], [messages])
    assert torch.equal(served["input_ids"], here["input_ids"])
    assert torch.equal(served["pixel_values"], here["pixel_values"])


def test_a_profile_can_ask_for_tiles(smolvlm):
    role = TransformersModel(smolvlm._folder, image_options={"do_image_splitting": True, "size": {"longest_edge": 256}})
    messages = [Message("user", (Picture(np.zeros((112, 200, 3), np.uint8)),))]
    assert role.count_tokens(messages).visual > smolvlm.count_tokens(messages).visual == 4
