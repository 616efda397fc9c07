import json
from pathlib import Path

import pytest

from espresso.datasets import get_dataset
from espresso.errors import DataError

REAL = Path(__file__).parents[4] / "shared" / "data" / "egoschema" / "subset_anno.json"
ROW = {
    "q_uid": "0074f737-11cb",
    "question": "What is c about?",
    **{f"option {number}": f"C is doing {number}." for number in range(5)},
    "truth": 3,
}


@pytest.mark.parametrize("row", [ROW, {key: value for key, value in ROW.items() if key != "truth"} | {"answer": 3}])
def test_a_row_is_a_question(files, row):
    source = files({row["q_uid"]: row}, "subset_anno.json", "0074f737-11cb.mp4")
    (question,) = get_dataset("egoschema").load("test", None, source).questions
    assert (question.id, question.answer, len(question.options)) == ("0074f737-11cb", "C is doing 3.", 5)
    assert question.visuals == (str(source.videos / "0074f737-11cb.mp4"),)


def test_an_answer_that_is_not_an_option_is_a_bad_row(files):
    rows = [ROW, ROW | {"q_uid": "other", "truth": 7}]
    loaded = get_dataset("egoschema").load("test", None, files(rows, "subset.json", "0074f737-11cb.mp4"))
    assert len(loaded.questions) == 1
    assert str(loaded.bad[0]) == "subset.json, row 2: the field 'truth' is 7, but the options are 0 to 4"


@pytest.mark.skipif(not REAL.is_file(), reason="the authors' file is not next to the project")
def test_the_authors_file_is_read_completely(files):
    text = REAL.read_text()
    source = files(text, "subset_anno.json")
    for uid in json.loads(text):
        (source.videos / f"{uid}.mp4").touch()
    loaded = get_dataset("egoschema").load("test", None, source)
    assert len(loaded.questions) + len(loaded.bad) == 500
    assert len(loaded.questions) > 0.99 * 500
    assert not loaded.missing


QUESTIONS = [{key: value for key, value in ROW.items() if key != "truth"} | {"q_uid": uid} for uid in ("one", "two", "three")]


@pytest.mark.parametrize("answers", [{"one": 3, "two": 0}, {"one": "3", "two": 0.0}])
def test_the_authors_publish_questions_and_answers_in_two_files(files, answers):
    files(answers, "subset_answers.json")
    source = files(QUESTIONS, "questions.json", "one.mp4", "two.mp4")
    loaded = get_dataset("egoschema").load("test", None, source)
    assert [(question.id, question.answer) for question in loaded.questions] == [
        ("one", "C is doing 3."),
        ("two", "C is doing 0."),
    ]
    assert [bad.where for bad in loaded.bad] == ["questions.json, row 3"]
    assert "subset_answers.json in its folder does not have its q_uid" in loaded.bad[0].why
    assert not loaded.missing


def test_questions_without_the_file_of_answers_say_which_file_is_needed(files):
    with pytest.raises(DataError, match=r"no question in it \(3 bad rows\).*row 1: no answer: .*subset_answers\.json"):
        get_dataset("egoschema").load("test", None, files(QUESTIONS, "questions.json"))


def test_the_file_of_answers_is_not_taken_for_questions(files):
    with pytest.raises(DataError, match=r"subset_answers\.json: holds answers and no questions\. Give questions\.json"):
        get_dataset("egoschema").load("test", None, files({"one": 3}, "subset_answers.json"))


def test_a_broken_file_of_answers_is_named(files):
    files('{"one": 3', "subset_answers.json")
    with pytest.raises(DataError, match=r"subset_answers\.json: cannot be read \(not JSON"):
        get_dataset("egoschema").load("test", None, files(QUESTIONS, "questions.json"))


def test_the_copy_on_the_hub_is_read(files):
    row = {"question_idx": 1, "video_idx": "one", "question": "What?", "option": ["A. C runs.", "B. C sings."], "answer": "1"}
    (question,) = get_dataset("egoschema").load("test", None, files([row], "test.json", "one.mp4")).questions
    assert (question.id, question.options, question.answer) == ("1", ("C runs.", "C sings."), "C sings.")
