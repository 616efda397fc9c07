"""The caption node: captions are cached by captioner."""

from tests.agents.answer.conftest import note


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
