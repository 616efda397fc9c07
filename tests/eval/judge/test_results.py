"""The results of a judged run: flat metrics, and files that earlier versions wrote."""

import json

import pytest

from agents.budget import Prices
from agents.judge import CRITERIA, Criterion, Judgement
from espresso.errors import DataError
from espresso.schema import Question, Verdict
from eval.judge.results import (
    JudgeConfig,
    VerdictRow,
    criterion_scores,
    read_judge_config,
    read_verdicts,
    summarize,
)
from eval.sample import Sample

CONFIG = JudgeConfig(judge="judge", prompt="abc", samples=3, temperature=0.7, seed=0, frames=False, run="123")
OLD_LINE = (
    '{"verdict":{"logic":8.0,"factuality":7.0,"accuracy":7.5,"conciseness":9.0,"overall":7.0,"reasons":{"logic":"so"}},'
    '"samples":[],"faults":["cannot be read"],"tokens_in":300,"tokens_out":150,"cached":0,"requests":["r1"],"id":"q1"}\n'
)
OLD_HEADER = {
    "configuration": {
        "judge": "judge@207aa7fb", "prompt": "0123456789ab", "samples": 3, "temperature": 0.7, "seed": 0, "frames": False,
        "run": "3234bf1a1d64",
    },
    "environments": [{"commit": None, "python": "3.12.3"}],
}  # fmt: skip


def sample(name, clip="a.mp4"):
    return Sample(id=name, question=Question(id=name, visuals=(clip,), text="Why?", answer="a wall"), order=())


def verdict(score):
    return Verdict(**dict.fromkeys(CRITERIA, score))


def row(name, *scores, fault=None, **counts):
    """A row whose samples give each of the scores, with their median as verdict."""
    samples = [Judgement(**dict.fromkeys(CRITERIA, Criterion(reason="so", score=score))) for score in scores]
    middle = verdict(sorted(scores)[len(scores) // 2]) if scores else None
    return VerdictRow(id=name, verdict=middle, samples=tuple(samples), faults=(fault,) if fault else (), **counts)


def summary(*rows, prices=None, left_out=0):
    samples = [(sample(each.id, f"{each.id}.mp4"), each) for each in rows]
    return summarize("folder", CONFIG, samples, left_out=left_out, prices=prices, note=None)


def test_metrics_count_answers_replies_and_tokens():
    result = summary(
        row("a", 6, 7, 8, tokens_in=100, tokens_out=10),
        row("b", 5, 6, 6, cached=3),
        row("c", fault="no reply", tokens_in=50, tokens_out=5),
        left_out=2,
        prices=Prices(input=1e4, output=1e5),
    )
    metrics = result.metrics
    assert (metrics.n, metrics.scored, metrics.unscored, metrics.left_out) == (3, 2, 1, 2)
    assert (metrics.unread, metrics.cached, metrics.tokens_in, metrics.tokens_out) == (1, 3, 150, 15)
    assert metrics.dollars == pytest.approx(1.5 + 1.5)
    assert result.unscored == {"c": "no reply"}


def test_scores_are_on_both_scales_with_the_interval_around_the_mean():
    scores = summary(row("a", 6, 7, 8), row("b", 5, 6, 6), row("c", 9, 9, 9)).metrics.criteria["overall"]
    assert scores.raw == pytest.approx((7 + 6 + 9) / 3)
    assert scores.mean == pytest.approx(10 * scores.raw)
    assert 10 <= scores.low < scores.mean < scores.high <= 100


def test_the_json_is_flat_with_one_key_per_number():
    metrics = json.loads(summary(row("a", 6, 7, 8), row("b", 5, 6, 6)).model_dump_json())["metrics"]
    counts = ["n", "scored", "unscored", "left_out", "unread", "cached", "tokens_in", "tokens_out", "dollars"]
    scores = [f"{name}{suffix}" for name in CRITERIA for suffix in ("", "_low", "_high", "_raw")]
    assert list(metrics) == [*counts, *scores, *(f"{name}_agreement" for name in CRITERIA)]
    assert metrics["logic"] == pytest.approx(65)
    assert metrics["dollars"] is None


def test_agreement_is_perfect_for_equal_samples_and_undefined_for_single_ones():
    assert summary(row("a", 7, 7), row("b", 4, 4)).metrics.agreement["logic"] == 1
    assert summary(row("a", 7), row("b", 4)).metrics.agreement["logic"] is None


def test_answers_about_one_video_widen_the_interval():
    verdicts = [verdict(score) for score in (4, 4, 9, 9)]
    independent = criterion_scores([(sample(f"q{i}", f"{i}.mp4"), each) for i, each in enumerate(verdicts)])["logic"]
    clustered = criterion_scores([(sample(f"q{i}", f"{i // 2}.mp4"), each) for i, each in enumerate(verdicts)])["logic"]
    assert clustered.mean == independent.mean
    assert clustered.high - clustered.low > independent.high - independent.low


def test_there_are_no_scores_without_verdicts():
    assert criterion_scores([]) == {}


def test_only_scored_answers_are_read_as_verdicts(tmp_path):
    rows = [row("a", 7), row("b", fault="no reply")]
    (tmp_path / "verdicts.jsonl").write_text("".join(each.model_dump_json() + "\n" for each in rows))
    assert {name: each.overall for name, each in read_verdicts(tmp_path).items()} == {"a": 7}


def test_files_of_earlier_versions_are_read(tmp_path):
    (tmp_path / "verdicts.jsonl").write_text(OLD_LINE)
    (tmp_path / "judge.json").write_text(json.dumps(OLD_HEADER))
    assert read_verdicts(tmp_path)["q1"].accuracy == 7.5
    assert read_judge_config(tmp_path).model_dump() == OLD_HEADER["configuration"]


def test_a_folder_that_was_not_judged_has_no_verdicts_and_no_judge(tmp_path):
    assert read_verdicts(tmp_path) == {}
    assert read_judge_config(tmp_path) is None


def test_an_invalid_line_is_an_error_with_its_number(tmp_path):
    (tmp_path / "verdicts.jsonl").write_text(OLD_LINE + '{"id": "q2"}\n')
    with pytest.raises(DataError, match="line 2"):
        read_verdicts(tmp_path)
