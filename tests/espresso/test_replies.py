"""What a model's reply says: thoughts are left out, JSON is found."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from espresso.replies import parse_json, without_thoughts


class Pick(BaseModel):
    frames: list[int]
    score: int = Field(default=1, le=10)


@pytest.mark.parametrize(
    "content",
    [
        "<think>\nA or B?\n</think>\n\nThe ball.",
        "<think>\n\n</think>\n\nThe ball.",
        "A or B?\n</think>\nThe ball.",  # the chat template opened the thoughts
        "<THINKING>A or B?</THINKING>The ball.",
        "<thought>A</thought><thought>B</thought>The ball.",
        "<think>The tag <think> opens. </think> The ball.",
        "<think>A </think> is no end. </think> The ball.",
        "<reasoning effort='low'>A?</reasoning> The ball.",
        "<seed:think>A?</seed:think>The ball.",
        "[THINK]A?[/THINK]The ball.",
        "◁think▷A?◁/think▷The ball.",
        "<|START_THINKING|>A?<|END_THINKING|><|START_RESPONSE|>The ball.<|END_RESPONSE|>",
        "<|begin_of_thought|>A?<|end_of_thought|>\n<|begin_of_solution|>The ball.<|end_of_solution|>",
        "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>The ball.<|return|>",
        "Here is my thought process:\nA?\nHere is my response:\nThe ball.",
        "<think>A?</think><answer>The <|begin_of_box|>ball<|end_of_box|>.</answer>",
    ],
)
def test_thoughts_are_left_out(content):
    assert without_thoughts(content) == ("The ball.", True, False)


@pytest.mark.parametrize(
    "content", ["<think>\nThe user asks", "[THINK]hm", "<|channel|>analysis<|message|>hm", "<think>a<think>b"]
)
def test_thoughts_without_an_end_leave_nothing(content):
    assert without_thoughts(content) == ("", True, True)


@pytest.mark.parametrize("content", ["The ball.", "a < b > c", "I think so.", '{"reason": "a thought", "score": 7}', "[1, 2]"])
def test_a_reply_without_thoughts_is_unchanged(content):
    assert without_thoughts(f" {content}\n") == (content, False, False)


@pytest.mark.parametrize(
    "text",
    [
        '{"frames": [1, 3]}',
        '```json\n{"frames": [1, 3]}\n```',
        'Sure! Here is the JSON: {"frames": [1, 3]}. Anything else?',
        'Not {these} but {"frames": [1, 3]}',
        'For example {"frames": [9]}, so in the end: {"frames": [1, 3]}',
        '{"frames": [1,\t3]\n}',
    ],
)
def test_json_is_found_in_a_fence_and_between_sentences(text):
    assert parse_json(Pick, text) == Pick(frames=[1, 3])


@pytest.mark.parametrize("text", ["", "frames 1 and 3", '{"frames": [1', '{"other": 1}', "{" * 3000, '{"a":' * 3000])
def test_text_without_the_json_is_an_error(text):
    with pytest.raises(ValidationError):
        parse_json(Pick, text)


def test_the_error_is_about_the_json_in_the_text():
    with pytest.raises(ValidationError, match="less than or equal to 10"):
        parse_json(Pick, 'Here: {"frames": [1], "score": 11}')


def test_a_part_of_json_that_is_cut_off_does_not_count():
    with pytest.raises(ValidationError, match="EOF while parsing"):
        parse_json(Pick, '{"draft": {"frames": [1]}, "final": {"frames": [2')
    with pytest.raises(ValidationError, match="EOF while parsing"):
        parse_json(Pick, '{"draft": {"frames": [1]}, "final": {"why": "beca')
