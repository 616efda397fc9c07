import json
from pathlib import Path

import pytest
from PIL import Image

from espresso import media
from espresso.datasets import DatasetFiles, get_dataset
from espresso.datasets.videoespresso import DATASET
from espresso.datasets.videoespresso.frame_names import FIELDS
from espresso.errors import DataError
from espresso.schema import Question, Task

TEST_ROW = {
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
TRAIN_ROW = {
    "keyframe_path": ["CUVA/7_image/5.jpg", "CUVA/7_image/20.jpg"],
    "question": "Why does it brake?",
    "answer": "Because a dog runs out.",
    "task": "Causal Inference",
    "video_path": "all_video/CUVA/7.mp4",
    "evidence": "A <obj_start>dog<obj_end><box_start>[[16, 12, 32, 24]]<box_end> runs before the <obj_start>car<obj_end>.",
}


def row(**changes):
    return TRAIN_ROW | changes


@pytest.fixture
def train_file(files):
    """Write a train file of some rows, next to one video."""

    def write(*rows):
        source = files(list(rows), "videoespresso_train_video.json", "all_video/CUVA/7.mp4")
        return DatasetFiles(source.data, source.folder)

    return write


# Evaluation


def test_a_row_of_a_test_file_is_a_question(files):
    source = files([TEST_ROW], "bench_hard.json", "all_video/cooking/pancake.mp4")
    (question,) = get_dataset("videoespresso").load("test", None, source).questions
    assert question.options == ("To clean it.", "To turn the pancake.", "To show it.", "To cool it.")
    assert question.answer == "To turn the pancake."
    assert question.task is Task.CAUSAL
    assert question.visuals == (str(source.videos / "all_video/cooking/pancake.mp4"),)


def test_a_row_of_a_train_file_is_an_open_question(train_file):
    (question,) = DATASET.load("train", None, train_file(TRAIN_ROW)).questions
    assert (question.options, question.answer, question.task) == (None, "Because a dog runs out.", Task.CAUSAL)
    assert question.truth.evidence == "A dog runs before the car."


def test_evidence_is_kept_without_marks_and_core_frames(files):
    marked = "The <obj_start>man<obj_end><box_start>[1,2,3,4]<box_end> lifts the pan."
    source = files([TEST_ROW | {"evidence": marked}], "bench.json", TEST_ROW["video_path"])
    (question,) = DATASET.load("test", None, source).questions
    assert question.truth.evidence == "The man lifts the pan."


def test_core_frames_are_spans_around_the_frames_of_the_video(files):
    names = [f"core_frames/{number}.jpg" for number in (20, 2, 0)]
    source = files([TEST_ROW | {"core_frames_paths": names}], "bench.json", TEST_ROW["video_path"])
    loaded = DATASET.load("test", None, source)
    (question,) = loaded.questions
    assert [(round(span.start, 3), round(span.end, 3)) for span in question.truth.spans] == [(0, 0), (0, 0.4), (1.5, 2.5)]
    times = media.open(question.visuals[0]).times
    middles = [(span.start + span.end) / 2 for span in question.truth.spans]
    assert [int(abs(times - middle).argmin()) for middle in middles] == [0, 2, 20]  # the frames that `oracle` shows
    assert loaded.notes == ("cooking: 3 frame names read as frame indices of the clip",)


def test_a_question_with_unknown_core_frames_is_asked_without_spans(files):
    known = TEST_ROW | {"question": "How?", "core_frames_paths": ["core_frames/3.jpg"]}
    loaded = DATASET.load("test", None, files([TEST_ROW, known], "bench.json", TEST_ROW["video_path"]))
    assert [len(question.truth.spans) for question in loaded.questions] == [0, 1]
    assert loaded.notes[0].endswith("rows with unresolved frame names: 1")
    assert loaded.notes[1].startswith("core frames are not known for 1 questions; the first: core_frames/480.jpg")


def test_the_free_answer_of_a_test_file_is_kept_as_reference_for_the_judge(files):
    row = TEST_ROW | {"answer": "He wants to turn it over."}
    (question,) = DATASET.load("test", None, files([row], "bench.json", TEST_ROW["video_path"])).questions
    assert question.answer == "To turn the pancake."
    assert question.truth.answer == "He wants to turn it over."
    assert question.without_truth().truth is None
    assert Question.model_validate_json(question.model_dump_json()) == question


def test_a_record_without_free_answer_is_written_as_before(train_file):
    (question,) = DATASET.load("train", None, train_file(TRAIN_ROW)).questions
    assert set(json.loads(question.model_dump_json())["truth"]) == {"spans", "facts", "evidence", "key_items"}


def test_videos_of_the_same_name_are_told_apart_by_their_folders(files):
    other = TEST_ROW | {"video_path": "all_video/travel/pancake.mp4"}
    source = files([TEST_ROW, other], "bench.json", TEST_ROW["video_path"], other["video_path"])
    loaded = DATASET.load("test", None, source)
    assert [Path(question.visuals[0]).parent.name for question in loaded.questions] == ["cooking", "travel"]


def test_bad_rows_are_reported_with_place_and_reason(files):
    rows = [
        TEST_ROW,
        {key: value for key, value in TEST_ROW.items() if key != "options"},
        TEST_ROW | {"question": "Why?", "correct_answer": "(E)"},
        TEST_ROW | {"question": "How?", "task": "Juggling"},
        TEST_ROW | {"question": "When?", "options": ["(A): now", "(B): now"]},
    ]
    loaded = DATASET.load("test", None, files(rows, "bench.json", TEST_ROW["video_path"]))
    assert len(loaded.questions) == 1
    starts = [
        "bench.json, row 2: no field 'options'",
        "bench.json, row 3: the field 'correct_answer' is '(E)', but the options are A, B, C, D",
        "bench.json, row 4: unknown task 'Juggling'",
        "bench.json, row 5: options must be two or more different texts",
    ]
    assert [str(bad)[: len(start)] for bad, start in zip(loaded.bad, starts, strict=True)] == starts


# Training


def test_core_frames_are_found_in_the_video(train_file, frame_number):
    (example,) = DATASET.examples(train_file(TRAIN_ROW)).examples
    assert (example.question, example.answer) == ("Why does it brake?", "Because a dog runs out.")
    assert [round(frame.time, 2) for frame in example.frames] == [0.5, 2.0]
    assert [frame_number(frame) for frame in example.frames] == [5, 20]


def test_image_files_are_used_if_they_exist(train_file):
    old = row(path=["a/3.png", "a/4.png"], keyframe_path=None, video_path=None, evidence="A dog.")
    source = train_file(old)
    (source.folder / "a").mkdir()
    for number in (3, 4):
        Image.new("RGB", (40, 20), (60 * number, 0, 0)).save(source.folder / "a" / f"{number}.png")
    (example,) = DATASET.examples(source, rate=2.0).examples
    assert [frame.time for frame in example.frames] == [1.5, 2.0]
    assert example.frames[0].pixels(40).shape == (20, 40, 3)


def test_a_rate_never_overrides_the_video(train_file):
    (example,) = DATASET.examples(train_file(TRAIN_ROW), rate=1.0).examples
    assert [round(frame.time, 2) for frame in example.frames] == [0.5, 2.0]


def test_a_number_past_the_end_of_the_clip_is_a_bad_row_at_any_rate(train_file):
    past = row(keyframe_path=["CUVA/7_image/30.jpg"], question="How?")
    loaded = DATASET.examples(train_file(TRAIN_ROW, past), rate=15.0)  # 30 / 15 is 2 s of 3
    assert len(loaded.examples) == 1
    assert "30.jpg: the number lies past the end of the clip, which has 30 frames" in loaded.bad[0].why


@pytest.mark.parametrize("field", FIELDS)
def test_every_name_of_the_field_of_core_frames_is_read(train_file, frame_number, field):
    changed = row(**{"keyframe_path": None, field: ["CUVA/7_image/20.jpg"]})
    (example,) = DATASET.examples(train_file(changed)).examples
    assert [frame_number(frame) for frame in example.frames] == [20]


def test_notes_say_for_each_source_what_was_assumed(train_file):
    absent = row(video_path="all_video/MovieChat/1.mp4", keyframe_path=["MovieChat/1.jpg"], question="Who?", evidence="A man.")
    past = row(keyframe_path=["30.jpg"], question="How?")
    source = train_file(TRAIN_ROW, past, absent)
    (source.folder / "MovieChat").mkdir()
    Image.new("RGB", (8, 8)).save(source.folder / "MovieChat/1.jpg")
    loaded = DATASET.examples(source, rate=2.0)
    assert loaded.notes == (
        "CUVA: 2 frame names read as frame indices of the clip; rows with unresolved frame names: 1",
        "MovieChat: 1 frame names read as positions at 2 frames per second, because the video is missing",
        "CUVA: 2 boxes read as x1, y1, x2, y2 in pixels",
    )


def test_boxes_are_converted_to_thousandths(train_file):
    loaded = DATASET.examples(train_file(TRAIN_ROW))
    assert loaded.examples[0].evidence == "A dog [250, 250, 500, 500] runs before the car."


def test_a_bad_box_is_dropped_and_its_row_is_kept(train_file):
    bad = row(evidence="A <obj_start>dog<obj_end><box_start>[9, 9, 9, 20]<box_end> barks.")
    loaded = DATASET.examples(train_file(TRAIN_ROW, bad))
    assert [example.evidence for example in loaded.examples] == [
        "A dog [250, 250, 500, 500] runs before the car.",
        "A dog barks.",
    ]
    assert loaded.notes[-1] == "CUVA: 2 boxes read as x1, y1, x2, y2 in pixels; dropped: 1"
    assert not loaded.bad


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answer": ""}, "the field 'answer' is empty"),
        ({"evidence": None}, "the field 'evidence' is empty"),
        ({"keyframe_path": []}, "no core frames"),
        ({"keyframe_path": ["CUVA/7_image/480.jpg"]}, "past the end of the clip, which has 30 frames"),
        ({"keyframe_path": ["x/x_0-00-01-000.jpg"]}, "the name of all_video/CUVA/7.mp4 has no start"),
        ({"keyframe_path": ["x/cover.jpg"]}, "neither a number nor a time"),
        ({"video_path": None}, "the number needs the video, which is missing; or set `rate`"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_a_bad_row(train_file, changes, why):
    loaded = DATASET.examples(train_file(TRAIN_ROW, row(**changes)))
    assert [example.id for example in loaded.examples] == ["videoespresso_train_video-0"]
    assert loaded.bad[0].where == "videoespresso_train_video.json, row 2"
    assert why in loaded.bad[0].why


def test_missing_frames_are_named(train_file):
    source = train_file(TRAIN_ROW, row(keyframe_path=["gone/1.jpg"], video_path="gone.mp4"))
    assert "gone/1.jpg is missing, and so is" in DATASET.examples(source, rate=1.0).bad[0].why


def test_evenly_spaced_frames_replace_core_frames(train_file, frame_number):
    loaded = DATASET.examples(train_file(row(keyframe_path=[])), uniform=3)
    assert [frame_number(frame) for frame in loaded.examples[0].frames] == [5, 15, 25]


def test_a_test_file_can_be_trained_on(files):
    source = files([TEST_ROW], "bench.json", TEST_ROW["video_path"])
    (example,) = DATASET.examples(source, uniform=4).examples
    assert (example.answer, example.evidence) == (TEST_ROW["answer"], TEST_ROW["evidence"])


def test_evidence_is_optional_if_not_needed(train_file):
    source = train_file(row(evidence=None))
    assert DATASET.examples(source, evidence=False).examples[0].evidence == ""
    with pytest.raises(DataError, match=r"no row to train on \(1 bad rows\).*the field 'evidence' is empty"):
        DATASET.examples(source)


def test_only_as_many_rows_as_needed_are_converted(train_file):
    loaded = DATASET.examples(train_file(TRAIN_ROW, row(answer=""), TRAIN_ROW), limit=1)
    assert len(loaded.examples) == 1
    assert not loaded.bad


@pytest.mark.parametrize("content", ["{", "7", "{}"])
def test_a_file_that_is_not_the_authors_is_named(files, content):
    with pytest.raises(DataError, match=r"x\.json: (cannot be read|no row to train on)"):
        DATASET.examples(files(content, "x.json"))
