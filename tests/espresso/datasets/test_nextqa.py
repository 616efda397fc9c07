import csv
from pathlib import Path

import pytest

from espresso.datasets import get_dataset

REAL = Path(__file__).parents[4] / "shared" / "data" / "nextqa" / "val.csv"
FILE = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
FILE += "401,369,640,480,how do they play,2,6,CH,roll it,tap,strum the string,hit,pat\n"


def test_a_row_is_a_question(files):
    source = files(FILE, "val.csv", "1164/401.mp4")
    (question,) = get_dataset("nextqa").load("test", None, source).questions
    assert (question.id, question.text, question.answer, question.task) == ("401-6", "how do they play", "strum the string", "CH")
    assert question.options == ("roll it", "tap", "strum the string", "hit", "pat")
    assert question.visuals == (str(source.videos / "1164/401.mp4"),)


def test_an_answer_that_is_not_an_option_is_a_bad_row(files):
    source = files(FILE + FILE.splitlines()[1].replace(",2,6,", ",-1,7,"), "val.csv", "401.mp4")
    loaded = get_dataset("nextqa").load("test", None, source)
    assert len(loaded.questions) == 1
    assert str(loaded.bad[0]) == (
        "val.csv, row 2: the field 'answer' is -1, as in files whose labels are hidden, but the options are 0 to 4"
    )


def test_evenly_spaced_frames_can_be_trained_on_without_evidence(files):
    (example,) = get_dataset("nextqa").examples(files(FILE, "val.csv", "401.mp4"), uniform=4, evidence=False).examples
    assert (example.answer, example.evidence, len(example.frames)) == ("strum the string", "", 4)


@pytest.mark.skipif(not REAL.is_file(), reason="the authors' file is not next to the project")
def test_the_authors_file_is_read_completely(files):
    text = REAL.read_text()
    source = files(text, "val.csv")
    for row in csv.DictReader(text.splitlines()):
        (source.videos / f"{row['video']}.mp4").touch()
    loaded = get_dataset("nextqa").load("test", None, source)
    assert len(loaded.questions) + len(loaded.bad) == 4996
    assert len(loaded.questions) > 0.99 * 4996
    assert not loaded.missing
