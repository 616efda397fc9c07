"""The table of two runs: one always chooses the first option, the other knows the answers."""

import json
from statistics import fmean

import numpy as np
import pytest
from PIL import Image

from espresso.datasets import DatasetFiles
from espresso.errors import DataError
from eval.report import html
from eval.report.table import compare, markdown
from eval.run import run
from eval.run_folder import read_samples

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


def test_consistency_is_a_row_if_questions_have_groups(session, tmp_path):
    """Sentences about pairs of images, each of which is true of some pairs."""
    for number in range(4):
        for side in (0, 1):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"dev-1-{number}-img{side}.png")
    rows = [
        {"identifier": f"dev-1-{pair}-{sentence}", "sentence": f"Statement {sentence}.", "label": str(pair % 2 == 0)}
        for sentence in range(5)
        for pair in range(4)
    ]
    (tmp_path / "dev.json").write_text("\n".join(map(json.dumps, rows)))
    files = DatasetFiles(tmp_path / "dev.json")
    run("nlvr2", strategy="blind", session=session, out=tmp_path / "run", files=files)
    correct = dict[str, bool]()
    for sample in read_samples(tmp_path / "run"):
        correct[sample.id[-1]] = correct.get(sample.id[-1], True) and sample.scores.correct
    table = markdown(compare([tmp_path / "run"]))
    assert f"| consistency (5 groups) | {fmean(correct.values()):.1%} |" in table
    html.write(tmp_path / "page.html", [tmp_path / "run"])
    assert f"consistency {100 * fmean(correct.values()):.1f} % (" in (tmp_path / "page.html").read_text()
