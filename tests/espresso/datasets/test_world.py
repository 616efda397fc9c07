import pytest

from espresso import world as generated
from espresso.datasets import DatasetFiles, world
from espresso.errors import DataError
from espresso.schema import Answer, Evidence


@pytest.fixture
def questions():
    return world.questions("test", 6)


def true_facts(question, evidence):
    answer = Answer(
        question=question.without_truth(), text="", confidence=0, evidence=Evidence(text=evidence), strategy="all", profile="tiny"
    )
    return world.true_facts(question, answer)


def test_fewer_questions_are_the_first_of_more(questions):
    rendered = []
    loaded = world.DATASET.load("test", 2, None, lambda done, total: rendered.append(done))
    assert loaded.questions == questions[:2]
    assert rendered == []


def test_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="Leave out --data and --videos"):
        world.DATASET.load("test", 1, DatasetFiles(tmp_path / "x.csv"))


def test_the_reference_evidence_is_true(questions):
    for question in questions:
        assert true_facts(question, question.truth.evidence) == [True] * len(question.truth.facts)


def test_a_true_fact_at_another_time_is_false(questions):
    question = questions[0]
    late = question.truth.spans[0].end + 0.2
    assert true_facts(question, f"{late:.1f}s: {question.truth.facts[0]}.") == [False]


def test_evidence_without_facts_has_none_to_check(questions):
    assert true_facts(questions[0], "nothing seen.") == []


def test_the_true_caption_of_a_needed_frame_is_its_fact(questions):
    for question in questions:
        for span, fact in zip(question.truth.spans, question.truth.facts, strict=True):
            assert world.true_caption(question.visuals[0], (span.start + span.end) / 2) == fact
    assert world.true_caption(questions[0].visuals[0], 0) == generated.NOTHING


def test_another_video_has_no_ground_truth(video):
    with pytest.raises(DataError, match="no ground truth"):
        world.true_caption(str(video), 0)


def test_examples_are_the_same_for_the_same_seed_and_evidence_is_what_frames_show():
    def examples(seed):
        return world.DATASET.examples("train", 40, seed=seed, spare=0.5, missing=0.2).examples

    some = examples(1)
    assert some == examples(1) != examples(2)
    assert len(some) == 40
    truth = {
        question.id: question.truth
        for index in range(40)
        for question in generated.questions_of(generated.story("train", index), "")
    }
    without = 0
    for example in some:
        shown = [fact for fact in truth[example.id].facts if fact in example.evidence]
        assert bool(shown) == (example.evidence != "nothing seen.")
        without += not shown
    assert without < 20
    assert some[0].frames[0].pixels(112).shape == (112, 112, 3)


def test_examples_start_at_the_first_story():
    (example, *_) = world.DATASET.examples("val", 2, first=7).examples
    assert example.id == "val-00007-0"


def test_examples_can_have_evenly_spaced_frames():
    for example in world.DATASET.examples("train", 6, uniform=16).examples:
        gaps = [later.time - earlier.time for earlier, later in zip(example.frames, example.frames[1:], strict=False)]
        assert len(example.frames) == 16
        assert max(gaps) - min(gaps) < 0.01


def test_examples_can_be_limited_to_some_tasks():
    for example in world.DATASET.examples("train", 5, tasks=("Role Identification",)).examples:
        _, index, number = example.id.split("-")
        assert generated.story("train", int(index)).motifs[int(number)].task == "Role Identification"
