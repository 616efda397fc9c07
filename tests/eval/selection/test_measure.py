"""Measuring frame selection: hits, precision, coverage and intervals."""

import json

import pytest

from agents.session import Session
from espresso.datasets.nextqa.nextgqa import CaptionedQuestion
from espresso.errors import DataError, ProfileError
from eval.selection import report
from eval.selection.measure import BUDGET, COUNTS, measure, score, uniform


def question(name, spans, captions=8, video="clip"):
    return CaptionedQuestion(
        id=name, video=video, kind="CW", question="what does the dog do", options=("barks", "sleeps"),
        times=tuple(map(float, range(captions))), captions=tuple(f"a dog {at}" for at in range(captions)), spans=spans,
    )  # fmt: skip


def only(rows, way, count):
    (row,) = [row for row in rows if (row.way, row.count, row.kind) == (way, count, "all")]
    return row


def test_hits_precision_and_coverage_of_the_spans():
    questions = [question("a", ((2, 3), (6,))), question("b", ((0,),), video="other")]
    rows = score(questions, {"uniform": {2: [(2, 5), (4, 7)]}})
    row = only(rows, "uniform", 2)
    assert (row.hit.mean, row.precision.mean, row.coverage.mean, row.frames, row.n) == (0.5, 0.25, 0.25, 2.0, 2)


def test_a_difference_is_paired_and_clear_of_zero_where_one_way_is_always_better():
    questions = [question(str(at), ((0,),), video=str(at)) for at in range(40)]
    rows = score(questions, {"uniform": {1: [(4,)] * 40}, "trained": {1: [(0,)] * 39 + [(4,)]}})
    (against,) = only(rows, "trained", 1).hit_against
    assert against.baseline == "uniform"
    assert against.low > 0.9


@pytest.mark.parametrize(("total", "count", "positions"), [(8, 2, (2, 6)), (1, 4, (0,)), (3, 8, (0, 1, 2))])
def test_uniform_frames_lie_in_the_middle_of_equal_parts(total, count, positions):
    assert uniform(total, count) == positions


async def test_the_tables_the_rows_and_the_plot_are_written_and_a_second_call_resumes(tmp_path):
    questions = [question("a", ((2, 3),)), question("b", ((0,),), video="other")]
    with Session("tiny", cache=tmp_path / "cache") as session:
        rows = await measure(questions, session, ["random", "bm25"], tmp_path / "out", dataset="test")
        lines = (tmp_path / "out/chosen.jsonl").read_text().splitlines()
        assert len(lines) == 3 * len(questions) * (len(COUNTS) + 1)
        assert await measure(questions, session, ["random", "bm25"], tmp_path / "out", dataset="test") == rows
        assert (tmp_path / "out/chosen.jsonl").read_text().splitlines() == lines
        with pytest.raises(DataError, match="holds another selection"):
            await measure(questions[:1], session, ["random"], tmp_path / "out", dataset="test")
    report.write(rows, tmp_path / "out")
    assert "random - uniform" in (tmp_path / "out/selection.md").read_text()
    assert (tmp_path / "out/selection.png").stat().st_size > 1000
    assert {row["way"] for row in json.loads((tmp_path / "out/selection.json").read_text())} == {"uniform", "random", "bm25"}
    assert all(row.frames <= BUDGET for row in rows if row.count is None)


async def test_a_way_that_the_profile_cannot_go_is_one_sentence(tmp_path):
    with Session("tiny", cache=False) as session, pytest.raises(ProfileError, match=r"tiny has no \[ranker\], which trained"):
        await measure([question("a", ((0,),))], session, ["trained"], tmp_path, dataset="test")
