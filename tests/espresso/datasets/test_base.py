import shutil
from pathlib import Path

import pytest

from espresso.datasets import NAMES, DatasetFiles, FileDataset, get_dataset
from espresso.errors import DataError
from espresso.schema import Question, Span, Truth

DATASET = FileDataset("pairs", lambda row: Question(**row))
ROW = {"id": "1", "visuals": ["a.mp4"], "text": "Why?", "options": ["x", "y"], "answer": "x"}


def question(**changes):
    return {key: value for key, value in (ROW | changes).items() if value is not None}


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_is_found_by_its_name(name):
    dataset = get_dataset(name)
    assert dataset.name == name
    assert "test" in dataset.splits
    assert dataset.needs_files == (name not in ("world", "raiv", "raiv-reasons", "smart101"))


def test_an_unknown_dataset_is_refused_with_a_suggestion():
    with pytest.raises(DataError, match=r"unknown dataset 'wrold'.*Did you mean world\?"):
        get_dataset("wrold")


def test_a_question_may_have_several_visuals(files):
    source = files([question(visuals=["a.mp4", "b/c.mp4"])], "pairs.json", "a.mp4", "b/c.mp4")
    (loaded,) = DATASET.load("test", None, source).questions
    assert loaded.visuals == tuple(str(source.videos / name) for name in ("a.mp4", "b/c.mp4"))


def test_each_missing_visual_is_reported_and_its_question_left_out(files):
    rows = [question(), question(id="2", visuals=["a.mp4", "gone.mp4", "lost.mp4"]), question(id="3", visuals=["gone.mp4"])]
    loaded = DATASET.load("test", None, files(rows, "pairs.json", "a.mp4"))
    assert [each.id for each in loaded.questions] == ["1"]
    assert loaded.missing == ("gone.mp4", "lost.mp4")


def test_bad_rows_are_reported_with_place_and_reason(files):
    rows = [question(), question(), question(id="2", options=["x", "x"]), question(id="3", text=None), 7]
    loaded = DATASET.load("test", None, files(rows, "pairs.json", "a.mp4"))
    assert [str(bad) for bad in loaded.bad] == [
        "pairs.json, row 2: the same question as in pairs.json, row 1",
        "pairs.json, row 3: options must be two or more different texts, or absent for an open question",
        "pairs.json, row 4: text: field required",
        "pairs.json, row 5: not an object",
    ]
    assert len(loaded.questions) == 1


def test_a_limit_ignores_everything_after_the_last_question(files):
    rows = [question(), question(id="2", visuals=["gone.mp4"]), 7]
    loaded = DATASET.load("test", 1, files(rows, "pairs.json", "a.mp4"))
    assert len(loaded.questions) == 1
    assert not loaded.missing
    assert not loaded.bad


@pytest.mark.parametrize(
    ("name", "text"), [("x.json", "{"), ("x.json", "7"), ("x.json", "[]"), ("x.csv", ""), ("x.jsonl", ""), ("x.parquet", "x")]
)
def test_a_file_without_questions_is_named(files, name, text):
    with pytest.raises(DataError, match=rf"{name}: (cannot be read|no question in it)"):
        DATASET.load("test", None, files(text, name))


def test_a_folder_that_does_not_exist_is_named(files):
    source = files([question()], "pairs.json")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        DATASET.load("test", None, DatasetFiles(source.data, Path("nowhere")))


def test_files_are_required():
    with pytest.raises(DataError, match=r"pairs is read from your files. Give --data FILE and --videos FOLDER"):
        DATASET.load("test", None, None)


def test_videos_are_searched_in_the_folder_of_the_data_file_by_default(files, tmp_path, video):
    data = files([question()], "pairs.json").data
    shutil.copy(video, tmp_path / "a.mp4")
    (loaded,) = DATASET.load("test", None, DatasetFiles(data)).questions
    assert loaded.visuals == (str(tmp_path / "a.mp4"),)


