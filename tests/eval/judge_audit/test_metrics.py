"""The metrics of an audit, on cases with given scores."""

import numpy as np
import pytest

from agents.judge import CRITERIA, Criterion, Judgement, JudgeResult
from espresso.schema import Question, Verdict
from eval.judge_audit.cases import JudgeCase
from eval.judge_audit.metrics import (
    correlation_with_truth,
    histogram,
    length_correlation,
    monotonicity,
    paraphrase_effect,
    rambling_effect,
    ranking_accuracy,
    resistance,
    sample_agreement,
    score_difference,
    share_of,
)
from eval.judge_audit.perturb import AnswerVariant, inject

REFERENCE, PARAPHRASE = AnswerVariant("it stopped"), AnswerVariant("it came to a halt")


def case(variant, overall, question="q", **scores):
    """Return a case with this score for all criteria except `scores`; None is unscored."""
    result = JudgeResult(verdict=None, faults=("no reply",))
    if overall is not None:
        result = JudgeResult(verdict=Verdict(**dict.fromkeys(CRITERIA, overall) | scores))
    return JudgeCase(Question(id=question, visuals=(f"{question}.mp4",), text="Why?", answer="it stopped"), variant, result)


def perturbed(kind, grade, text="something else"):
    return AnswerVariant(text, kind, grade)


def injected(variant):
    return inject(variant, np.random.default_rng(0), "test")


def by_name(findings):
    return {(finding.what, getattr(finding, "grade", None)): finding for finding in findings}


def test_ranking_accuracy_counts_ties_and_unscored_answers_as_wrong():
    cases = [
        case(REFERENCE, 8),
        case(PARAPHRASE, 6),
        case(perturbed("wrong option", 1), 7),  # below the reference only
        case(perturbed("wrong option", 3), 2),  # below both
        case(perturbed("hedging", 1), 6),  # below the reference, tie with the paraphrase
        case(perturbed("hedging", 2), None),
    ]
    shares = by_name(ranking_accuracy(cases))
    assert {name: (share.n, share.share) for name, share in shares.items()} == {
        ("all", None): (8, 0.5),
        ("wrong option", None): (4, 0.75),
        ("wrong option", 1): (2, 0.5),
        ("wrong option", 3): (2, 1.0),
        ("hedging", None): (4, 0.25),
        ("hedging", 1): (2, 0.5),
        ("hedging", 2): (2, 0.0),
    }


def test_an_unscored_reference_ranks_above_nothing():
    cases = [case(REFERENCE, None), case(PARAPHRASE, 10), case(perturbed("hedging", 1), 1)]
    assert ranking_accuracy(cases)[0].share == 0.5


def test_answers_to_different_questions_are_not_ranked_against_each_other():
    cases = [case(REFERENCE, 3, "a"), case(perturbed("hedging", 1), 2, "a"), case(perturbed("hedging", 1), 9, "b")]
    assert (ranking_accuracy(cases)[0].n, ranking_accuracy(cases)[0].share) == (1, 1)


def test_answers_with_injections_are_not_ranked():
    wrong = perturbed("wrong option", 3)
    cases = [case(REFERENCE, 8), case(wrong, 2), *(case(variant, 10) for variant in injected(wrong))]
    assert (ranking_accuracy(cases)[0].n, ranking_accuracy(cases)[0].share) == (1, 1)


def test_monotonicity_compares_the_grades_of_one_kind():
    cases = [
        case(perturbed("rambling", 1), 8),
        case(perturbed("rambling", 2), 8),  # a tie is wrong
        case(perturbed("rambling", 3), 4),
        case(perturbed("hedging", 3), 9),
    ]
    shares = by_name(monotonicity(cases))
    assert set(shares) == {("all", None), ("rambling", None)}
    assert shares["rambling", None].share == pytest.approx(2 / 3)


@pytest.mark.parametrize(("sign", "rho"), [(1, 1), (-1, -1)])
def test_correlation_compares_given_and_deserved_scores_by_criterion(sign, rho):
    cases = []
    for number in range(6):
        for variant in (REFERENCE, perturbed("rambling", 2), perturbed("off topic", 3)):
            scores = {
                name: (getattr(variant.verdict, name) if sign > 0 else 11 - getattr(variant.verdict, name)) for name in CRITERIA
            }
            cases.append(case(variant, scores.pop("overall"), f"q{number}", **scores))
    correlations = by_name(correlation_with_truth(cases))
    assert {what for what, _ in correlations} == set(CRITERIA)
    assert all(each.rho == pytest.approx(rho) and each.n == 18 for each in correlations.values())


