"""Sessions: what they share between questions, threads and profiles, and what they close."""

import os
import threading
import weakref

import pytest
from forked import in_child

import espresso
from agents.session import KEPT_SESSIONS, Session, shared_session
from espresso import profiles, world
from espresso.cache import Cache

QUESTION = "Where does the square go?"


def test_the_models_of_a_profile_are_shared_between_questions():
    assert shared_session("tiny") is shared_session("tiny")
    assert shared_session("tiny").roles is not shared_session("laptop").roles


def test_only_the_last_sessions_are_kept():
    oldest = weakref.ref(shared_session(profiles.load("tiny").model_copy(update={"core_frames": 1})))
    for frames in range(2, KEPT_SESSIONS + 2):
        shared_session(profiles.load("tiny").model_copy(update={"core_frames": frames}))
    assert oldest() is None


def test_no_profile_is_the_one_of_the_environment_or_tiny(monkeypatch):
    assert Session().profile.name == "tiny"
    monkeypatch.setenv("ESPRESSO_PROFILE", "laptop")
    assert Session().profile.name == "laptop"


def test_closing_a_session_frees_its_own_models_and_leaves_the_callers(roles, profile):
    closed = []
    roles.captioner.close = lambda: closed.append("captioner")
    with Session(profile, roles=roles) as session:
        assert session.roles is roles
    assert closed == []
    own = Session(profile)
    own.roles.captioner.close = lambda: closed.append("own")
    own.close()
    assert "own" in closed


def test_a_cache_that_the_caller_opened_stays_open(roles, profile, clip, tmp_path):
    cache = Cache(tmp_path / "mine")
    with Session(profile, roles=roles, cache=cache) as session:
        espresso.ask(clip, QUESTION, session=session)
    with Session(profile, roles=roles, cache=cache) as session:
        espresso.ask(clip, QUESTION, session=session)
    assert len(roles.captioner.asked) == 6
    assert cache.error_note is None


def test_a_session_can_be_used_by_threads_at_once(session, clip):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(espresso.ask(clip, QUESTION, session=session))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.text for answer in answers] == ["B"] * 4


def test_sessions_with_different_profiles_can_be_open_at_once(profile, roles, says, clip):
    other = type(roles)(captioner=says("a box"), selector=says('{"frames": [1]}'), reasoner=says("it stays", "A"))
    with (
        Session(profile, roles=roles) as one,
        Session(profile.model_copy(update={"name": "other"}), roles=other, cache=False) as two,
    ):
        answers = [espresso.ask(clip, QUESTION, session=session) for session in (one, two, one)]
    assert [(answer.text, answer.profile) for answer in answers] == [("B", "tiny"), ("A", "other"), ("B", "tiny")]


async def test_run_works_inside_a_running_event_loop(session):
    async def work():
        return "done"

    assert session.run(work()) == "done"


def test_run_closes_connections_and_passes_errors_on(session, roles):
    disconnected = []

    async def disconnect():
        disconnected.append(True)

    roles.disconnect = disconnect

    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        session.run(fail())
    assert disconnected == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_ask_with_the_session_and_the_shared_models_of_its_parent(session, clip, tmp_path):
    assert espresso.ask(clip, QUESTION, session=session).text == "B"
    assert in_child(lambda: espresso.ask(clip, QUESTION, session=session).text) == "B"
    (question, *_) = world.demo_clip(tmp_path / "world.mp4", seed=3)
    answer = espresso.ask(tmp_path / "world.mp4", question.text, options=question.options)
    assert in_child(lambda: espresso.ask(tmp_path / "world.mp4", question.text, options=question.options).text) == answer.text
