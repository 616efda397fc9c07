"""Construction over real clips; the models stand behind a scripted HTTP server that counts requests."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from agents.annotate import annotate
from agents.budget import BudgetExceededError
from espresso.datasets import DatasetFiles, get_dataset, records
from espresso.errors import DataError, ModelError, ProfileError, ServerDownError
from tests.agents.annotate.conftest import answer, digest, make_clip, write_profile
from tests.http_server import http_server

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "video"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_questions_have_core_frames_evidence_boxes_and_options(clips, profile, tmp_path):
    summary = annotate(clips, tmp_path / "data.jsonl", profile=profile)
    questions = records.read(tmp_path / "data.jsonl")
    assert [question.visuals for question in questions] == [(str(clip),) for clip in clips]
    for question in questions:
        assert (question.text, question.answer) == ("Where does it go?", "to the right")
        assert set(question.options) == {"to the right", "to the left", "upwards", "nowhere"}
        assert question.truth.evidence == "The square moves."
        assert [round((span.start + span.end) / 2, 1) for span in question.truth.spans] == [0.8, 1.2]
        items = question.truth.key_items
        assert [item.label for item in items] == ["square", "square"]
        assert items[0].box == (16, 32, 48, 64)  # thousandths of a frame of 64x64
        assert [item.frame.time for item in items] == sorted(item.frame.time for item in items)
    assert len({question.options.index(question.answer) for question in questions}) == 3  # positions take turns
    assert summary.questions == 3
    assert summary.boxes == {"wanted": 6, "found": 6, "verified": 6}


def test_rejected_pairs_are_kept_with_their_reasons(clips, profile, tmp_path):
    summary = annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    rejected = rows(tmp_path / "data.rejected.jsonl")
    assert [(row["node"], row["reason"]) for row in rejected] == [
        ("filter", "not consistent: not so"),
        ("write", "the question was written before"),
    ]
    assert summary.rejected == {"filter": 1, "write": 1}


def test_the_output_trains_and_evaluates_unedited(clips, profile, tmp_path):
    annotate(clips, tmp_path / "data.jsonl", profile=profile)
    dataset, files = get_dataset("records"), DatasetFiles(tmp_path / "data.jsonl")
    assert len(dataset.load("test", None, files).questions) == 3
    loaded = dataset.examples(files)
    assert not loaded.bad
    assert (
        loaded.examples[0].evidence == "The square moves. Key items: square [250, 500, 750, 1000], square [250, 500, 750, 1000]."
    )
    assert [frame.time for frame in loaded.examples[0].frames] == pytest.approx([0.75, 1.25], abs=0.07)


def test_without_distractors_no_option_is_asked_for(clips, profile, server, tmp_path):
    annotate(clips[:1], tmp_path / "data.jsonl", profile=profile, distractors=False)
    (question,) = records.read(tmp_path / "data.jsonl")
    assert question.options is None
    assert not [request for request in server.asked if request["model"] == "reasoner"]


def test_a_second_call_adds_videos_and_asks_nothing_again(clips, profile, server, tmp_path):
    annotate(clips[:2], tmp_path / "data.jsonl", profile=profile)
    before = len(server.asked)
    annotate(clips[:2], tmp_path / "data.jsonl", profile=profile)
    assert len(server.asked) == before
    annotate(clips[2:], tmp_path / "data.jsonl", profile=profile)
    assert len(records.read(tmp_path / "data.jsonl")) == 3
    probes = [request for request in server.asked if request.get("input") == ["word"]]
    assert len(server.asked) - len(probes) == (before - 1) * 3 // 2


def test_what_cannot_be_read_or_is_there_twice_is_listed_and_skipped(clips, profile, tmp_path):
    broken, copy = tmp_path / "broken.mp4", tmp_path / "copy.mp4"
    broken.write_bytes(b"no video")
    copy.write_bytes(clips[0].read_bytes())
    summary = annotate([broken, clips[0], copy], tmp_path / "data.jsonl", profile=profile)
    assert (summary.videos, summary.questions) == (1, 1)
    assert list(summary.skipped) == [str(broken), str(copy)]
    assert str(broken) in summary.skipped[str(broken)]
    assert summary.skipped[str(copy)] == f"{copy}: the same video as {clips[0]}."


def test_one_scene_is_one_group_and_no_question(profile, server, tmp_path):
    server.answers = lambda request: (200, answer(request | {"messages": []} if request.get("model") == "captioner" else request))
    summary = annotate([make_clip(tmp_path / "still.mp4")], tmp_path / "data.jsonl", profile=profile)
    assert summary.without_question == {
        str(tmp_path / "still.mp4"): "no question: its 6 captions describe one scene, and a question needs two"
    }
    (result,) = rows(tmp_path / "data.annotate" / "videos.jsonl")
    assert [len(group["scenes"]) for group in result["groups"]] == [1]
    assert len(result["groups"][0]["scenes"][0]["frames"]) == 6


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent")
def test_every_real_clip_has_questions_or_the_reason_why_not(tmp_path):
    clips = sorted(map(str, REAL.iterdir()))
    summary = annotate(clips, tmp_path / "data.jsonl", profile="tiny", allow_out_of_domain=True)
    asked = {question["visuals"][0] for question in rows(tmp_path / "data.jsonl")}
    assert (summary.videos, summary.skipped) == (len(clips), {})
    assert sorted([*asked, *summary.without_question]) == clips
    short = str(REAL / "imageio_realshort.mp4")  # 1.2 seconds
    assert "describe one scene, and a question needs two" in summary.without_question[short]
    (result,) = [row for row in rows(tmp_path / "data.annotate" / "videos.jsonl") if row["source"] == short]
    assert [len(group["scenes"]) for group in result["groups"]] == [1]


def test_a_reply_that_cannot_be_read_rejects_its_pair_only(clips, profile, server, tmp_path):
    def answers(request):
        reply = answer(request)
        if request.get("model") == "writer" and "key_items" in json.dumps(reply):
            reply["choices"][0]["message"]["content"] = "no idea"
        return 200, reply

    server.answers = answers
    summary = annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    assert summary.rejected == {"evidence": 1, "filter": 1, "write": 1}
    assert "could not be read: 'no idea'" in rows(tmp_path / "data.rejected.jsonl")[0]["reason"]


def test_evidence_that_no_caption_says_rejects_its_pair(clips, profile, server, tmp_path):
    def answers(request):
        reply = answer(request)
        if request.get("model") == "writer" and "key_items" in json.dumps(reply):
            cited = json.loads(reply["choices"][0]["message"]["content"])
            cited["captions"].append("a circle that is not there")
            reply["choices"][0]["message"]["content"] = json.dumps(cited)
        return 200, reply

    server.answers = answers
    summary = annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    assert summary.rejected == {"match": 1, "filter": 1, "write": 1}
    assert "no caption resembles the evidence 'a circle that is not there'" in (tmp_path / "data.rejected.jsonl").read_text()


def test_a_distractor_that_passes_the_filter_rejects_its_pair(clips, profile, server, tmp_path):
    def answers(request):
        reply = answer(request)
        reply_text = json.dumps(reply).replace("upwards", "to the right side")
        return 200, json.loads(reply_text)

    server.answers = answers
    summary = annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    assert summary.rejected["check"] == 1
    assert "'to the right side' may be correct" in (tmp_path / "data.rejected.jsonl").read_text()


def test_a_question_that_needs_no_video_is_rejected(clips, profile, server, tmp_path):
    def answers(request):
        reply = answer(request)
        if request.get("model") == "reasoner":
            listed = "\n".join(str(message["content"]) for message in request["messages"])
            letter = next(each for each in "ABCD" if f"{each}. to the right" in listed)
            text = json.dumps(reply).replace('"D"', '"X"').replace(f'"{letter}"', '"D"').replace('"X"', f'"{letter}"')
            reply = json.loads(text)
        return 200, reply

    server.answers = answers
    summary = annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    assert summary.rejected["guess"] == 1
    assert "known without the video (probability 0.70)" in (tmp_path / "data.rejected.jsonl").read_text()


def test_the_budget_is_never_exceeded_and_a_larger_one_resumes(clips, profile, server, tmp_path):
    whole = annotate(clips, tmp_path / "whole.jsonl", profile=profile)
    paid = len(server.asked)
    with pytest.raises(BudgetExceededError, match=r"of 3 videos are done; run the same command again to resume\.$"):
        annotate(clips, tmp_path / "data.jsonl", profile=with_cache(profile, tmp_path), max_cost=whole.dollars / 2)
    chats = [request for request in server.asked[paid:] if "messages" in request]
    assert 0 < sum(100e-6 * 1 + 10e-6 * 10 for _ in chats) <= whole.dollars / 2
    annotate(clips, tmp_path / "data.jsonl", profile=profile, max_cost=1.0)
    assert (tmp_path / "data.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    about_clips = [request for request in server.asked[paid:] if request["model"] not in ("reasoner", "embedder")]
    assert max(Counter(map(digest, about_clips)).values()) == 1


def with_cache(profile, tmp_path):
    """The same profile with an empty cache, so that captions are asked for again."""
    os.environ["ESPRESSO_CACHE"] = str(tmp_path / "cache2")
    return profile


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is for Unix")
@pytest.mark.parametrize("answered", [0, 3, 6, 7, 8, 9, 10, 11, 12, 15, 19])
def test_killed_at_any_node_no_answered_request_is_repeated(clips, tmp_path, answered):
    """The server stops answering after so many replies; the process is killed; the same call then finishes."""
    lock, replies = threading.Lock(), Counter()

    def falls_silent(request):
        with lock:
            silent = sum(replies.values()) >= answered
            if not silent:
                return answers(request)
        time.sleep(600)

    def answers(request):
        if request.get("input") != ["word"]:  # asked at each start, to see that the embedder works
            replies[digest(request)] += 1
        return 200, answer(request)

    with http_server(answers=falls_silent) as server:
        profile = write_profile(tmp_path / "served.toml", server.url)
        process = multiprocessing.get_context("forkserver").Process(target=construct, args=(clips[:1], tmp_path, profile))
        process.start()
        while sum(replies.values()) < answered or not started(server, answered):
            time.sleep(0.05)
            assert process.is_alive()
        wait_until_quiet(tmp_path / "data.annotate")
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with http_server(answers=answers, port=server.server_port):  # another one: the first may still read requests
        annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
        assert max(replies.values()) == 1
        killed = (tmp_path / "data.jsonl").read_bytes()
        annotate(clips[:1], tmp_path / "whole.jsonl", profile=profile)
    assert (tmp_path / "whole.jsonl").read_bytes() == killed


def construct(clips, folder, profile):
    os.environ["ESPRESSO_CACHE"] = str(folder / "cache")
    annotate(clips, folder / "data.jsonl", profile=profile)


def started(server, answered):
    """Whether a request waits that is not answered."""
    return len(server.asked) > answered


def wait_until_quiet(folder):
    """Wait until no file of the folder has changed for a second."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < 1:
        now = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.05)


