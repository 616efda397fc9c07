"""A profile for the procedural world refuses other clips, or answers with a warning."""

from pathlib import Path

import av
import pytest

import espresso
from agents.session import Session
from espresso import media, world
from espresso.errors import QuestionError
from espresso.schema import Question
from tests.agents.answer.conftest import OPTIONS, QUESTION

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "video" / "mdn_flower.webm"


@pytest.fixture
def world_session(profile, roles):
    with Session(profile.model_copy(update={"world_only": True}), roles=roles) as session:
        yield session


@pytest.fixture
def real():
    if not REAL.is_file():
        pytest.skip(f"no clip at {REAL}")
    return REAL


@pytest.fixture
def world_clip(tmp_path):
    """A clip of the world without the comment that marks its files."""
    story = world.story("test", 0)
    path = tmp_path / "unmarked.mp4"
    media.write_video(path, (world.render(story, number / 12, 112) for number in range(int(12 * story.duration))), 12)
    assert media.open(path).comment is None
    return path


def with_comment(source, path):
    """Copy a video with the comment that marks clips of the world."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata["comment"] = world.COMMENT
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert media.open(path).comment == world.COMMENT
    return path


def asked(roles):
    return roles.captioner.asked + roles.selector.asked + roles.reasoner.asked


@pytest.mark.parametrize("settings", [
    {}, {"strategy": "uniform", "frames": 1}, {"strategy": "all"}, {"strategy": "given", "core_frames": [1.0]},
])  # fmt: skip
def test_a_real_clip_is_refused_before_a_model_is_asked(world_session, roles, real, settings):
    with pytest.raises(QuestionError, match=r"mdn_flower.*--profile laptop \(download: \d.*GB.*--allow-out-of-domain") as refused:
        espresso.ask(real, QUESTION, options=OPTIONS, session=world_session, **settings)
    assert str(refused.value).count("\n") == 0
    assert asked(roles) == []


def test_a_cached_sampling_is_refused_too(world_session, real):
    for _ in range(2):
        with pytest.raises(QuestionError, match="--profile laptop"):
            espresso.ask(real, QUESTION, session=world_session)


def test_a_real_clip_is_answered_with_a_warning_and_no_confidence_if_allowed(world_session, real):
    answer = espresso.ask(real, QUESTION, options=OPTIONS, session=world_session, allow_out_of_domain=True)
    assert answer.choice == "B"
    assert "mdn_flower.webm" in answer.warning
    assert "--profile laptop (download:" in answer.warning
    assert (answer.confidence, answer.options_probability) == (None, {})


def test_a_free_answer_has_no_confidence_either(world_session, real):
    answer = espresso.ask(real, QUESTION, session=world_session, allow_out_of_domain=True)
    assert answer.text
    assert answer.confidence is None
    assert answer.warning


def test_a_clip_of_the_world_without_its_comment_is_answered(world_session, world_clip):
    answer = espresso.ask(world_clip, QUESTION, options=OPTIONS, session=world_session)
    assert answer.warning is None
    assert answer.confidence == pytest.approx(0.8)


def test_the_comment_of_the_world_does_not_help_a_real_clip(world_session, roles, real, tmp_path):
    marked = with_comment(real, tmp_path / "marked.mkv")
    with pytest.raises(QuestionError, match=r"marked\.mkv"):
        espresso.ask(marked, QUESTION, session=world_session)
    assert asked(roles) == []


def test_one_real_clip_among_several_visuals_is_named(world_session, world_clip, real):
    with pytest.raises(QuestionError) as refused:
        espresso.ask([world_clip, real], QUESTION, session=world_session)
    assert "mdn_flower.webm" in str(refused.value)
    assert "unmarked.mp4" not in str(refused.value)


def test_blind_questions_and_other_profiles_are_not_checked(world_session, session, real):
    assert espresso.ask(real, QUESTION, session=world_session, strategy="blind").warning is None
    assert espresso.ask(real, QUESTION, session=session).warning is None


def test_many_questions_are_refused_one_by_one_or_allowed_together(world_session, world_clip, real):
    questions = [Question(id=path.stem, visuals=(str(path),), text=QUESTION) for path in (real, world_clip)]
    refused, answered = espresso.ask_many(questions, session=world_session)
    assert isinstance(refused, QuestionError)
    assert answered.text
    guess, known = espresso.ask_many(questions, session=world_session, allow_out_of_domain=True)
    assert (bool(guess.warning), known.warning) == (True, None)
