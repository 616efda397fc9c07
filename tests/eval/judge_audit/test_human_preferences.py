"""People's preferences: the public formats, agreement among people, and of recorded judges with them."""

import json
from pathlib import Path

import pytest

from espresso.errors import DataError
from eval.judge_audit import human_preferences as labels

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "judge"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the public labels are not at {REAL}")


def row(number, *choices):
    people = {f"annotator{place}": choice for place, choice in enumerate(choices, 1)}
    return {"idx": number, "instruction": "Say it.", "input": "", "response1": "one", "response2": "two"} | people


def pandalm(folder, rows, **verdicts):
    for judge, said in verdicts.items():
        (folder / f"pandalm_{judge}.json").write_text(json.dumps([{"idx": i, "gpt_result": v} for i, v in said.items()]))
    file = folder / "testset.json"
    file.write_text(json.dumps(rows))
    return labels.read(file)


def test_a_judge_is_held_against_what_most_people_chose(tmp_path):
    rows = [row(0, 1, 1, 2), row(1, 2, 2, 2), row(2, 0, 1, 2), row(3, 0, 0, 0)]
    found = labels.agreements("x", pandalm(tmp_path, rows, gpt={0: "1", 1: "1", 2: "1", 3: "garbage"}))
    assert (found.pairs, found.majorities, found.people) == (4, 3, 3)
    (judge,) = found.judges
    assert (judge.judge, judge.n, judge.agree) == ("gpt", 2, 0.5)
    assert judge.low < 0.5 < judge.high


def test_people_who_always_agree_have_an_alpha_of_one(tmp_path):
    assert labels.agreements("x", pandalm(tmp_path, [row(0, 1, 1, 1), row(1, 2, 2, 2)])).alpha == 1


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[{}]"), ("a.json", "no"), ("a.txt", "TIE"), ("review_a_b_human.txt", "TIE")]
)
def test_another_file_is_refused_in_one_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="neither PandaLM's test set nor FairEval's review"):
        labels.read(tmp_path / name)


@real
def test_recorded_judges_agree_with_pandalms_people_as_measured():
    found = labels.agreements("pandalm", labels.read(REAL / "pandalm_testset.json"))
    assert found.pairs == 500
    assert found.alpha == pytest.approx(0.856, abs=0.001)
    gpt, pandalm_7b = found.judges
    assert (gpt.judge, pandalm_7b.judge) == ("gpt-3.5-turbo", "pandalm-7b")
    assert pandalm_7b.agree == pytest.approx(0.668, abs=0.001)
    assert 0.7 < gpt.agree < 0.78


@real
def test_fairevals_pairs_have_one_opinion_and_both_answers():
    pairs = labels.read(REAL / "faireval_review_gpt35_vicuna-13b_human.txt")
    assert len(pairs) == 80
    assert sum(pair.people == ("first",) for pair in pairs) == 41
    assert all(pair.question and pair.first and pair.second for pair in pairs)
    assert labels.agreements("faireval", pairs).alpha is None
