"""The table of two runs: one always chooses the first option, the other knows the answers."""

import pytest

from espresso.errors import DataError
from eval.report.table import compare, markdown
from eval.run import run

LIMIT = 6


@pytest.fixture
def runs(session, roles, tmp_path):
    """The first run always chooses A, the second is always correct and one question shorter."""
    knows, roles.reasoner.knows = roles.reasoner.knows, {}
    run("world", limit=LIMIT, strategy="blind", session=session, out=tmp_path / "first")
    roles.reasoner.knows = knows
    run("world", limit=LIMIT - 1, strategy="blind", session=session, out=tmp_path / "correct")
    return [tmp_path / "first", tmp_path / "correct"]


def test_runs_are_compared_on_shared_questions(runs):
    first, correct = compare(runs)
    assert (first.asked, correct.asked) == (LIMIT, LIMIT - 1)
    assert first.metrics.n == correct.metrics.n == LIMIT - 1
    assert first.against is None
    assert correct.against.difference == pytest.approx(1 - first.metrics.accuracy)
    assert correct.against.low <= correct.against.difference <= correct.against.high


def test_choice_bias_of_a_run_that_chooses_the_first_option(runs):
    first, correct = compare(runs)
    assert first.choice_bias.chosen["A"] == 1
    assert correct.choice_bias.chosen == correct.choice_bias.correct == first.choice_bias.correct


def test_table_has_a_row_per_task_and_a_column_per_run(runs):
    lines = markdown(compare(runs)).splitlines()
    assert lines[0] == "| | first | correct |"
    assert f"| questions | {LIMIT - 1} of {LIMIT} | {LIMIT - 1} of {LIMIT - 1} |" in lines
    table = lines[: lines.index("")]
    assert all(line.count("|") == 4 for line in table)
    assert any(line.startswith("| accuracy |") and "100.0%" in line for line in lines)


def test_runs_are_rows_of_table_1_of_the_paper(runs):
    heads, _, first, correct = markdown(compare(runs)).splitlines()[-4:]
    tasks = "Narra. Event Ingre. Causal Theme Conte. Influ. Role Inter. Behav. Emoti. Cook. Traff. Situa. Avg."
    assert heads == f"| Table 1 | #Frames | TFLOPs | {tasks.replace(' ', ' | ')} |"
    assert correct.endswith("| 100.00 |")
    assert first.count("|") == correct.count("|") == heads.count("|")


def test_folders_without_a_run_and_runs_without_shared_questions_are_rejected(runs, session, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/run\.json"):
        compare([runs[0], tmp_path / "nowhere"])
    run("world", split="val", limit=1, strategy="blind", session=session, out=tmp_path / "val")
    with pytest.raises(DataError, match="the runs share no question"):
        compare([runs[0], tmp_path / "val"])


def test_a_run_without_answers_is_named(runs):
    (runs[1] / "samples.jsonl").write_text("")
    with pytest.raises(DataError, match="correct: the run has no answers yet"):
        compare(runs)
