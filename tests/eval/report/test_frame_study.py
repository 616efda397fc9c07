"""The selector study: every way of coming by frames over real clips, the models doubled."""

import json
from pathlib import Path

import pytest

from espresso.errors import DataError
from eval.report.frame_study import HEADS, markdown, selector_study

LIMIT = 4


@pytest.fixture
def study(roles):
    return lambda **wishes: selector_study(
        names=["tiny"], limit=LIMIT, out=Path("study"), **{"counts": (2, 8), "roles": roles} | wishes
    )


def test_every_way_is_asked_the_same_questions_and_held_beside_the_most_uniform_frames(study):
    found = {row.sample: row for row in study()}
    assert list(found) == ["uniform-2", "uniform-8", "random-2", "random-8", "selector", "oracle"]
    assert found["uniform-8"].against is None
    assert (
        found["uniform-2"].against.difference == found["uniform-2"].metrics["accuracy"] - found["uniform-8"].metrics["accuracy"]
    )
    assert [found[name].metrics["frames"] for name in ("uniform-2", "random-8")] == [2, 8]
    assert found["oracle"].metrics["core_precision"] == found["oracle"].metrics["core_recall"] == 1
    assert {row.metrics["n"] for row in found.values()} == {LIMIT}


def test_table_records_and_plot_are_left_and_nothing_is_asked_twice(study, roles):
    before = study()
    asked = len(roles.reasoner.asked)
    assert study() == before
    assert len(roles.reasoner.asked) == asked
    lines = Path("study/study.md").read_text().splitlines()
    assert lines[0] == f"| {' | '.join(HEADS)} |"
    assert lines[3].startswith("| tiny | uniform-8 | 8 | 1.00 |")
    assert markdown(before).splitlines() == lines
    assert [row["sample"] for row in json.loads(Path("study/study.json").read_text())] == [row.sample for row in before]
    assert Path("study/study.png").stat().st_size > 1000


def test_a_number_of_no_frames_is_refused(study):
    with pytest.raises(DataError, match="numbers of frames of 1 or more"):
        study(counts=(0,))
