"""Two real runs side by side: one that knows the answers, one that always takes the first option."""

import pytest

from espresso.errors import DataError
from eval.report.table import compare, markdown
from eval.run import run

LIMIT = 6


@pytest.fixture
def runs(roles, tmp_path):
    """The first always says A, the second is right; and how many questions it knew."""
    knows, roles.reasoner.knows = roles.reasoner.knows, {}
    run("world", limit=LIMIT, strategy="blind", roles=roles, out=tmp_path / "first")
    roles.reasoner.knows = knows
    run("world", limit=LIMIT - 1, strategy="blind", roles=roles, out=tmp_path / "right")
    return [tmp_path / "first", tmp_path / "right"]


def test_runs_are_compared_on_the_questions_that_both_were_asked(runs):
    first, right = compare(runs)
    assert (first.asked, right.asked) == (LIMIT, LIMIT - 1)
    assert first.metrics["n"] == right.metrics["n"] == LIMIT - 1
    assert first.against is None
    assert right.against.difference == pytest.approx(1 - first.metrics["accuracy"])
    assert right.against.low <= right.against.difference <= right.against.high


def test_a_run_that_takes_the_first_option_leans(runs):
    first, right = compare(runs)
    assert first.lean.picked["A"] == 1
    assert right.lean.picked == right.lean.right == first.lean.right


def test_the_table_has_a_row_for_each_task_and_a_column_for_each_run(runs):
    lines = markdown(compare(runs)).splitlines()
    assert lines[0] == "| | first | right |"
    assert f"| questions | {LIMIT - 1} of {LIMIT} | {LIMIT - 1} of {LIMIT - 1} |" in lines
    table = lines[: lines.index("")]
    assert all(line.count("|") == 4 for line in table)
    assert any(line.startswith("| accuracy |") and "100.0%" in line for line in lines)


def test_a_run_is_a_row_of_the_papers_first_table(runs):
    heads, _, first, right = markdown(compare(runs)).splitlines()[-4:]
    tasks = "Narra. Event Ingre. Causal Theme Conte. Influ. Role Inter. Behav. Emoti. Cook. Traff. Situa. Avg."
    assert heads == f"| Table 1 | #Frames | TFLOPs | {tasks.replace(' ', ' | ')} |"
    assert right.endswith("| 100.00 |")
    assert first.count("|") == right.count("|") == heads.count("|")


def test_what_is_no_run_and_runs_of_other_questions_are_told(runs, roles, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/run\.json: cannot be read"):
        compare([runs[0], tmp_path / "nowhere"])
    run("world", split="val", limit=1, strategy="blind", roles=roles, out=tmp_path / "val")
    with pytest.raises(DataError, match="no question was asked in all of them"):
        compare([runs[0], tmp_path / "val"])
