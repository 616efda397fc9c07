"""`espresso.ask`: what it takes, what it refuses in one sentence before any model is asked, and what it does not keep open."""

import asyncio
import time

import numpy as np
import pytest
from PIL import Image

import espresso
from espresso import media
from espresso.schema import Frame

QUESTION = "Where does the square go?"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"text": ""}, "the question is empty"),
        ({"text": " \n"}, "the question is empty"),
        ({"text": "why " * 25_000}, "99999 characters long"),
        ({"options": []}, "no options are given"),
        ({"options": ["left"]}, "only one option is given"),
        ({"options": ["left", "left"]}, "'left' is given twice"),
        ({"options": ["left", " "]}, "an option is empty"),
        ({"options": [str(number) for number in range(27)]}, "27 options"),
        ({"frames": 0}, "0 frames are too few"),
        ({"frames": -3}, "-3 frames are too few"),
        ({"strategy": "psychic"}, "unknown strategy 'psychic'"),
        ({"strategy": "given"}, "go together"),
        ({"core_frames": [1.0]}, "go together"),
        ({"strategy": "given", "core_frames": []}, "core_frames is empty"),
        ({"strategy": "given", "core_frames": [99.0]}, "a core frame is given at 99 s"),
        ({"strategy": "given", "core_frames": [Frame(visual=1, index=0, time=0)]}, "names visual 1, but there are 1"),
        ({"text": "who \udcff?"}, "not valid text"),
        ({"visuals": []}, "no visual is given"),
    ],
)
def test_a_bad_question_is_refused_before_a_model_is_asked(clip, session, roles, wrong, sentence):
    with pytest.raises(espresso.QuestionError, match=sentence) as refused:
        espresso.ask(**{"visuals": clip, "text": QUESTION, "session": session} | wrong)
    assert len(str(refused.value)) < 250
    assert not roles.captioner.asked + roles.selector.asked + roles.reasoner.asked


def test_a_missing_file_is_a_media_error(session, tmp_path):
    with pytest.raises(espresso.MediaError, match=r"gone\.mp4"):
        espresso.ask(tmp_path / "gone.mp4", QUESTION, session=session)


def test_an_unknown_profile_is_a_profile_error(clip):
    with pytest.raises(espresso.ProfileError, match=r"'tinny'.*Did you mean tiny"):
        espresso.ask(clip, QUESTION, profile="tinny")


def test_the_environment_names_the_profile(clip, monkeypatch):
    monkeypatch.setenv("ESPRESSO_PROFILE", "nobody")
    with pytest.raises(espresso.ProfileError, match="'nobody'"):
        espresso.ask(clip, QUESTION)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(str, id="path"),
        pytest.param(lambda path: path.read_bytes(), id="bytes"),
        pytest.param(media.open, id="opened"),
        pytest.param(lambda path: Image.new("RGB", (64, 48), "red"), id="PIL"),
        pytest.param(lambda path: np.zeros((48, 64, 3), np.uint8), id="array"),
    ],
)
def test_a_visual_may_be_a_path_bytes_an_array_a_picture_or_opened(clip, session, source):
    answer = espresso.ask(source(clip), QUESTION, session=session)
    assert answer.visuals[0].width == 64
    assert answer.text == "B"


def test_several_visuals_keep_their_places(clip, roles, session):
    roles.selector.replies = ['{"frames": [1, 7]}']
    answer = espresso.ask([clip, Image.new("RGB", (64, 48), "red")], QUESTION, session=session)
    assert [core.frame.visual for core in answer.core_frames] == [0, 1]
    assert len(answer.visuals) == 2


def test_core_frames_may_be_frames_of_any_visual(clip, session):
    frame = Frame(visual=1, index=3, time=0.375)
    answer = espresso.ask([clip, clip], QUESTION, session=session, strategy="given", core_frames=[frame, 0.0])
    assert [core.frame for core in answer.core_frames] == [Frame(index=0, time=0), frame]


async def test_questions_can_be_asked_together_and_from_within_a_loop(clip, session):
    together = await asyncio.gather(*(espresso.aask(clip, QUESTION, session=session) for _ in range(3)))
    alone = espresso.ask(clip, QUESTION, session=session)
    assert {answer.text for answer in [*together, alone]} == {"B"}


def test_an_answer_survives_json(clip, session):
    answer = espresso.ask(clip, QUESTION, options=["left", "right"], session=session)
    assert espresso.Answer.model_validate_json(answer.model_dump_json()) == answer


async def test_the_models_load_while_the_clip_is_decoded(clip, tmp_path, monkeypatch):
    decode, loading = media.sample, []

    def decode_once_the_reasoner_is_loaded(*args, **options):
        deadline = time.monotonic() + 300
        while asker.roles.reasoner._loaded is None and time.monotonic() < deadline:
            time.sleep(0.01)
        loading.append(asker.roles.reasoner._loaded)
        return decode(*args, **options)

    monkeypatch.setattr(media, "sample", decode_once_the_reasoner_is_loaded)
    with espresso.Session("tiny", cache=tmp_path) as asker:
        await espresso.aask(clip, QUESTION, session=asker, allow_out_of_domain=True)
    assert len(loading) == 1
    assert loading[0] is not None