def test_a_second_process_is_refused(clips, profile, tmp_path):
    refused = []

    def on_progress(progress):
        if not refused:
            with pytest.raises(DataError, match="another process is writing") as error:
                annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
            refused.append(error)

    annotate(clips[:1], tmp_path / "data.jsonl", profile=profile, on_progress=on_progress)
    assert refused


def test_other_settings_do_not_mix_with_what_is_there(clips, profile, tmp_path):
    annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    with pytest.raises(DataError, match="questions: 3 there, 1 requested"):
        annotate(clips[:1], tmp_path / "data.jsonl", profile=profile, questions=1)


def test_an_embedder_that_is_gone_is_named_before_anything_is_paid(clips, tmp_path):
    dead = write_profile(tmp_path / "dead.toml", "http://127.0.0.1:9/v1")
    with pytest.raises(ModelError, match="could not connect"):  # the embedder, which is tried before the first reply
        annotate(clips[:1], tmp_path / "data.jsonl", profile=dead)
    assert (tmp_path / "data.jsonl").read_text() == ""


def test_where_the_server_goes_away_the_call_stops_and_says_how_to_go_on(clips, server, tmp_path):
    dead = write_profile(tmp_path / "dead.toml", "http://127.0.0.1:9/v1")
    text = dead.read_text()
    head, _, embedder = text.rpartition("[embedder]")
    dead.write_text(f"{head}[embedder]{embedder.replace('http://127.0.0.1:9/v1', server.url)}")
    with pytest.raises(ServerDownError, match="0 of 1 videos are done; run the same command again to resume"):
        annotate(clips[:1], tmp_path / "data.jsonl", profile=dead)


