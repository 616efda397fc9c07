"""Statements of a chat model behind a scripted HTTP server that counts requests."""

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter

import pytest

from agents import raiv_write
from agents.budget import BudgetExceededError
from agents.raiv_write import write_statements
from espresso.datasets.raiv import build, check, files, read_pairs, world
from espresso.errors import DataError, ProfileError, ServerDownError
from tests.http_server import completion, http_server

PROFILE = """
about = "test"
download = "none"
prompts = "general"
sampling = "uniform-6"
frame_size = 64
core_frames = 4
"""
ROLE = """
[{role}]
backend = "openai"
model = "{role}"
base_url = "{url}"
context_length = 32000
picture_tokens = 100
price_in = 1.0
price_out = 10.0
"""


def write_profile(path, url, roles=("captioner", "selector", "reasoner", "writer")):
    path.write_text(PROFILE + "".join(ROLE.format(role=role, url=url) for role in roles))
    return path


def text_of(request):
    return "\n".join(message["content"] for message in request["messages"])


def statement(request):
    """What a perfect writer replies: the words, and the annotations of both visuals."""
    text = text_of(request)
    words = re.search(r'annotated there as "(.*)", in|uses the word "(.*)" for', text)
    shown = re.findall(r"^(?:Annotation|Caption) of (.*?): (.*)$", text, re.MULTILINE)
    return f"It shows {words[1] or words[2]}: " + " and ".join(f"{name} with {what}" for name, what in shown)[:200]


def answer(request):
    return 200, completion(json.dumps({"statement": statement(request)}))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A file of 40 pairs of images and videos of the world."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    situations = world.read(("image", "video"), world.stories_for(100)).situations
    files.write(path, build("im-vid", situations, 40, 0, common=1.0).pairs)
    return path


@pytest.fixture
def server():
    with http_server(answers=answer) as server:
        yield server


@pytest.fixture
def profile(tmp_path, server):
    return write_profile(tmp_path / "served.toml", server.url)


def test_each_statement_is_once_true_and_once_false_and_the_file_passes_the_check(built, profile, server, tmp_path):
    summary = write_statements(built, tmp_path / "g.jsonl", profile=profile)
    pairs = list(read_pairs(tmp_path / "g.jsonl"))
    result = check(tmp_path / "g.jsonl")
    assert result.problems == ()
    assert result.written == len(pairs) == 2 * summary.statements > 20
    assert result.true_share == result.text_accuracy == dict.fromkeys(("train", "val", "test"), 0.5)
    assert {pair.dataset for pair in pairs} == {"Im-Vid (G)"}
    assert all(pair.writer == "writer" and pair.topic in pair.statement for pair in pairs)
    assert all(bool(pair.changed) != pair.label for pair in pairs)
    assert summary.dollars == pytest.approx(len(server.asked) * (100 * 1 + 50 * 10) / 1e6)
    assert not any("image_url" in json.dumps(request) for request in server.asked)


def test_a_second_call_asks_nothing_again_and_writes_the_same(built, profile, server, tmp_path):
    first = write_statements(built, tmp_path / "g.jsonl", profile=profile)
    asked, content = len(server.asked), (tmp_path / "g.jsonl").read_bytes()
    assert write_statements(built, tmp_path / "g.jsonl", profile=profile) == first
    assert len(server.asked) == asked
    assert (tmp_path / "g.jsonl").read_bytes() == content


def test_a_bad_reply_is_requested_once_more_with_the_reason_and_counted(built, profile, server, tmp_path):
    def answers(request):
        text = text_of(request)
        if "An earlier statement cannot be used" in text:
            assert 'cannot be used: "There is no dog.". The reason: it does not contain the words' in text
            return answer(request)
        return 200, completion('{"statement": "There is no dog."}')

    server.answers = answers
    summary = write_statements(built, tmp_path / "g.jsonl", profile=profile)
    assert summary.retried == len(server.asked) / 2
    assert summary.unusable == 0
    assert check(tmp_path / "g.jsonl").problems == ()


