"""Rows in the public formats, a few each, over real videos; and what is wrong with rows and folders."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from espresso.datasets import bench
from espresso.datasets.base import Source, lettered
from espresso.errors import DataError
from espresso.schema import Task
from eval.log.run_folder import samples_in
from eval.run import run

SHARED = Path(__file__).parents[4] / "shared" / "data"

VIDEOESPRESSO = {
    "core_frames_paths": ["core_frames/480.jpg"],
    "core_frames_captions": ["a man lifts a pan"],
    "question": "Why does the man lift the pan?",
    "answer": "To turn the pancake.",
    "key_items": [],
    "evidence": "The man lifts the pan at 12 seconds.",
    "task": "Causal Analysis",
    "correct_answer": "(B)",
    "video_path": "all_video/cooking/pancake.mp4",
    "options": ["(A): To clean it.", "(B): To turn the pancake.", "(C): To show it.", "(D): To cool it."],
}
NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
NEXTQA += "401,369,640,480,how do they play,2,6,CH,roll it,tap,strum the string,hit,pat\n"
EGOSCHEMA = {
    "q_uid": "0074f737-11cb",
    "question": "What is c about?",
    **{f"option {number}": f"C is doing {number}." for number in range(5)},
    "truth": 3,
}
MVBENCH = {"video": "166583.webm", "question": "What is moved?", "candidates": ["a cup", "a pen"], "answer": "a pen"}
VIDEOMME = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Humanity",
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "How many?",
    "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
    "answer": "C",
}
FORMATS = {
    "videoespresso": (json.dumps([VIDEOESPRESSO]), "bench_hard.json", "all_video/cooking/pancake.mp4", "To turn the pancake."),
    "nextqa": (NEXTQA, "val.csv", "1164/401.mp4", "strum the string"),
    "egoschema": (json.dumps({"0074f737-11cb": EGOSCHEMA}), "subset_anno.json", "0074f737-11cb.mp4", "C is doing 3."),
    "mvbench": (json.dumps([MVBENCH]), "moving.json", "ssv2/166583.webm", "a pen"),
    "videomme": (json.dumps(VIDEOMME) + "\n", "test.jsonl", "data/fFjv93ACGo8.mp4", "Three."),
}


@pytest.fixture
def files(tmp_path, questions):
    """Write a benchmark's files, its videos being one of the world's."""

    def write(text, name, *videos):
        for video in videos:
            (tmp_path / "videos" / video).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(questions[0].visuals[0], tmp_path / "videos" / video)
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return Source(tmp_path / name, tmp_path / "videos")

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_in_the_public_format_is_a_question_about_its_video(files, name):
    text, file, video, answer = FORMATS[name]
    source = files(text, file, video)
    loaded = bench(name).load("test", None, source)
    (question,) = loaded.questions
    assert question.answer == answer
    assert question.visuals == (str(source.videos / video),)
    assert not loaded.bad
    assert not loaded.missing


def test_the_leaderboards_names_are_the_papers_tasks(files):
    text, file, video, _ = FORMATS["videoespresso"]
    (question,) = bench("videoespresso").load("test", None, files(text, file, video)).questions
    assert question.task is Task.CAUSAL
    assert question.options[0] == "To clean it."


def test_the_evidence_that_comes_with_a_question_can_be_answered_from_and_is_no_core_frame(files, roles):
    marked = "The <obj_start>man<obj_end><box_start>[1,2,3,4]<box_end> lifts the pan."
    source = files(json.dumps([VIDEOESPRESSO | {"evidence": marked}]), "bench.json", VIDEOESPRESSO["video_path"])
    summary = run("videoespresso", given=True, roles=roles, source=source)
    (sample,) = samples_in(Path(summary.folder))
    assert sample.answer.evidence.text == "The man lifts the pan."
    assert summary.metrics["core_recall"] is None


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["(A): red", "(B): blue"], ["red", "blue"]),
        (["A. red", "B) blue"], ["red", "blue"]),
        (["A red hat", "B side"], ["A red hat", "B side"]),
        (["U.S. flag", "B. blue"], ["U.S. flag", "B. blue"]),
    ],
)
def test_letters_that_options_bring_are_taken_off_and_nothing_else(options, texts):
    assert lettered(options) == dict(zip("AB", texts, strict=True))


def test_videos_of_one_name_are_told_apart_by_their_folders(files):
    other = VIDEOESPRESSO | {"video_path": "all_video/travel/pancake.mp4"}
    videos = [row["video_path"] for row in (VIDEOESPRESSO, other)]
    source = files(json.dumps([VIDEOESPRESSO, other]), "bench.json", *videos)
    found = bench("videoespresso").load("test", None, source).questions
    assert [Path(question.visuals[0]).parent.name for question in found] == ["cooking", "travel"]


def test_what_cannot_be_read_is_told_with_its_place_and_reason(files):
    rows = [
        VIDEOESPRESSO,
        VIDEOESPRESSO,
        {key: value for key, value in VIDEOESPRESSO.items() if key != "options"},
        VIDEOESPRESSO | {"question": "Why?", "correct_answer": "(E)"},
        VIDEOESPRESSO | {"question": "How?", "task": "Juggling"},
        VIDEOESPRESSO | {"question": "When?", "options": ["(A): now", "(B): now"]},
    ]
    source = files(json.dumps(rows), "bench.json", VIDEOESPRESSO["video_path"])
    loaded = bench("videoespresso").load("test", None, source)
    assert len(loaded.questions) == 1
    said = [
        "bench.json, row 2: the same question as in bench.json, row 1",
        "bench.json, row 3: no field 'options'",
        "bench.json, row 4: correct_answer is '(E)'",
        "bench.json, row 5: no task is called 'Juggling'",
        "bench.json, row 6: options must be two or more different texts",
    ]
    assert [bad[: len(start)] for bad, start in zip(loaded.bad, said, strict=True)] == said


def test_videos_that_are_not_there_stop_a_run_before_it_begins_or_are_left_out(files, roles):
    rows = [VIDEOESPRESSO, VIDEOESPRESSO | {"video_path": "all_video/gone.mp4", "question": "Where is it?"}]
    source = files(json.dumps(rows), "bench.json", VIDEOESPRESSO["video_path"])
    asked = {"strategy": "blind", "roles": roles, "source": source}
    with pytest.raises(DataError, match=r"1 videos are not in the folder: all_video/gone\.mp4\. .*--allow-missing"):
        run("videoespresso", **asked)
    summary = run("videoespresso", **asked, allow_missing=True)
    assert summary.metrics["n"] == 1
    assert summary.missing == ("all_video/gone.mp4",)
    assert [task.task for task in summary.tasks] == [Task.CAUSAL]


def test_with_a_limit_no_video_of_a_later_question_is_missed(files):
    rows = [VIDEOESPRESSO, VIDEOESPRESSO | {"video_path": "all_video/gone.mp4", "question": "Where is it?"}]
    loaded = bench("videoespresso").load("test", 1, files(json.dumps(rows), "bench.json", VIDEOESPRESSO["video_path"]))
    assert len(loaded.questions) == 1
    assert not loaded.missing


def test_an_answer_that_is_no_option_is_a_bad_row(files):
    rows = [EGOSCHEMA, EGOSCHEMA | {"q_uid": "other", "truth": 7}]
    loaded = bench("egoschema").load("test", None, files(json.dumps(rows), "subset.json", "0074f737-11cb.mp4"))
    assert len(loaded.questions) == 1
    assert loaded.bad[0].startswith("subset.json, row 2: ")


def test_kinds_of_other_benchmarks_are_measured_too(files, roles):
    text, file, video, _ = FORMATS["nextqa"]
    summary = run("nextqa", strategy="blind", roles=roles, source=files(text, file, video))
    assert [(task.task, task.n) for task in summary.tasks] == [("CH", 1)]


@pytest.mark.parametrize(
    ("name", "text"), [("bench.json", "{"), ("bench.json", "7"), ("bench.json", "[]"), ("bench.csv", ""), ("bench.parquet", "x")]
)
def test_a_file_without_questions_is_named(files, name, text):
    with pytest.raises(DataError, match=rf"{name}: (cannot be read|no question in it)"):
        bench("videoespresso").load("test", None, files(text, name))


def test_files_are_asked_for_where_they_are_needed_and_refused_where_not(files):
    with pytest.raises(DataError, match="Give --data FILE and --videos FOLDER"):
        bench("nextqa").load("test", None, None)
    with pytest.raises(DataError, match="Leave --data and --videos out"):
        bench("world").load("test", 1, files("", "x.csv"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real annotation files are not beside the project")
@pytest.mark.parametrize(
    ("name", "file", "count"), [("nextqa", "nextqa/val.csv", 4996), ("egoschema", "egoschema/subset_anno.json", 500)]
)
def test_the_authors_files_are_read_whole(files, name, file, count):
    text = (SHARED / file).read_text()
    if name == "nextqa":
        videos = {f"{row['video']}.mp4" for row in csv.DictReader(text.splitlines())}
    else:
        videos = {f"{uid}.mp4" for uid in json.loads(text)}
    source = files(text, Path(file).name)
    for video in videos:
        (source.videos / video).touch()
    loaded = bench(name).load("test", None, source)
    assert len(loaded.questions) + len(loaded.bad) == count
    assert len(loaded.questions) > 0.99 * count
