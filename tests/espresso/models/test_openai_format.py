"""Messages, schemas and probabilities in OpenAI's format."""

import base64
import io
import re
from typing import Literal

import numpy as np
import pytest
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
    return {
        "id": "7",
        "object": "chat.completion",
        "created": 0,
        "model": "small",
        "choices": [choice | {"logprobs": {"content": content} if tokens else None}],
    } | more


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


def message(content="x", finish="stop", **more):
    """Build a reply with one message."""
    return reply() | {"choices": [{"finish_reason": finish, "message": {"role": "assistant", "content": content, **more}}]}


def text_part(text):
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    "content",
    [
        [text_part("The ball "), text_part("stops.")],
        ["The ball ", {"text": "stops."}],
        [{"type": "thinking", "thinking": [text_part("hm")]}, text_part("The ball stops.")],
        [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "The ball stops."}],
        [text_part("<think>hm"), text_part("</think>The ball stops."), None, 7],
        {"type": "text", "text": {"value": "The ball stops."}},
    ],
)
def test_parts_of_the_content_are_joined_without_the_thoughts(content):
    completion = openai_format.decode_completion(message(content))
    assert (completion.text, completion.fault) == ("The ball stops.", None)


@pytest.mark.parametrize("field", ["id", "object", "created", "model", "usage"])
def test_optional_fields_of_a_reply_may_be_null_or_absent(field):
    absent = {name: value for name, value in reply("The ball.").items() if name != field}
    for body in (absent, absent | {field: None}):
        assert openai_format.decode_completion(body).text == "The ball."


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None, "completion_tokens": None}, [], "none"])
def test_usage_without_numbers_counts_as_no_tokens(usage):
    completion = openai_format.decode_completion(reply("The ball.", usage=usage))
    assert (completion.tokens_in, completion.tokens_out) == (0, 0)


@pytest.mark.parametrize("field", ["index", "finish_reason", "logprobs"])
def test_optional_fields_of_a_choice_may_be_null_or_absent(field):
    (choice,) = reply("The ball.")["choices"]
    absent = {name: value for name, value in choice.items() if name != field}
    for each in (absent, absent | {field: None}):
        completion = openai_format.decode_completion({"choices": [each]})
        assert (completion.text, completion.fault, completion.requests) == ("The ball.", None, ())


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": None},
        {"content": [{"token": "x", "logprob": None}]},
        {"content": [{"token": "x", "logprob": -0.1, "top_logprobs": None}]},
        {"tokens": ["x"], "token_logprobs": [-0.1]},
        [],
    ],
)
def test_unknown_logprobs_leave_the_probabilities_of_choices_unknown(logprobs):
    body = {"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]}
    completion = openai_format.add_choice_logprobs(openai_format.decode_completion(body), body, {"x": "x", "y": "y"}, "x")
    assert (completion.text, completion.confidence, completion.logprobs) == ("x", None, {})


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (message(None), "the reply is empty"),
        (message(""), "the reply is empty"),
        (message([]), "the reply is empty"),
        (message(None, "tool_calls", tool_calls=[{"id": "1"}]), "it calls a tool instead"),
        (message("The ba", "length"), "the reply was cut off at 128 tokens; raise `extra_tokens`"),
        (message("The ba", "MAX_TOKENS"), "the reply was cut off"),
        (message("The ba", "model_length"), "the reply was cut off"),
        (message(None, "length", reasoning_content="hm"), "its thoughts were cut off at 128 tokens"),
        (message(None, "stop", reasoning="hm"), "thoughts without an answer"),
        (message("<think>hm", "length"), "its thoughts were cut off"),
        (message("<think>hm", "stop"), "ends within its thoughts"),
        (message("<think>hm</think>", "stop"), "thoughts without an answer"),
        (message(None, "stop", refusal="I can't help."), 'it refused: "I can\'t help."'),
        (message([{"type": "refusal", "refusal": "No."}]), "it refused: 'No.'"),
        (message("", "content_filter"), "content filter"),
        (message("The ba", "content_filter"), "content filter"),
        (message(None, "content_filter: PROHIBITED_CONTENT"), "content filter"),
        (message(None, "SAFETY"), "content filter"),
        (message("The ba", "abort"), r"the server broke it off \(abort\)"),
        (message("The ba", "insufficient_system_resource"), "the server broke it off"),
        ({"choices": [{"finish_reason": "content_filter"}]}, "content filter"),
        ({"choices": [{"message": None, "finish_reason": "stop"}]}, "the reply is empty"),
        (message("The ba", None) | {"usage": {"completion_tokens": 128}}, "the reply was cut off at 128 tokens"),
    ],
)
def test_a_reply_that_cannot_be_used_has_its_reason(body, fault):
    assert re.search(fault, openai_format.decode_completion(body, 128).fault)


@pytest.mark.parametrize("finish", ["stop", "eos", "eos_token", "stop_sequence", "end_turn", "STOP", "tool_calls", None])
def test_a_whole_reply_has_no_fault(finish):
    assert openai_format.decode_completion(message("The ball.", finish), 128).fault is None


