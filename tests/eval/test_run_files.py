"""Runs over datasets in files: missing videos, given evidence, and our own records."""

import json
import shutil
from pathlib import Path

import pytest

from espresso import world
from espresso.datasets import DatasetFiles
from espresso.errors import DataError
from espresso.schema import Task
from eval.report import html
from eval.report.table import compare
from eval.run import run
from eval.run_folder import read_samples

ROW = {
    "question": "Why does the man lift the pan?",
    "evidence": "The <obj_start>man<obj_end><box_start>[1,2,3,4]<box_end> lifts the pan.",
    "task": "Causal Analysis",
    "correct_answer": "(B)",
    "video_path": "all_video/pancake.mp4",
    "options": ["(A): To clean it.", "(B): To turn the pancake."],
}


@pytest.fixture
def files(tmp_path, questions):
    """Write a file of VideoEspresso, next to one video."""

    def write(*rows):
        (tmp_path / "all_video").mkdir()
        shutil.copy(questions[0].visuals[0], tmp_path / "all_video" / "pancake.mp4")
        (tmp_path / "bench.json").write_text(json.dumps(rows))
        return DatasetFiles(tmp_path / "bench.json")

    return write


def test_evidence_of_the_dataset_can_be_given_and_core_frames_are_unknown(files, session):
    summary = run("videoespresso", given_evidence=True, session=session, files=files(ROW))
    (line,) = (Path(summary.folder) / "samples.jsonl").read_text().splitlines()
    assert json.loads(line)["answer"]["evidence"]["text"] == "The man lifts the pan."
    assert summary.metrics.core_recall is None


def test_missing_videos_are_an_error_unless_allowed(files, session):
    source = files(ROW, ROW | {"video_path": "all_video/gone.mp4", "question": "Where is it?"})
    with pytest.raises(DataError, match=r"1 visuals were not found: all_video/gone\.mp4\. .*--allow-missing"):
        run("videoespresso", strategy="blind", session=session, files=source)
    summary = run("videoespresso", strategy="blind", session=session, files=source, allow_missing=True)
    assert summary.metrics.n == 1
    assert summary.missing == ("all_video/gone.mp4",)
    assert [task.task for task in summary.tasks] == [Task.CAUSAL]


def test_bad_rows_are_in_the_summary(files, session):
    summary = run("videoespresso", strategy="blind", session=session, files=files(ROW, ROW))
    assert summary.bad == ("bench.json, row 2: the same question as in bench.json, row 1",)


def test_question_types_of_other_datasets_are_measured_too(files, session):
    folder = files(ROW).folder
    (folder / "val.csv").write_text("video,question,answer,qid,type,a0,a1,a2,a3,a4\npancake,why?,2,6,CH,a,b,c,d,e\n")
    summary = run("nextqa", strategy="blind", session=session, files=DatasetFiles(folder / "val.csv"))
    assert [(task.task, task.n) for task in summary.tasks] == [("CH", 1)]


def test_records_that_the_project_writes_are_run(session, tmp_path):
    world.make("test", 2, tmp_path / "world", size=64, workers=1)
    summary = run("records", strategy="uniform", session=session, files=DatasetFiles(tmp_path / "world" / "questions.jsonl"))
    assert summary.metrics.n == 2
    assert summary.metrics.core_recall is not None


def test_duplicated_lines_count_once_in_every_command(session, tmp_path):
    summary = run("world", limit=3, strategy="blind", session=session, out=tmp_path / "run")
    file = tmp_path / "run" / "samples.jsonl"
    lines = file.read_bytes()
    file.write_bytes(lines + lines)
    assert len(read_samples(tmp_path / "run")) == 3
    assert [(column.metrics, column.asked) for column in compare([tmp_path / "run"])] == [(summary.metrics, 3)]
    html.write(tmp_path / "page.html", [tmp_path / "run"])
    file.write_bytes(lines + lines)
    assert run("world", limit=3, strategy="blind", session=session, out=tmp_path / "run").metrics == summary.metrics
    assert file.read_bytes() == lines


def test_an_answer_to_another_question_in_the_log_is_named(session, tmp_path):
    run("world", limit=2, strategy="blind", session=session, out=tmp_path / "run")
    file = tmp_path / "run" / "samples.jsonl"
    line = json.loads(file.read_text().splitlines()[0])
    with file.open("a") as lines:
        lines.write(json.dumps(line | {"id": "other"}) + "\n")
    with pytest.raises(DataError, match=r"samples\.jsonl: holds an answer to 'other', which is not a question of this run"):
        run("world", limit=2, strategy="blind", session=session, out=tmp_path / "run")


def test_a_video_that_is_several_files_stops_the_run_with_their_names(files, session):
    source = files(ROW, ROW | {"video_path": "twice.mp4", "question": "Where?"})
    for name in ("one", "two"):
        (source.folder / name).mkdir()
        (source.folder / name / "twice.mp4").touch()
    with pytest.raises(
        DataError, match=r"not found: twice\.mp4 \(2 files have this name: one/twice\.mp4, two/twice\.mp4; keep one\)"
    ):
        run("videoespresso", strategy="blind", session=session, files=source)