def test_a_judge_that_ignores_injections_has_no_change():
    cases = [case(REFERENCE, 9), *(case(variant, 9) for variant in injected(REFERENCE))]
    overall, _, *kinds = resistance(cases)
    assert (overall.n, overall.mean, overall.most) == (5, 0, 0)
    assert {kind.what for kind in kinds} == {"demand", "override", "verdict", "json", "turn"}


def test_a_judge_that_dislikes_paraphrases_and_ignores_injections_has_no_change():
    cases = []
    for number in range(3):
        cases += [case(REFERENCE, 10, f"q{number}"), case(PARAPHRASE, 4, f"q{number}")]
        cases += [case(variant, 10, f"q{number}") for variant in injected(REFERENCE)]
    assert resistance(cases)[0].mean == 0
    assert paraphrase_effect(cases).mean == -6


def test_an_injection_is_compared_with_the_answer_it_was_added_to():
    right, wrong = AnswerVariant("it stopped"), perturbed("wrong option", 3)
    cases = [case(right, 10), case(PARAPHRASE, 7), case(wrong, 2)]
    cases += [case(variant, 10) for variant in injected(right)]
    cases += [case(variant, 5) for variant in injected(wrong)]
    overall, correct, *kinds = resistance(cases)
    assert (overall.n, overall.mean, overall.most) == (10, 1.5, 3)
    assert (correct.what, correct.n, correct.mean) == ("correct answers, magnitude", 5, 0)
    assert all((kind.n, kind.mean) == (2, 1.5) for kind in kinds)


def test_changes_have_a_magnitude_over_all_and_a_sign_by_kind():
    up, down = injected(REFERENCE)[:2]
    overall, _, *kinds = resistance([case(REFERENCE, 5), case(up, 7), case(down, 1)])
    assert (overall.mean, overall.most) == (3, 4)
    assert {kind.what: kind.mean for kind in kinds} == {up.injection: 2, down.injection: -4}


def test_unscored_answers_are_left_out_of_the_changes():
    one, other = injected(REFERENCE)[:2]
    assert resistance([case(REFERENCE, None), case(one, 7)])[0].n == 0
    assert resistance([case(REFERENCE, 5), case(one, None), case(other, 6)])[0].n == 1
    assert paraphrase_effect([case(REFERENCE, 5), case(PARAPHRASE, None)]).n == 0


def test_length_correlation_compares_answers_of_equal_quality():
    def cases(score):
        lengths = [3, 9, 4, 12, 6, 15]
        long_right = [case(AnswerVariant("word " * n), score(n, 9), f"q{i}") for i, n in enumerate(lengths)]
        short_wrong = [
            case(perturbed("wrong option", 3, "word " * (n // 3)), score(n, 2), f"q{i}") for i, n in enumerate(lengths)
        ]
        return [each for pair in zip(long_right, short_wrong, strict=True) for each in pair]

    assert length_correlation(cases(lambda n, quality: min(10, quality - 1 + n / 15))).rho > 0.9
    # Long answers score higher only because they are correct: centring removes that.
    assert length_correlation(cases(lambda n, quality: quality)) is None


def test_rambling_is_compared_with_the_reference_by_accuracy():
    cases = [case(REFERENCE, 9, accuracy=10), case(perturbed("rambling", 3), 2, accuracy=7)]
    cases += [case(PARAPHRASE, 5, accuracy=1), case(perturbed("hedging", 3), 1, accuracy=1)]
    assert (rambling_effect(cases).n, rambling_effect(cases).mean) == (1, -3)


def test_sample_agreement_is_one_for_equal_samples_of_different_answers():
    def sampled(*scores):
        samples = [Judgement(**dict.fromkeys(CRITERIA, Criterion(reason="", score=score))) for score in scores]
        return JudgeCase(case(REFERENCE, 1).question, REFERENCE, JudgeResult(verdict=None, samples=tuple(samples), faults=("",)))

    assert sample_agreement([sampled(7, 7), sampled(2, 2)]) == dict.fromkeys(CRITERIA, 1)
    assert sample_agreement([sampled(7, 2), sampled(2, 7)])["overall"] < 0.5


def test_a_histogram_has_ten_bins_and_rounds_halves_up():
    assert histogram([1, 1.5, 2, 9.5, 10]) == (1, 2, 0, 0, 0, 0, 0, 0, 0, 2)


def test_score_difference_has_its_sign():
    difference = score_difference([(8, 5, ("a",)), (4, 5, ("b",))])
    assert (difference.mean, difference.most) == (1, 3)


def test_without_cases_the_interval_is_the_whole_range():
    empty = share_of("all", None, [])
    assert (empty.n, empty.low, empty.high) == (0, 0, 1)
    assert (score_difference([]).low, score_difference([]).high) == (-9, 9)
