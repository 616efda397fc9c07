"""The sample node: which frames each strategy gets."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import espresso
from espresso.schema import Question
from tests.agents.answer.conftest import QUESTION, nodes, pictures


def test_uniform_takes_exactly_as_many_frames_as_asked_and_captions_none(ask, roles):
    answer = ask(strategy="uniform", frames=5)
    assert nodes(answer) == ["sample", "evidence", "sufficient", "answer"]
    assert len(answer.core_frames) == len(answer.frames) == len(pictures(roles.reasoner.asked[-1])) == 5
    assert not roles.captioner.asked
    assert not roles.selector.asked


def test_uniform_takes_sixteen_frames_by_default(ask):
    assert len(ask(strategy="uniform").core_frames) == 16


def test_uniform_shares_its_frames_among_several_visuals(clip, session):
    answer = espresso.ask([clip, clip], QUESTION, session=session, strategy="uniform", frames=5)
    assert [frame.visual for frame in answer.frames] == [0, 0, 0, 1, 1]


def test_all_takes_every_sampled_frame(ask):
    answer = ask(strategy="all")
    assert len(answer.core_frames) == len(answer.frames) == 6


def test_given_core_frames_are_those_shown_nearest_to_their_times(ask, roles):
    answer = ask(strategy="given", core_frames=[2.01, 0.4])
    assert [core.time for core in answer.core_frames] == pytest.approx([0.375, 2.0])
    assert not roles.captioner.asked
    assert len(pictures(roles.reasoner.asked[0])) == 2


def test_credentials_of_a_url_are_not_in_the_answer(clip, session, capfd):
    handler = partial(SimpleHTTPRequestHandler, directory=str(Path(clip).parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}/{Path(clip).name}"
    url = f"http://zoe:s3cret@{address}?token=s3cret"
    question = Question(id="1", visuals=(url,), text=QUESTION)
    answers = [espresso.ask(url, QUESTION, session=session, allow_urls=True)]
    answers += espresso.ask_many([question], session=session, allow_urls=True)
    server.shutdown()
    server.server_close()
    for answer in answers:
        assert answer.question.visuals == (f"http://{address}?token=***",)
        assert "s3cret" not in answer.model_dump_json()