def test_examples_have_evenly_spaced_frames_if_asked(files, frame_number):
    loaded = DATASET.examples(files([question()], "pairs.json", "a.mp4"), uniform=3, evidence=False)
    (example,) = loaded.examples
    assert (example.question, example.answer, example.evidence, example.options) == ("Why?", "x", "", ("x", "y"))
    assert [frame_number(frame) for frame in example.frames] == [5, 15, 25]


def test_several_visuals_share_evenly_spaced_frames(files, frame_number):
    source = files([question(visuals=["a.mp4", "b.mp4"])], "pairs.json", "a.mp4", "b.mp4")
    (example,) = DATASET.examples(source, uniform=3, evidence=False).examples
    assert [(Path(frame.source).name, frame_number(frame)) for frame in example.frames] == [
        ("a.mp4", 7),
        ("a.mp4", 22),
        ("b.mp4", 15),
    ]


def test_core_frames_are_the_middles_of_true_spans(files, frame_number):
    spans = (Span(start=0.4, end=0.6), Span(start=1.9, end=2.1, visual=1))
    truth = Truth(spans=spans, facts=("a", "b"), evidence="A dog runs.").model_dump()
    source = files([question(visuals=["a.mp4", "b.mp4"], truth=truth)], "pairs.json", "a.mp4", "b.mp4")
    (example,) = DATASET.examples(source).examples
    assert [(Path(frame.source).name, frame_number(frame)) for frame in example.frames] == [("a.mp4", 5), ("b.mp4", 20)]
    assert example.evidence == "A dog runs."


def test_rows_that_cannot_be_trained_on_are_bad_rows(files):
    def truth(**changes):
        values = {"spans": ({"start": 0.4, "end": 0.6},), "facts": ("a",), "evidence": "A dog."} | changes
        return Truth(**values).model_dump()

    rows = [
        question(truth=truth()),
        question(id="2"),
        question(id="3", truth=truth(), answer=None),
        question(id="4", truth=truth(spans=())),
        question(id="5", truth=truth(), visuals=["gone.mp4"]),
        question(id="6", truth=truth(spans=({"start": 0, "end": 1, "visual": 1},))),
    ]
    loaded = DATASET.examples(files(rows, "pairs.json", "a.mp4"))
    assert [example.id for example in loaded.examples] == ["1"]
    assert [bad.where for bad in loaded.bad] == [f"pairs.json, row {number}" for number in range(2, 7)]
    reasons = ["no evidence", "no answer", "no core frames; set `uniform`", "gone.mp4 is not in", "a core frame is in a visual"]
    assert [bad.why[: len(start)] for bad, start in zip(loaded.bad, reasons, strict=True)] == reasons


def test_a_file_without_examples_is_an_error_with_the_first_reason(files):
    with pytest.raises(DataError, match=r"no row to train on \(1 bad rows\)\. The first: pairs\.json, row 1: no evidence"):
        DATASET.examples(files([question()], "pairs.json", "a.mp4"))


# What people's copies of every format have

OPTIONS = {f"option {number}": f"C does {number}." for number in range(5)}
NEXTQA = {
    "video": "a",
    "question": "Why?",
    "answer": 1,
    "qid": 6,
    "type": "CH",
    **{f"a{number}": f"x{number}" for number in range(5)},
}
VIDEOMME = {"question_id": "001-1", "videoID": "a", "task_type": "Counting", "question": "Why?", "options": ["A. x", "B. y"]}
VIDEOESPRESSO = {"video_path": "a.mp4", "question": "Why?", "task": "Causal Inference", "options": ["(A): x", "(B): y"]}
FORMATS = {
    "records": ROW,
    "nextqa": NEXTQA,
    "egoschema": {"q_uid": "a", "question": "Why?", **OPTIONS, "truth": 1},
    "egoschema of the hub": {"question_idx": 1, "video_idx": "a", "question": "Why?", "option": ["A. x", "B. y"], "answer": "1"},
    "mvbench": {"video": "a.mp4", "question": "Why?", "candidates": ["x", "y"], "answer": "y"},
    "videomme": VIDEOMME | {"answer": "B"},
    "videoespresso": VIDEOESPRESSO | {"correct_answer": "(B)"},
    "videoespresso for training": VIDEOESPRESSO | {"options": None, "answer": "It falls."},
}
FIELDS = [(name, field) for name, row in FORMATS.items() for field, value in row.items() if value is not None]


