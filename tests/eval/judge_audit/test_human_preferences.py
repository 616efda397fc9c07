"""Human preferences: the public formats, and agreement among people and judges."""

import json
from pathlib import Path

import pytest

from espresso.errors import DataError
from eval.judge_audit.human_preferences import human_agreement, read_pairs

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "judge"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no public labels in {REAL}")


def row(number, *choices):
    people = {f"annotator{place}": choice for place, choice in enumerate(choices, 1)}
    return {"idx": number, "instruction": "Say it.", "input": "", "response1": "one", "response2": "two"} | people


def pandalm(folder, rows, **verdicts):
    for judge, choices in verdicts.items():
        (folder / f"pandalm_{judge}.json").write_text(json.dumps([{"idx": i, "gpt_result": v} for i, v in choices.items()]))
    file = folder / "testset.json"
    file.write_text(json.dumps(rows))
    return read_pairs(file)


def test_a_judge_is_compared_with_the_majority_of_people(tmp_path):
    rows = [row(0, 1, 1, 2), row(1, 2, 2, 2), row(2, 0, 1, 2), row(3, 0, 0, 0)]
    result = human_agreement("x", pandalm(tmp_path, rows, gpt={0: "1", 1: "1", 2: "1", 3: "garbage"}))
    assert (result.pairs, result.majorities, result.people) == (4, 3, 3)
    (judge,) = result.judges
    assert (judge.judge, judge.n, judge.agree) == ("gpt", 2, 0.5)
    assert judge.low < 0.5 < judge.high


def test_a_missing_file_is_an_error_with_the_path(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json: cannot read the labels"):
        read_pairs(tmp_path / "nowhere.json")


def test_faireval_reads_questions_and_answers_next_to_the_review(tmp_path):
    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("question.jsonl", [{"question_id": 1, "text": "Why?"}, {"question_id": 2, "text": "How?"}])
    write("answer_gpt35.jsonl", [{"text": "a"}, {"text": "b"}])
    write("answer_vicuna.jsonl", [{"text": "c"}, {"text": "d"}])
    (tmp_path / "review_gpt35_vicuna_human.txt").write_text("VICUNA13B\nTIE\n")
    one, two = read_pairs(tmp_path / "review_gpt35_vicuna_human.txt")
    assert (one.question, one.first, one.second, one.majority) == ("Why?", "a", "c", "second")
    assert two.majority == "tie"


def test_people_who_always_agree_have_an_alpha_of_one(tmp_path):
    assert human_agreement("x", pandalm(tmp_path, [row(0, 1, 1, 1), row(1, 2, 2, 2)])).alpha == 1


def test_files_are_read_as_people_have_them(tmp_path):
    """A byte order mark, separators of Unicode, blank lines, and other files in the folder."""
    (tmp_path / "torn.json").write_text("[{")
    (tmp_path / "testset.json").write_text("\ufeff" + json.dumps([row(0, 1, 1, 2)]), encoding="utf-8")
    assert read_pairs(tmp_path / "testset.json")[0].majority == "first"
    for name, line in (
        ("question", {"question_id": 1, "text": "Why\u2028?"}),
        ("answer_a", {"text": "x\u2028"}),
        ("answer_b", {"text": "y"}),
    ):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n\n", encoding="utf-8")
    (tmp_path / "review_a_b_human.txt").write_text("\ufeffTIE\n", encoding="utf-8")
    assert read_pairs(tmp_path / "review_a_b_human.txt")[0].first == "x\u2028"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[{}]"),
        ("a.json", "no"),
        ("a.json", "[]"),
        ("a.json", "[" * 100_000),
        ("a.txt", "TIE"),
        ("review_a_b_human.txt", "TIE"),
    ],
)
def test_another_format_is_an_error_that_names_the_known_ones(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="neither PandaLM's test set nor FairEval's review"):
        read_pairs(tmp_path / name)


@real
def test_recorded_judges_agree_with_pandalms_people_as_measured():
    result = human_agreement("pandalm", read_pairs(REAL / "pandalm_testset.json"))
    assert result.pairs == 500
    assert result.alpha == pytest.approx(0.856, abs=0.001)
    gpt, pandalm_7b = result.judges
    assert (gpt.judge, pandalm_7b.judge) == ("gpt-3.5-turbo", "pandalm-7b")
    assert pandalm_7b.agree == pytest.approx(0.668, abs=0.001)
    assert 0.7 < gpt.agree < 0.78


@real
def test_faireval_pairs_have_one_annotator_and_both_answers():
    pairs = read_pairs(REAL / "faireval_review_gpt35_vicuna-13b_human.txt")
    assert len(pairs) == 80
    assert sum(pair.people == ("first",) for pair in pairs) == 41
    assert all(pair.question and pair.first and pair.second for pair in pairs)
    assert human_agreement("faireval", pairs).alpha is None
