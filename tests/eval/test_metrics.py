"""The metrics of a run."""

import asyncio

import pytest

from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question, Span, Step, Task, Truth, Usage
from eval.metrics import clusters, metrics, shared_files, task_accuracies
from eval.sample import Sample
from eval.scorers import score


def question(name="q", spans=((1, 2), (4, 5)), task=Task.CAUSAL):
    truth = Truth(spans=tuple(Span(start=a, end=b) for a, b in spans), facts=("fact",) * len(spans), evidence="")
    return Question(id=name, visuals=(f"{name}.mp4",), text="?", options=("yes", "no"), task=task, answer="yes", truth=truth)


def answer(text="yes", times=(), visual_tokens=0):
    frames = tuple(CoreFrame(frame=Frame(index=round(12 * time), time=time), why="") for time in times)
    return Answer(
        question=question().without_truth(), text=text, confidence=0.5, evidence=Evidence(text=""), core_frames=frames,
        strategy="selector", profile="tiny", trace=(Step(node="answer", role="reasoner", tokens_visual=visual_tokens),),
    )  # fmt: skip


def sample(asked, given, facts=(), elapsed=1.0):
    scores = asyncio.run(score(asked, given)).model_copy(update={"facts": tuple(facts)})
    return Sample(id=asked.id, question=asked, order=(0, 1), answer=given, scores=scores, elapsed=elapsed)


def error(asked):
    return Sample(id=asked.id, question=asked, order=(0, 1), error="clip.mp4: no such file.")


def test_an_error_counts_as_a_wrong_answer_and_in_no_other_mean():
    found = metrics([sample(question("a"), answer(times=(1, 4), visual_tokens=32)), error(question("b"))])
    assert (found.accuracy, found.n, found.errors) == (0.5, 2, 1)
    assert (found.frames, found.visual_tokens, found.core_recall) == (2, 32, 1)


def test_captions_are_part_of_the_whole_cost_known_or_not_and_shared_by_ten_questions():
    paid = Usage(tflops={"captioner": 5.0, "selector": 1.0, "reasoner": 2.0})
    known = Usage(tflops={"selector": 1.0, "reasoner": 2.0}, tflops_saved={"captioner": 5.0})
    for usage in (paid, known):
        found = metrics([sample(question(), answer().model_copy(update={"usage": usage}))])
        assert (found.tflops, found.tflops_all, found.tflops_at_10) == (2, 8, 3.5)


def test_hits_are_asked_only_of_questions_that_need_so_many_frames():
    one = sample(question("a", spans=((1, 2),)), answer(times=(1.5,)))
    two = sample(question("b"), answer(times=(1.5,)))
    found = metrics([one, two])
    assert (found.hit_at_1, found.hit_at_2) == (1, 0)


def test_evidence_precision_is_over_all_facts_of_the_run():
    found = metrics([sample(question("a"), answer(), [True, True, True]), sample(question("b"), answer(), [False])])
    assert found.evidence_precision == 0.75


def test_what_was_not_measured_is_none():
    found = metrics([error(question())])
    assert found.frames is found.evidence_precision is found.hit_at_1 is None


def test_tasks_come_in_the_papers_order_with_their_own_intervals():
    rows = task_accuracies([
        sample(question("a", task=Task.TRAFFIC), answer()),
        sample(question("b", task=Task.CAUSAL), answer()),
        sample(question("c", task=Task.CAUSAL), answer("no")),
    ])  # fmt: skip
    assert [(row.task, row.n, row.accuracy) for row in rows] == [(Task.CAUSAL, 2, 0.5), (Task.TRAFFIC, 1, 1.0)]
    assert all(0 <= row.accuracy_low < row.accuracy < 1 or row.accuracy_high == 1 for row in rows)


def pair(group, name, text="yes"):
    asked = question(f"{group}-{name}").model_copy(update={"group": group, "visuals": (f"{name}-0.png", f"{name}-1.png")})
    return sample(asked, answer(text)) if text else error(asked)


def test_a_group_is_consistent_if_all_its_questions_are_answered_correctly():
    samples = [pair("s1", "a"), pair("s1", "b"), pair("s2", "c"), pair("s2", "d", "no"), pair("s3", "e"), pair("s3", "f", None)]
    found = metrics([*samples, sample(question("alone"), answer("no"))])
    assert (found.consistency, found.groups) == (pytest.approx(1 / 3), 3)
    assert found.accuracy == pytest.approx(4 / 7)
    assert 0 < found.consistency_low < found.consistency < found.consistency_high < 1