def test_a_request_that_the_server_refuses_skips_its_video_only(clips, profile, server, tmp_path):
    refused = []

    def answers(request):
        if request["model"] == "captioner" and (not refused or digest(request) in refused):
            refused.append(digest(request))
            return 400, {"error": {"message": "this picture is not allowed"}}
        return 200, answer(request)

    server.answers = answers
    summary = annotate(clips, tmp_path / "data.jsonl", profile=profile)
    assert (summary.videos, len(summary.skipped)) == (2, 1)
    assert "this picture is not allowed" in next(iter(summary.skipped.values()))
    server.answers = lambda request: (200, answer(request))
    assert annotate(clips, tmp_path / "data.jsonl", profile=profile).videos == 3  # tried again


def test_a_file_of_somebody_else_is_not_replaced(clips, profile, tmp_path):
    (tmp_path / "data.jsonl").write_text("mine")
    with pytest.raises(DataError, match="exists and was not written by `espresso annotate`"):
        annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    assert (tmp_path / "data.jsonl").read_text() == "mine"


def test_a_video_that_was_moved_is_named_by_its_new_path(clips, profile, server, tmp_path):
    annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)
    asked, moved = len(server.asked), tmp_path / "moved.mp4"
    moved.write_bytes(clips[0].read_bytes())
    annotate([moved], tmp_path / "data.jsonl", profile=profile)
    assert len(server.asked) == asked
    (question,) = records.read(tmp_path / "data.jsonl")
    assert question.visuals == (str(moved),)
    assert rows(tmp_path / "data.rejected.jsonl")[0]["visuals"] == ["moved.mp4"]


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"roles": ("captioner", "selector", "reasoner")}, ProfileError, r"has no \[writer\] to write questions"),
        ({"embedder": False}, ProfileError, r"has no \[embedder\] to compare captions"),
    ],
)
def test_a_profile_that_cannot_construct_is_refused(clips, server, tmp_path, change, error, sentence):
    profile = write_profile(tmp_path / "poor.toml", server.url, **change)
    with pytest.raises(error, match=sentence):
        annotate(clips[:1], tmp_path / "data.jsonl", profile=profile)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"questions": 0}, "--questions 1 or more"),
        ({"out": "data.json"}, "ends in .jsonl"),
        ({"workers": 2}, "need --engine ray"),
        ({"sampling": "often"}, "invalid sampling plan 'often'"),
    ],
)
def test_impossible_settings_are_one_sentence(clips, profile, tmp_path, settings, sentence):
    out = tmp_path / settings.pop("out", "data.jsonl")
    with pytest.raises(Exception, match=sentence):
        annotate(clips[:1], out, profile=profile, **settings)