def test_the_tokens_of_thoughts_do_not_count():
    tokens = [
        ("<think>", -5.0, {}),
        ("hm", -5.0, {}),
        ("</think>", -5.0, {}),
        ("\n\n", -5.0, {}),
        ("B", -0.2, {"B": -0.2, "A": -2.0}),
    ]
    body = reply("<think>hm</think>\n\nB", tokens)
    completion = openai_format.decode_completion(body)
    assert completion.confidence == pytest.approx(np.exp(-0.2))
    chosen = openai_format.add_choice_logprobs(completion, body, {"A": "A", "B": "B"}, "B")
    assert np.allclose(np.exp(list(chosen.logprobs.values())), np.exp([-2.0, -0.2]) / np.exp([-2.0, -0.2]).sum())
    separate = message("B", reasoning_content="hm")
    separate["choices"][0]["logprobs"] = {"content": [{"token": "hm", "logprob": -5.0}]}
    assert openai_format.decode_completion(separate).confidence is None


@pytest.mark.parametrize(
    "text",
    ['```json\n{"choice": "blau"}\n```', 'Sure! {"choice": "blau"}.', '{"choice": "gr\\u00fcn"} or rather {"choice": "blau"}'],
)
def test_a_choice_is_found_in_the_reply(text):
    replies = openai_format.choice_replies(text, ["blau", "grün"])
    assert replies["blau"] == text
    assert replies["grün"].count("grün") == 1


def test_a_choice_with_escaped_letters_is_found():
    assert openai_format.choice_replies('{"choice": "gr\\u00fcn"}', ["blau", "grün"])["grün"] == '{"choice": "gr\\u00fcn"}'


@pytest.mark.parametrize(
    ("text", "choice"), [("B.", "B"), ("(b)", "B"), ("**B**", "B"), ("B or A", None), ("", None), ("The answer is B", None)]
)
def test_a_reply_that_is_a_choice_names_it(text, choice):
    assert openai_format.named_choice(text, ["A", "B"]) == choice


SENT = {
    "model": "m",
    "messages": [],
    "max_completion_tokens": 9,
    "temperature": 0.0,
    "logprobs": True,
    "top_logprobs": 20,
    "seed": 1,
} | {"response_format": {}}


@pytest.mark.parametrize(
    ("words", "named", "rejected"),
    [
        ("Unsupported parameter: 'logprobs' is not supported with this model.", "logprobs", {"logprobs": None}),
        ("Please remove 'logprobs'/'top_logprobs' from your request.", None, {"logprobs": None, "top_logprobs": None}),
        ("Logprobs is not supported for this model.", None, {"logprobs": None}),
        ("body.logprobs: Extra inputs are not permitted", None, {"logprobs": None}),
        ("top_logprobs must be between 0 and 5", None, {"top_logprobs": None}),
        ("Unsupported param: seed", None, {"seed": None}),
        ("Unrecognized request argument supplied: max_completion_tokens", None, {"max_completion_tokens": None}),
        ("Unknown name 'max_completion_tokens'. Use 'max_tokens' instead.", None, {"max_completion_tokens": None}),
        ("This response_format type is unavailable now", None, {"response_format": None}),
        ("Invalid schema for response_format 'Pick'", "response_format.json_schema", {"response_format": None}),
        ("'temperature' does not support 0. Only the default (1) value is supported.", "temperature", {"temperature": 1.0}),
        ("invalid temperature: only 0.6 is allowed for this model", None, {"temperature": 0.6}),
        ("`temperature` must be strictly positive", None, {"temperature": None}),
        # These mean the prompt or the model.
        ("'max_completion_tokens' is too large: 9. This model's maximum context length is 10 tokens.", "max_tokens", {}),
        ("max_completion_tokens must be at least 16", None, {}),
        ("m is not a multimodal model", None, {}),
        ("Only pictures are supported", None, {}),
    ],
)
def test_the_parameters_that_an_error_names_are_found(words, named, rejected):
    assert openai_format.rejected_parameters(words, named, SENT) == rejected


def test_a_request_is_adapted_to_what_the_server_accepts():
    request = SENT | {
        "messages": [{"role": "user", "content": "Which?"}],
        "response_format": openai_format.response_format("c", {"type": "object"}),
    }
    adapted = openai_format.adapt(
        request, {"max_completion_tokens": None, "logprobs": None, "temperature": 1.0, "response_format": None}
    )
    assert adapted.keys() == {"model", "messages", "max_tokens", "temperature", "seed"}
    assert (adapted["max_tokens"], adapted["temperature"]) == (9, 1.0)
    assert adapted["messages"][0]["content"].startswith("Which?\n\nReply with JSON of this schema")
    assert request["messages"][0]["content"] == "Which?"
    assert "max_tokens" not in openai_format.adapt(request, {"max_completion_tokens": None, "max_tokens": None})
