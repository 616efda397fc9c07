"""Messages, schemas and probabilities in OpenAI's format."""

import base64
import io
from typing import Literal

import numpy as np
import pytest
from openai.types.chat import ChatCompletion
from PIL import Image
from pydantic import BaseModel

from espresso.models import Completion, Message, Picture, openai_format

FLAT = Picture(np.full((32, 32, 3), 200, np.uint8))


class Box(BaseModel):
    side: int
    colour: Literal["red", "blue"] = "red"


class Scene(BaseModel):
    boxes: list[Box] = []


def reply(text="x", tokens=(), **more):
    """Build a reply from (token, logprob, {alternative: logprob})."""
    content = [
        {"token": token, "logprob": logprob, "top_logprobs": [{"token": t, "logprob": value} for t, value in top.items()]}
        for token, logprob, top in tokens
    ]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return ChatCompletion.model_validate(
        {
            "id": "7",
            "object": "chat.completion",
            "created": 0,
            "model": "small",
            "choices": [choice | {"logprobs": {"content": content} if tokens else None}],
        }
        | more
    )


def test_pictures_stay_between_the_texts():
    system, user = openai_format.encode_messages(
        [Message("system", ("Be brief.",)), Message("user", ("at 1.5 s:", FLAT, "What is this?"))]
    )
    assert system == {"role": "system", "content": "Be brief."}
    before, picture, after = user["content"]
    assert (before["text"], after["text"]) == ("at 1.5 s:", "What is this?")
    kind, _, data = picture["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), FLAT.pixels)


def test_photographs_are_sent_as_jpeg(picture):
    (user,) = openai_format.encode_messages([Message("user", (picture,))])
    assert user["content"][0]["image_url"]["url"].startswith("data:image/jpeg")


def test_special_tokens_in_a_message_are_broken():
    (user,) = openai_format.encode_messages([Message("user", ("a<|im_end|>b<image>c < d",))])
    assert user["content"] == "a< |im_end|>b< image>c < d"
    assert openai_format.assistant_turn("a</s>")["content"] == "a< /s>"


def test_every_object_of_a_strict_schema_is_closed_and_complete():
    schema = openai_format.response_format("Scene", Scene.model_json_schema())["json_schema"]["schema"]
    assert (schema["additionalProperties"], schema["required"]) == (False, ["boxes"])
    box = schema["$defs"]["Box"]
    assert (box["additionalProperties"], box["required"]) == (False, ["side", "colour"])


def test_replies_for_all_choices_keep_the_spacing_of_the_reply():
    assert openai_format.choice_replies('{ "choice":"blau" }', ["blau", "grün"]) == {
        "blau": '{ "choice":"blau" }',
        "grün": '{ "choice":"grün" }',
    }


@pytest.mark.parametrize("text", ["blau", '{"choice": "rot"}', '{"other": "blau"}', "[]", '{"choice": null}'])
def test_a_reply_that_chooses_nothing_has_no_replies(text):
    assert openai_format.choice_replies(text, ["blau", "grün"]) == {}


def test_choices_are_weighed_at_the_token_where_they_differ():
    tokens = [("red", -0.5, {"red": -0.5, "blue": -1.0}), (" ball", -0.1, {" ball": -0.1, " cup": -2.5})]
    texts = {choice: choice for choice in ("red ball", "red cup", "blue ball")}
    completion = openai_format.add_choice_logprobs(Completion("red ball"), reply("red ball", tokens), texts, "red ball")
    weights = np.exp([-0.6, -3.0, -1.0])
    assert np.allclose(np.exp(list(completion.logprobs.values())), weights / weights.sum())
    assert completion.confidence == pytest.approx(weights[0] / weights.sum())


def test_a_choice_that_is_not_listed_gets_the_lowest_listed_logprob():
    tokens = [("B", -0.2, {"B": -0.2, "A": -2.0, "The": -3.0})]
    texts = {choice: choice for choice in "ABC"}
    completion = openai_format.add_choice_logprobs(Completion("B"), reply("B", tokens), texts, "B")
    weights = np.exp([-2.0, -0.2, -3.0])
    assert np.allclose(np.exp(list(completion.logprobs.values())), weights / weights.sum())


def test_a_server_without_logprobs_leaves_the_confidence_unknown():
    completion = openai_format.add_choice_logprobs(Completion("B"), reply("B"), {"A": "A", "B": "B"}, "B")
    assert (completion.text, completion.confidence, completion.logprobs) == ("B", None, {})
    assert openai_format.decode_completion(reply(" B\n")).confidence is None


def prompt(*words):
    """Build vLLM's `prompt_logprobs` from (word, logprob) pairs; a word is its own id."""
    return [None] + [{word: {"logprob": value, "decoded_token": word}} for word, value in words]


def test_white_space_after_the_last_turn_is_no_part_of_the_prompt():
    scored = reply(prompt_logprobs=prompt(("is", -0.5), ("red", -1.0), ("<end>", -0.1), ("\n", -9.0)))
    assert openai_format.prompt_logprobs(scored) == [("is", -0.5), ("red", -1.0), ("<end>", -0.1)]
    assert openai_format.prompt_logprobs(reply()) == []


@pytest.mark.parametrize(
    ("prompts", "sums"),
    [
        # One token each: the end of the turn does not count.
        ({"red": [("red", -1.0), ("<end>", -0.1)], "blue": [("blue", -0.9), ("<end>", -5.0)]}, [-1.0, -0.9]),
        # Of different length: the end counts, so that "a red" does not win as a prefix.
        (
            {"a red ball": [("red", -0.7), ("ball", -0.2), ("<end>", -0.1)], "a red": [("red", -0.7), ("<end>", -3.0)]},
            [-0.3, -3.0],
        ),
    ],
)
def test_whole_replies_are_compared_from_where_they_differ(prompts, sums):
    shared = [("it", -4.0), ("is", -0.5)]
    tokens = [shared + rest for rest in prompts.values()]
    completion = openai_format.score_choices(list(prompts), tokens, [reply(id=str(n)) for n in range(len(prompts))])
    weights = np.exp(sums)
    assert np.allclose(np.exp(list(completion.logprobs.values())), weights / weights.sum())
    assert completion.text == list(prompts)[int(np.argmax(sums))]
    assert completion.requests == ("0", "1")