def loaded_of(name, rows, files):
    return get_dataset(name.partition(" ")[0]).load("test", None, files(rows, "rows.json", "a.mp4"))


@pytest.mark.parametrize("value", [None, float("nan"), "", " ", "nan", [], ["x", None], ["x", ""], "gone"])
@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_in_every_format_a_missing_value_is_a_bad_row_that_names_its_field(files, name, field, value):
    good = FORMATS[name]
    row = {key: each for key, each in good.items() if key != field} | ({} if value == "gone" else {field: value})
    optional = name == "records" and field in ("options", "answer") and value in (None, "gone")
    others = {"question": "How?", "text": "How?", "id": "2", "qid": 7, "q_uid": "a2", "question_idx": 2, "question_id": "001-2"}
    other = good | {key: each for key, each in others.items() if key in good}
    loaded = loaded_of(name, [row, other], lambda *given: files(*given, "a2.mp4"))
    assert len(loaded.questions) == 1 + optional
    for bad in loaded.bad:
        assert bad.where == "rows.json, row 1"
        assert field in bad.why or (field == "truth" and "no answer" in bad.why)
    for question in loaded.questions:
        texts = (question.id, question.text, question.answer, *(question.options or ()), *question.visuals)
        assert not {"none", "nan", "null", ""} & {str(text).strip().lower() for text in texts if text is not None}


@pytest.mark.parametrize(("name", "changed"), [
    ("records", "text"), ("nextqa", "question"), ("egoschema", "question"), ("mvbench", "candidates"), ("videomme", "question"),
    ("videoespresso", "options"), ("egoschema of the hub", "option"),
])  # fmt: skip
def test_in_every_format_a_repeated_id_with_another_text_is_reported(files, name, changed):
    row = FORMATS[name]
    other = row | {changed: "How?" if isinstance(row[changed], str) else [*row[changed], "another"]}
    loaded = loaded_of(name, [row, row, other], files)
    assert len(loaded.questions) == 1
    assert loaded.bad[0].why == "the same question as in rows.json, row 1"
    assert "is that of another question in rows.json, row 1" in loaded.bad[1].why


@pytest.mark.parametrize("number", [7, 7.0])
@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("records", "id", "7"),
        ("nextqa", "qid", "a-7"),
        ("nextqa", "video", "7-6"),
        ("videomme", "question_id", "7"),
        ("egoschema", "q_uid", "7"),
        ("egoschema of the hub", "question_idx", "7"),
    ],
)
def test_ids_may_be_numbers(files, name, field, expected, number):
    loaded = loaded_of(name, [FORMATS[name] | {field: number}], lambda *given: files(*given, "7.mp4"))
    assert [question.id for question in loaded.questions] == [expected]


def test_a_video_that_is_several_files_is_not_just_missing(files):
    loaded = loaded_of("nextqa", [NEXTQA], lambda *given: files(*given[:2], "x/a.mp4", "y/a.mp4"))
    assert not loaded.questions
    assert loaded.missing == ("a (2 files have this name: x/a.mp4, y/a.mp4; keep one)",)
    with pytest.raises(DataError, match=r"row 1: a \(2 files have this name"):
        get_dataset("nextqa").examples(files([NEXTQA], "rows.json", "x/a.mp4", "y/a.mp4"), uniform=2, evidence=False)
