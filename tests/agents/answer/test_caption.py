"""The caption node: captions are cached by captioner."""

import pytest

import espresso
from agents.session import Session
from espresso.errors import ModelError
from espresso.models import OpenAIModel
from tests.agents.answer.conftest import QUESTION, note
from tests.http_server import completion, http_server


def test_the_second_question_captions_nothing(ask, roles):
    first = ask()
    second = ask("What colour is it?")
    assert len(roles.captioner.asked) == 6
    (first, second) = (next(step for step in answer.trace if step.node == "caption") for answer in (first, second))
    assert second.cached == 6
    assert (second.tokens_in, second.saved_in) == (0, first.tokens_in)


def test_another_captioner_captions_anew(ask, roles, says):
    ask()
    roles.captioner = says("a crimson box", name="another")
    assert {caption.text for caption in ask().captions} == {"a crimson box"}


def test_another_view_of_the_frames_captions_anew(ask, roles, profile):
    def asked_with(**options):
        captioner = profile.captioner.model_copy(update={"image_options": options or None})
        ask(profile=profile.model_copy(update={"captioner": captioner}))
        return len(roles.captioner.asked)

    views = [{}, {"crop": False}, {}, {"crop": False}, {"crop": True}]
    assert [asked_with(**options) for options in views] == [6, 12, 12, 12, 18]


def test_without_a_cache_every_question_captions(ask, roles):
    ask(cache=False)
    ask(cache=False)
    assert len(roles.captioner.asked) == 12


def test_a_cache_that_cannot_be_used_is_a_note_not_a_failure(ask, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = ask(cache=tmp_path / "file")
    assert answer.choice == "B"
    assert "cannot use the cache" in note(answer, "caption")


def test_a_frame_without_a_caption_is_left_out_noted_and_captioned_again(ask, roles):
    roles.captioner.faults = {1: "the reply was cut off at 128 tokens", 4: "the reply was cut off at 128 tokens"}
    answer = ask()
    assert [caption.frame for caption in answer.captions] == [answer.frames[index] for index in (0, 2, 3, 5)]
    assert note(answer, "caption") == "2 of 6 frames have no caption: the reply was cut off at 128 tokens"
    assert "after 1 steps" not in str(roles.selector.asked)
    roles.captioner.faults = {}
    assert len(ask().captions) == 6
    assert len(roles.captioner.asked) == 8


def test_no_caption_at_all_is_an_error_with_the_reason(ask, roles):
    roles.captioner.faults = {"all": "it refused: 'No.'"}
    with pytest.raises(ModelError, match=r"captioner gave no caption of 6 frames: it refused: 'No\.'\."):
        ask()


def test_other_fields_of_a_request_caption_anew(ask, roles, profile):
    server = {"backend": "openai", "model": "m", "base_url": "http://localhost/v1", "context_length": 9000, "picture_tokens": 16}
    for body in (None, {"effort": "low"}, {"effort": "high"}, None):
        captioner = type(profile).model_validate(profile.model_dump() | {"captioner": server | {"extra_body": body}}).captioner
        ask(profile=profile.model_copy(update={"captioner": captioner}))
    assert len(roles.captioner.asked) == 18


def ending(finish, content=None, **more):
    return completion(content) | {"choices": [{"finish_reason": finish, "message": {"content": content, **more}}]}


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (completion("<think>\nThe user asks"), "ends within its thoughts"),
        (ending("length", "<think>\nThe user asks"), "its thoughts were cut off"),
        (ending("length", reasoning_content="hm"), "its thoughts were cut off"),
        (ending("length", "The frame shows a red"), "the reply was cut off"),
        (ending("content_filter", ""), "content filter"),
        (ending("stop", refusal="I can't."), "it refused"),
    ],
)
def test_only_complete_captions_stay_after_a_server_recovers(clip, roles, profile, bad, fault):
    replies = [bad]
    with http_server(answers=lambda request: (200, replies[-1])) as server:
        roles.captioner = OpenAIModel("m", base_url=server.url, context_length=9000, picture_tokens=16)
        with Session(profile, roles=roles) as session:
            with pytest.raises(ModelError, match=fault):
                espresso.ask(clip, QUESTION, session=session)
            replies.append(completion("<think>A ball?</think>\n\na red ball"))
            answer = espresso.ask(clip, QUESTION, session=session)
    assert {caption.text for caption in answer.captions} == {"a red ball"}


def test_captions_are_reported_when_they_are_made_and_the_cached_ones_at_once(ask, roles):
    def reported():
        started, seen = [], []
        answer = ask(
            on_progress=lambda node: started.append(node.node),
            on_captions=lambda captions: seen.append((started[-1], captions)),
        )
        assert [caption for _, captions in seen for caption in captions] == list(answer.captions)
        assert {node for node, _ in seen} == {"caption"}
        return [len(captions) for _, captions in seen]

    assert reported() == [1, 1, 1, 1, 1, 1]
    assert reported() == [6]
    roles.captioner.name = "another"
    roles.captioner.faults = {7: "the reply is empty"}
    assert reported() == [1, 1, 1, 1, 1]