def test_a_run_without_groups_has_no_consistency():
    found = metrics([sample(question(), answer())])
    assert found.consistency is found.consistency_low is found.consistency_high is found.groups is None


def test_sentences_about_the_same_images_are_one_cluster():
    """The same answers are worth less if all sentences are about one set of images."""
    kinds = [("yes", "yes")] * 6 + [("no", "no")] * 6
    apart = [pair(f"s{n}", f"{n}{side}", text) for n, texts in enumerate(kinds) for side, text in zip("ab", texts, strict=True)]
    shared = [
        pair(f"s{n}", f"{n // 2}{side}", text) for n, texts in enumerate(kinds) for side, text in zip("ab", texts, strict=True)
    ]
    assert len(set(clusters(apart))) == 12
    assert len(set(clusters(shared))) == 6
    wide, narrow = metrics(shared), metrics(apart)
    assert wide.consistency_high - wide.consistency_low > narrow.consistency_high - narrow.consistency_low
    assert wide.accuracy_high - wide.accuracy_low > narrow.accuracy_high - narrow.accuracy_low


def test_questions_about_parts_of_a_video_are_one_cluster():
    parts = [question(name).model_copy(update={"visuals": (visual,)}) for name, visual in
             (("a", "a.mp4"), ("b", "a.mp4#t=0,2"), ("c", "a.mp4#t=2,4"), ("d", "b.mp4"))]  # fmt: skip
    first, second, third, other = clusters([sample(part, answer()) for part in parts])
    assert first == second == third != other


def test_statements_that_share_one_of_two_videos_are_no_cluster_but_share_a_file():
    asked = [question(name).model_copy(update={"visuals": visuals, "group": name}) for name, visuals in
             (("a", ("1.mp4#t=0,2", "2.png")), ("b", ("3.mp4", "1.mp4#t=4,6")), ("c", ("4.png", "5.png")))]  # fmt: skip
    samples = [sample(each, answer()) for each in asked]
    assert len(set(clusters(samples))) == 3
    first, second, third = shared_files(samples)
    assert first & second == {"1.mp4"}
    assert not third & (first | second)
    assert shared_files([sample(question(), answer())]) == []


def test_a_video_in_all_pairs_widens_the_interval():
    def run(second):
        asked = [question(f"{n}").model_copy(update={"visuals": (f"{n}.png", second(n))}) for n in range(40)]
        return metrics([sample(each, answer("yes" if n % 4 else "no")) for n, each in enumerate(asked)])

    alone, shared = run(lambda n: f"{n}.mp4"), run(lambda n: f"{n % 4}.mp4")
    assert shared.accuracy == alone.accuracy
    assert shared.accuracy_high - shared.accuracy_low > alone.accuracy_high - alone.accuracy_low


def test_accuracy_is_reported_by_categories_too():
    def asked(name, *categories):
        return question(name, task="Im-Im (T)").model_copy(update={"categories": categories})

    rows = task_accuracies([sample(asked("a", "role existence"), answer()), sample(asked("b", "action existence"), answer("no")),
                            sample(asked("c"), answer())])  # fmt: skip
    assert [(row.task, row.n, row.accuracy) for row in rows] == [
        ("Im-Im (T)", 3, pytest.approx(2 / 3)), ("action existence", 1, 0), ("role existence", 1, 1)]  # fmt: skip


def test_the_weighted_accuracy_counts_hard_questions_more():
    def weighted(name, weight, text):
        return sample(question(name).model_copy(update={"weight": weight}), answer(text))

    found = metrics([weighted("a", 1, "yes"), weighted("b", 1, "no"), weighted("c", 3, "yes")])
    assert found.weighted_accuracy == pytest.approx(4 / 5)
    assert 0 <= found.weighted_accuracy_low < found.weighted_accuracy < found.weighted_accuracy_high <= 1


def test_with_equal_weights_it_is_the_accuracy_and_without_weights_there_is_none():
    samples = [sample(question(name), answer(text)) for name, text in (("a", "yes"), ("b", "no"), ("c", "yes"))]
    equal = [each.model_copy(update={"question": each.question.model_copy(update={"weight": 2.0})}) for each in samples]
    assert metrics(equal).weighted_accuracy == pytest.approx(metrics(equal).accuracy)
    assert metrics(samples).weighted_accuracy is None
    assert metrics([*samples[:2], equal[2]]).weighted_accuracy is None
