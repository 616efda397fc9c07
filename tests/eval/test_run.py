"""A whole run over real clips, the models doubled."""

import json
import random
from pathlib import Path

import pytest

from espresso.datasets import DatasetFiles, records
from espresso.errors import DataError, EspressoError, ModelError
from eval.protocols import option_order
from eval.report import html
from eval.run import run
from eval.run_folder import read_samples

LIMIT = 6


def rows(summary):
    return [json.loads(line) for line in (Path(summary.folder) / "samples.jsonl").read_text().splitlines()]


def spoken(messages):
    return "\n".join(part for message in messages for part in message.content if isinstance(part, str))


def test_a_model_that_knows_the_answers_is_right_in_whatever_order_they_are_shown(session):
    summary = run("world", limit=LIMIT, strategy="blind", session=session)
    assert summary.metrics.accuracy == 1
    assert len({tuple(row["order"]) for row in rows(summary)}) > 1
    assert sum(task.n for task in summary.tasks) == LIMIT


def test_a_model_that_always_says_a_is_right_by_chance_alone(session, roles, questions):
    roles.reasoner.knows = {}
    summary = run("world", limit=LIMIT, strategy="blind", session=session)
    first = [question.options[option_order(question, 0)[0]] == question.answer for question in questions]
    assert summary.metrics.accuracy == pytest.approx(sum(first) / LIMIT)


def test_the_same_seed_gives_the_same_prompts_and_another_does_not(session, roles):
    asked = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        roles.reasoner.asked.clear()
        roles.reasoner.offered.clear()
        run("world", limit=LIMIT, strategy="blind", session=session, seed=seed, out=Path(name))
        asked[name] = sorted(zip(map(spoken, roles.reasoner.asked), roles.reasoner.offered, strict=True))
    assert asked["a"] == asked["b"] != asked["c"]


def test_uniform_looks_at_sixteen_frames(session):
    summary = run("world", limit=2, strategy="uniform", session=session)
    assert summary.metrics.frames == 16
    assert summary.metrics.visual_tokens == 16 * 16


