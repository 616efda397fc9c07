"""The frame study on clips of the world, with doubles for the models."""

import json
from pathlib import Path

import pytest

from espresso.errors import DataError
from eval.report.frame_study import HEADS, markdown, selector_study

LIMIT = 4


@pytest.fixture
def study(session):
    return lambda counts=(2, 8): selector_study(names=["tiny"], limit=LIMIT, out=Path("study"), counts=counts, session=session)


def test_every_strategy_is_compared_with_the_most_uniform_frames(study):
    rows = {row.sample: row for row in study()}
    assert list(rows) == ["uniform-2", "uniform-8", "random-2", "random-8", "selector", "oracle"]
    assert rows["uniform-8"].against is None
    difference = rows["uniform-2"].metrics.accuracy - rows["uniform-8"].metrics.accuracy
    assert rows["uniform-2"].against.difference == difference
    assert [rows[name].metrics.frames for name in ("uniform-2", "random-8")] == [2, 8]
    assert rows["oracle"].metrics.core_precision == rows["oracle"].metrics.core_recall == 1
    assert {row.metrics.n for row in rows.values()} == {LIMIT}


def test_results_are_written_and_a_repeated_study_asks_nothing(study, roles):
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


def test_zero_frames_are_rejected(study):
    with pytest.raises(DataError, match="must be 1 or more"):
        study(counts=(0,))