def test_statements_whose_two_replies_are_bad_are_left_out_and_counted_and_the_splits_stay_even(built, profile, server, tmp_path):
    bad = []

    def answers(request):
        about = re.search(r"^Annotation of the image: .*$", text_of(request), re.MULTILINE)[0]
        if len(bad) < 2 and about not in bad:
            bad.append(about)
        return (200, completion("no JSON")) if about in bad else answer(request)

    server.answers = answers
    summary = write_statements(built, tmp_path / "g.jsonl", profile=profile)
    assert summary.unusable >= 2
    assert "it could not be read" in summary.faults[0]
    assert check(tmp_path / "g.jsonl").problems == ()
    replies = [json.loads(line) for line in (tmp_path / "g.write" / "replies.jsonl").read_text().splitlines()]
    assert sum(reply["fault"] is not None for reply in replies) == summary.unusable + summary.retried


def test_where_all_replies_are_bad_there_is_one_sentence(built, profile, server, tmp_path):
    server.answers = lambda request: (200, completion('{"statement": "Nothing."}'))
    with pytest.raises(DataError, match=r"not enough of \d+ statements can be used .*the first: im-vid-train"):
        write_statements(built, tmp_path / "g.jsonl", profile=profile)


def test_a_writer_of_nothing_usable_is_not_asked_to_the_end(built, profile, server, tmp_path, monkeypatch):
    monkeypatch.setattr(raiv_write, "TRIED", 4)
    server.answers = lambda request: (200, completion('{"statement": "Nothing."}'))
    for _ in range(2):  # the second call finds the replies of the first
        with pytest.raises(DataError, match=r"\d+ of the first \d+ statements of writer cannot be used; the first: it does"):
            write_statements(built, tmp_path / "g.jsonl", profile=profile)


def test_a_repeated_statement_of_a_split_is_left_out(built, profile, server, tmp_path):
    def answers(request):
        words = re.search(r'annotated there as "(.*)", in', text_of(request))[1]
        return 200, completion(json.dumps({"statement": f"The image and the video show {words}."}))

    server.answers = answers
    write_statements(built, tmp_path / "g.jsonl", profile=profile)
    assert check(tmp_path / "g.jsonl").problems == ()


def test_a_refused_request_is_made_again_by_the_next_call(built, profile, server, tmp_path):
    refused = []

    def answers(request):
        if not refused or request == refused[0]:
            refused.append(request)
            return 400, {"error": {"message": "this text is not allowed"}}
        return answer(request)

    server.answers = answers
    summary = write_statements(built, tmp_path / "g.jsonl", profile=profile)
    assert summary.unusable == 1
    assert "this text is not allowed" in summary.faults[0]
    asked, server.answers = len(server.asked), answer
    assert write_statements(built, tmp_path / "g.jsonl", profile=profile).unusable == 0
    assert len(server.asked) == asked + 1


def test_the_budget_is_never_exceeded_and_a_larger_one_resumes(built, profile, server, tmp_path):
    whole = write_statements(built, tmp_path / "whole.jsonl", profile=profile)
    paid = len(server.asked)
    with pytest.raises(BudgetExceededError, match=r"statements are written; run the same command again to resume\.$"):
        write_statements(built, tmp_path / "g.jsonl", profile=profile, max_cost=whole.dollars / 2)
    assert 0 < (len(server.asked) - paid) * 600e-6 <= whole.dollars / 2
    assert not (tmp_path / "g.jsonl").exists()
    write_statements(built, tmp_path / "g.jsonl", profile=profile, max_cost=1.0)
    assert len(server.asked) == 2 * paid
    assert (tmp_path / "g.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is for Unix")
@pytest.mark.parametrize("answered", [0, 1, 9])
def test_killed_at_any_reply_no_answered_request_is_repeated(built, tmp_path, answered):
    """Every first reply is bad; the server stops answering after so many replies, and the process is killed."""
    lock, replies = threading.Lock(), Counter()

    def falls_silent(request):
        with lock:
            silent = sum(replies.values()) >= answered
            if not silent:
                return answers(request)
        time.sleep(600)

    def answers(request):
        replies[json.dumps(request["messages"])] += 1
        again = "An earlier statement cannot be used" in text_of(request)
        return answer(request) if again else (200, completion('{"statement": "Nothing."}'))

    with http_server(answers=falls_silent) as server:
        profile = write_profile(tmp_path / "served.toml", server.url)
        process = multiprocessing.get_context("forkserver").Process(target=write_in_process, args=(built, tmp_path, profile))
        process.start()
        log = tmp_path / "g.write" / "replies.jsonl"
        while len(server.asked) <= answered or not log.exists() or len(log.read_bytes().splitlines()) < answered:
            time.sleep(0.05)
            assert process.is_alive()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with http_server(answers=answers, port=server.server_port):  # another one: the first may still read requests
        write_statements(built, tmp_path / "g.jsonl", profile=profile)
        assert max(replies.values()) == 1
        killed = (tmp_path / "g.jsonl").read_bytes()
        write_statements(built, tmp_path / "whole.jsonl", profile=profile)
    assert (tmp_path / "whole.jsonl").read_bytes() == killed


