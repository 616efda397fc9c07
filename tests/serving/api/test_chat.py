"""From a chat request to a question."""

import pytest
from pydantic import ValidationError

from espresso.errors import QuestionError
from serving.api.chat import ChatRequest, read_request
from serving.errors import RequestError


def read(messages, **more):
    return read_request(ChatRequest.model_validate({"model": "tiny", "messages": messages, **more}))


def user(*parts):
    return {"role": "user", "content": list(parts)}


def text(content):
    return {"type": "text", "text": content}


CLIP = {"type": "video_url", "video_url": {"url": "file:///clips/a.mp4"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa", "detail": "low"}}
UPLOAD = {"type": "file", "file": {"file_id": "file-1"}}
LETTERED = "Which?\nA. red\nB. blue"


def test_the_parts_of_a_message_are_question_and_visuals_in_order():
    asked = read([user(text("What"), CLIP, PICTURE, text("happens?"), UPLOAD)]).question
    assert asked.text == "What\nhappens?"
    assert asked.visuals == ("file:///clips/a.mp4", "data:image/png;base64,aaaa", "file-1")
    assert asked.options is None


def test_a_follow_up_question_is_about_the_visuals_of_all_turns_and_says_what_was_not_read():
    turns = [{"role": "system", "content": "Be brief."}, user(CLIP, text("What?")), {"role": "assistant", "content": "A dog."}]
    asked = read([*turns, {"role": "user", "content": "Why?"}])
    assert (asked.question.text, asked.question.visuals) == ("Why?", ("file:///clips/a.mp4",))
    assert asked.notes == ("1 messages of the system were not read", "of earlier turns, only the images and videos were used")


def test_options_come_from_the_extension_the_schema_or_the_text():
    schema = {"type": "object", "properties": {"answer": {"type": "string", "enum": ["x", "y"]}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    given = read([user(CLIP, text(LETTERED))], espresso={"options": ["one", "two"]}, response_format=form)
    assert (given.question.options, given.question.text, given.lettered) == (("one", "two"), LETTERED, False)
    formed = read([user(CLIP, text(LETTERED))], response_format=form)
    assert (formed.question.options, formed.question.text, formed.lettered) == (("x", "y"), LETTERED, False)
    found = read([user(CLIP, text(LETTERED))])
    assert (found.question.options, found.question.text, found.lettered) == (("red", "blue"), "Which?", True)


def test_settings_of_the_extension_are_those_of_the_question():
    asked = read([user(CLIP, text("What?"))], espresso={"frames": 2, "evidence": "it moves", "boxes": True}).question
    assert (asked.frames, asked.evidence, asked.boxes) == (2, "it moves", True)


def test_fields_of_other_vendors_are_ignored_and_a_misspelt_one_of_ours_is_refused():
    read([user(CLIP, text("What?"))], temperature=0.7, media_io_kwargs={"video": {"num_frames": 10}}, max_tokens=5)
    with pytest.raises(ValidationError, match="option"):
        read([user(CLIP, text("What?"))], espresso={"option": ["a", "b"]})


@pytest.mark.parametrize("more", [{"n": 2}, {"tools": [{}]}, {"functions": [{}]}, {"logprobs": True}])
def test_what_the_pipeline_does_not_have_is_refused(more):
    with pytest.raises(RequestError, match=f"^{next(iter(more))} is not supported"):
        read([user(CLIP, text("What?"))], **more)


def test_a_conversation_without_a_user_is_refused():
    with pytest.raises(QuestionError, match="no message of the user"):
        read([{"role": "system", "content": "Hello."}])
    with pytest.raises(RequestError, match="neither file_id nor file_data"):
        read([user({"type": "file", "file": {}}, text("What?"))])
