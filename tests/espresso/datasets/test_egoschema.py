import json
from pathlib import Path

import pytest

from espresso.datasets import get_dataset

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
    assert str(loaded.bad[0]) == "subset.json, row 2: the answer is 7, but the options are 0 to 4"


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