def write_in_process(built, folder, profile):
    os.environ["ESPRESSO_CACHE"] = str(folder / "cache")
    write_statements(built, folder / "g.jsonl", profile=profile)


def test_other_settings_do_not_mix_with_what_is_there(built, profile, tmp_path):
    write_statements(built, tmp_path / "g.jsonl", profile=profile)
    with pytest.raises(DataError, match="holds another write"):
        write_statements(built, tmp_path / "g.jsonl", profile=profile, seed=1)


def test_a_file_of_somebody_else_is_not_replaced(built, profile, tmp_path):
    (tmp_path / "g.jsonl").write_text("mine")
    with pytest.raises(DataError, match="was not written by `espresso raiv write`"):
        write_statements(built, tmp_path / "g.jsonl", profile=profile)
    with pytest.raises(DataError, match="no such folder"):
        write_statements(built, tmp_path / "gone" / "g.jsonl", profile=profile)


def test_statements_of_a_model_are_not_written_again(built, profile, tmp_path):
    write_statements(built, tmp_path / "g.jsonl", profile=profile)
    with pytest.raises(DataError, match="a model wrote its statement"):
        write_statements(tmp_path / "g.jsonl", tmp_path / "h.jsonl", profile=profile)


def test_a_profile_that_cannot_write_is_refused(built, server, tmp_path):
    poor = write_profile(tmp_path / "poor.toml", server.url, roles=("captioner", "selector", "reasoner"))
    with pytest.raises(ProfileError, match=r"has no \[writer\] to write statements"):
        write_statements(built, tmp_path / "g.jsonl", profile=poor)
    assert not (tmp_path / "g.write").exists()


def test_where_the_server_goes_away_the_call_stops_and_says_how_to_go_on(built, tmp_path):
    dead = write_profile(tmp_path / "dead.toml", "http://127.0.0.1:9/v1")
    with pytest.raises(ServerDownError, match=r"0 of \d+ statements are written; run the same command again to resume"):
        write_statements(built, tmp_path / "g.jsonl", profile=dead)


def test_visuals_that_are_not_in_the_annotations_are_named(built, profile, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(built.read_text().replace("world:train/0", "gone.jpg"))
    with pytest.raises(DataError, match="Give --annotations FOLDER"):
        write_statements(tmp_path / "pairs.jsonl", tmp_path / "g.jsonl", profile=profile)


def test_statements_about_edited_images_come_from_their_captions(profile, server, tmp_path):
    from espresso.datasets.raiv import edited

    folder, seeds = tmp_path / "ip2p", []
    things = ["lion", "tiger", "zebra", "horse", "rabbit", "camel", "goat", "sheep", "panda", "whale"]
    for number in range(60):
        name, thing = f"{number:04d}", things[number % 10] + "abcdef"[number // 10]
        (folder / name).mkdir(parents=True)
        prompt = {"caption": "a photo of a cat", "edit": f"make it a {thing}", "output": f"a photo of a {thing}"}
        (folder / name / "prompt.json").write_text(json.dumps(prompt))
        for side in (0, 1):
            (folder / name / f"1_{side}.jpg").touch()
        seeds.append([name, ["1"]])
    (folder / "seeds.json").write_text(json.dumps(seeds))
    files.write(tmp_path / "pairs.jsonl", edited.build(edited.read(folder).edits, 60, 0).pairs)
    write_statements(tmp_path / "pairs.jsonl", tmp_path / "g.jsonl", profile=profile, annotations=folder)
    pairs = list(read_pairs(tmp_path / "g.jsonl"))
    assert check(tmp_path / "g.jsonl").problems == ()
    assert {pair.dataset for pair in pairs} == {"IP2P (G)"}
    assert "Edit: make it a " in text_of(server.asked[0])
    assert "Caption of the first image: a photo of a cat" in text_of(server.asked[0])