def test_so_many_frames_are_taken_evenly_or_at_random_the_same_ones_each_time(session):
    assert run("world", limit=2, strategy="uniform", frames=4, session=session).metrics.frames == 4
    times = [
        [[core["frame"]["time"] for core in row["answer"]["core_frames"]] for row in rows(run_at_random(session, name, seed))]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert times[0] == times[1] != times[2]
    assert all(len(frames) == 5 and frames == sorted(frames) for frames in times[0])


def run_at_random(session, name, seed):
    return run("world", limit=2, strategy="random", frames=5, session=session, seed=seed, out=Path(name))


def test_written_answers_are_scored_strictly_and_by_the_authors_rule(session, roles):
    roles.reasoner.says = "Answer: B"
    summary = run("world", limit=LIMIT, strategy="blind", protocol="written", session=session)
    assert summary.folder.endswith("blind-6-written")
    for row in rows(summary):
        shown = [row["question"]["options"][place] for place in row["order"]]
        assert row["scores"]["chosen"] == shown[1]
        assert row["scores"]["official"] == (row["question"]["answer"] == shown[0])
    assert summary.metrics.official_accuracy is not None


def test_only_the_answer_node_sees_the_options_of_a_written_choice(session, roles, questions):
    roles.reasoner.says = "B"
    (row, *_) = rows(run("world", limit=2, strategy="selector", protocol="written", session=session))
    options = row["question"]["options"]
    *evidence, answer = [spoken(messages) for messages in roles.reasoner.asked if row["question"]["text"] in spoken(messages)]
    assert all(f"({letter}) " in answer for letter in "ABCD")
    assert not any(option in prompt for option in options for prompt in [*evidence, *map(spoken, roles.selector.asked)])
    assert not any("letter" in prompt for prompt in map(spoken, roles.selector.asked))
    assert not roles.reasoner.offered


def test_a_written_answer_that_never_came_is_wrong_by_both_rules(session, roles, questions):
    roles.reasoner.says = "B"
    clip = Path(questions[-1].visuals[0])
    aside = clip.rename(clip.with_suffix(".aside"))
    try:
        summary = run("world", limit=LIMIT, strategy="blind", protocol="written", session=session)
    finally:
        aside.rename(clip)
    said = [row["scores"]["official"] for row in rows(summary)]
    assert None in said
    assert summary.metrics.official_accuracy == sum(map(bool, said)) / LIMIT


def test_an_open_answer_is_matched_with_options_that_no_model_was_shown(session, roles, questions):
    roles.reasoner.says = questions[0].answer
    (row, *_) = rows(run("world", limit=2, strategy="blind", protocol="open", session=session))
    assert (row["scores"]["correct"], row["answer"]["question"]["options"]) == (True, None)
    assert not roles.reasoner.offered
    assert not any(option in spoken(messages) for option in questions[0].options for messages in roles.reasoner.asked[:1])


def test_given_evidence_is_answered_from(session, roles, questions):
    run("world", limit=2, strategy="uniform", given_evidence=True, session=session)
    assert all(
        question.truth.evidence in spoken(said) for question, said in zip(questions[:2], roles.reasoner.asked, strict=True)
    )


def test_blind_looks_at_none(session):
    summary = run("world", limit=2, strategy="blind", session=session)
    assert summary.metrics.frames == summary.metrics.visual_tokens == summary.metrics.core_recall == 0
    assert summary.metrics.core_precision is None


def test_the_oracle_finds_every_core_frame_and_says_that_it_was_one(session):
    summary = run("world", limit=LIMIT, strategy="oracle", session=session)
    assert summary.metrics.core_precision == summary.metrics.core_recall == summary.metrics.hit_at_2 == 1
    assert {row["answer"]["strategy"] for row in rows(summary)} == {"oracle"}


def test_true_captions_replace_the_captioner_and_nothing_else(session, roles):
    summary = run("world", limit=LIMIT, strategy="oracle-captions", session=session)
    assert not roles.captioner.asked
    assert roles.selector.asked
    assert summary.metrics.caption_precision == 1
    assert (
        run("world", limit=LIMIT, session=session, out=Path("own")).metrics.caption_precision < 0.5
    )  # the double says one thing
    for row in rows(summary):
        acts = json.loads(Path(row["question"]["visuals"][0]).with_suffix(".json").read_text())["acts"]
        for caption in row["answer"]["captions"]:
            during = [act["fact"] for act in acts if act["start"] <= caption["frame"]["time"] <= act["end"]]
            assert caption["text"] == (during or ["nothing happens"])[0]


def test_true_evidence_is_answered_from_and_asked_of_no_model(session, roles, questions):
    summary = run("world", limit=LIMIT, strategy="oracle-evidence", session=session)
    assert summary.metrics.evidence_precision == summary.metrics.core_recall == 1
    assert len(roles.reasoner.asked) == len(roles.reasoner.offered) == LIMIT
    told = {question.id: question.truth.evidence for question in questions}
    assert {row["id"]: row["answer"]["evidence"]["text"] for row in rows(summary)} == told


def test_the_selectors_frames_are_scored_and_a_clip_is_captioned_once(session, roles, questions):
    summary = run("world", limit=LIMIT, strategy="selector", session=session)
    frames = {tuple(row["question"]["visuals"]): len(row["answer"]["frames"]) for row in rows(summary)}
    assert len(roles.captioner.asked) == sum(frames.values())
    assert len(frames) < LIMIT
    assert 0 <= summary.metrics.core_precision <= 1
    assert summary.metrics.evidence_precision == 0


def test_no_prompt_holds_the_truth(session, roles, questions):
    run("world", limit=LIMIT, strategy="selector", session=session)
    prompts = [spoken(messages) for role in (roles.captioner, roles.selector, roles.reasoner) for messages in role.asked]
    for question in questions:
        assert not any(question.truth.evidence in prompt for prompt in prompts)


def test_cut_off_at_any_byte_the_same_command_ends_with_the_same_numbers(session):
    whole = run("world", limit=LIMIT, strategy="blind", session=session)
    file = Path(whole.folder) / "samples.jsonl"
    content = file.read_bytes()
    for size in random.Random(0).sample(range(len(content)), 12):
        file.write_bytes(content[:size])
        again = run("world", limit=LIMIT, strategy="blind", session=session)
        assert sorted(row["id"] for row in rows(again)) == sorted(json.loads(line)["id"] for line in content.splitlines())
        assert again.metrics.model_copy(update={"seconds": 0}) == whole.metrics.model_copy(update={"seconds": 0})


def test_a_finished_run_asks_nothing(session, roles):
    run("world", limit=2, strategy="blind", session=session)
    roles.reasoner.asked.clear()
    run("world", limit=2, strategy="blind", session=session)
    assert roles.reasoner.asked == []


def test_a_clip_that_is_gone_is_an_error_that_counts_and_is_asked_again(session, questions, tmp_path):
    clip, aside = Path(questions[-1].visuals[0]), tmp_path / "aside.mp4"
    clip.rename(aside)
    gone = sum(question.visuals == questions[-1].visuals for question in questions)
    try:
        summary = run("world", limit=LIMIT, strategy="blind", session=session)
    finally:
        aside.rename(clip)
    assert (summary.metrics.n, summary.metrics.errors) == (LIMIT, gone)
    assert summary.metrics.accuracy == pytest.approx(1 - gone / LIMIT)
    assert [row["error"] for row in rows(summary) if row["error"]] == [f"{clip}: no such file. Check the path."] * gone
    summary = run("world", limit=LIMIT, strategy="blind", session=session)
    assert (summary.metrics.accuracy, summary.metrics.errors, len(rows(summary))) == (1, 0, LIMIT)


def test_where_nothing_can_be_answered_the_run_stops_with_the_reason(session, roles):
    async def down(messages, **wishes):
        raise ModelError("the server is down")

    roles.reasoner.chat = down
    with pytest.raises(EspressoError, match="questions so far failed; the last error: the server is down"):
        run("world", limit=LIMIT, strategy="blind", session=session)


def test_a_run_about_other_parts_of_the_videos_is_another_run(session, questions, tmp_path):
    for end in (1, 2):
        parts = [question.model_copy(update={"visuals": (f"{question.visuals[0]}#t=0,{end}",)}) for question in questions]
        records.write(tmp_path / f"{end}.jsonl", parts)
    wish = {"strategy": "uniform", "frames": 4, "session": session, "out": tmp_path / "run"}
    summary = run("records", files=DatasetFiles(tmp_path / "1.jsonl"), **wish)
    assert summary.metrics.errors == 0
    assert all(frame.time < 1 for sample in read_samples(tmp_path / "run") for frame in sample.answer.frames)
    html.write(tmp_path / "page.html", [tmp_path / "run"])
    assert "moved or changed" not in (tmp_path / "page.html").read_text()
    with pytest.raises(DataError, match="questions"):
        run("records", files=DatasetFiles(tmp_path / "2.jsonl"), **wish)


def test_progress_tells_live_accuracy(session):
    told = []
    run("world", limit=2, strategy="blind", session=session, on_progress=told.append)
    assert [(progress.done, progress.right) for progress in told if progress.doing == "answering"] == [(0, 0), (1, 1), (2, 2)]


def test_the_folder_is_named_by_what_was_run_and_says_with_what(session):
    summary = run("world", limit=2, strategy="blind", session=session)
    assert summary.folder == "runs/world-test-tiny-blind-2"
    record = json.loads(Path(summary.folder, "run.json").read_text())
    assert set(record["configuration"]["prompts"]) == {"caption", "select", "evidence", "answer"}
    assert record["environments"][0]["torch"]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"split": "exam"}, "world has no split 'exam'"),
        ({"strategy": "given"}, "unknown strategy 'given'"),
        ({"limit": 0}, "too small"),
        ({"strategy": "oracle", "frames": 4}, "the strategy oracle takes no number of frames"),
        ({"protocol": "guess"}, "unknown protocol 'guess'"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(session, wish, sentence):
    with pytest.raises(DataError, match=sentence):
        run("world", session=session, **wish)
