"""The classify node: small classifiers with random weights, of two clips of the world and of puzzles."""

import re
import shutil

import pytest
import torch

import espresso
from agents.session import Session
from espresso import profiles, world
from espresso.datasets.raiv.questions import DATASET
from espresso.datasets.raiv.reasons import DATASET as REASONS
from espresso.datasets.smart101.evidence import true_facts
from espresso.datasets.smart101.puzzles import instance, rendered
from espresso.datasets.smart101.questions import DATASET as PUZZLES
from espresso.errors import ModelError, ProfileError, QuestionError
from espresso.fusion.config import FusionConfig, PuzzleConfig
from espresso.profiles import FusionRole
from finetune.fusion.build import build_classifier, build_processor, build_puzzles
from finetune.fusion.config import FusionTraining, PuzzlesConfig

STATEMENT = "Both videos show a red star."
OPTIONS = ["True", "False"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    questions = world.make("val", 2, folder)
    return sorted({visual for question in questions for visual in question.visuals})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that reads three frames of a video."""
    path = tmp_path_factory.mktemp("classifier")
    config = FusionTraining(
        encoders={"image_size": 32, "vision_layers": 1, "text_layers": 1},
        architecture={"hidden": 16, "heads": 2, "feed_forward": 16, "layers": 1, "frames": 3},
        output=path,
    )
    processor = build_processor(config.encoders)
    torch.manual_seed(0)
    build_classifier(config, processor, None).save_pretrained(path)
    processor.save_pretrained(path)
    assert FusionConfig.from_pretrained(path).frames == 3
    return path


@pytest.fixture(scope="module")
def session(folder):
    profile = profiles.load("tiny").model_copy(update={"classifier": FusionRole(model=str(folder)), "strategy": "classifier"})
    with Session(profile, cache=False) as opened:
        yield opened


def test_a_statement_about_two_clips_is_classified_by_the_profile_s_own_strategy(session, clips):
    visuals = [clips[0], f"{clips[0]}#t=1,3"]
    answer = espresso.ask(visuals, STATEMENT, options=OPTIONS, session=session)
    assert [step.node for step in answer.trace] == ["sample", "classify"]
    assert answer.trace[1].role == "classifier"
    assert answer.trace[1].model == session.roles.classifier.name
    assert [frame.visual for frame in answer.frames] == [0, 0, 0, 1, 1, 1]
    assert answer.text in OPTIONS
    assert answer.confidence == max(answer.options_probability.values())
    assert sum(answer.options_probability.values()) == pytest.approx(1)
    assert not answer.evidence.text


def test_the_order_of_true_and_false_does_not_count(session, clips):
    one, other = (
        espresso.ask([clips[0], clips[0]], STATEMENT, options=options, session=session) for options in (OPTIONS, OPTIONS[::-1])
    )
    assert one.text == other.text
    assert one.confidence == pytest.approx(other.confidence)


def test_other_options_are_scored_one_by_one(session, clips):
    options = ["A red star can be seen in the first video.", "A red star can be seen in the second video.", "Neither."]
    answer = espresso.ask([clips[0], clips[0]], STATEMENT, options=options, session=session)
    assert len(answer.options_probability) == 3
    assert answer.text == options["ABC".index(answer.choice)]


@pytest.mark.parametrize(("count", "options"), [(1, OPTIONS), (3, OPTIONS), (2, None)])
def test_other_questions_are_refused_in_one_sentence(session, clips, count, options):
    with pytest.raises(QuestionError, match="compares two visuals and chooses an option"):
        espresso.ask([clips[0]] * count, STATEMENT, options=options, session=session)


def test_a_profile_without_a_classifier_says_so(clips):
    with Session("tiny", cache=False) as tiny, pytest.raises(ProfileError, match="profile tiny has no classifier"):
        espresso.ask([clips[0]] * 2, STATEMENT, options=OPTIONS, session=tiny, strategy="classifier")


def test_a_folder_without_a_classifier_is_named(clips, tmp_path):
    profile = profiles.load("tiny").model_copy(update={"classifier": FusionRole(model=str(tmp_path))})
    with Session(profile, cache=False) as opened, pytest.raises(ModelError, match=f"{tmp_path}.*classifier"):
        espresso.ask([clips[0]] * 2, STATEMENT, options=OPTIONS, session=opened, strategy="classifier")


def test_the_shipped_classifier_judges_statements_and_chooses_reasons():
    statements = DATASET.load("test", 60).questions
    why = REASONS.load("test", 30).questions
    with Session("raiv", cache=False) as opened:
        right = [
            answer.text == question.answer
            for questions in (statements, why)
            for question, answer in zip(
                questions, espresso.ask_many([each.without_truth() for each in questions], session=opened), strict=True
            )
        ]
    assert sum(right[:60]) > 0.6 * 60
    assert sum(right[60:]) > 0.5 * 30


def test_the_reasoner_of_the_same_profile_gives_evidence_over_both_visuals():
    statements = DATASET.load("test", 12).questions
    with Session("raiv", cache=False) as opened:
        answers = list(espresso.ask_many([each.without_truth() for each in statements], session=opened, strategy="selector"))
    for answer in answers:
        assert answer.text in OPTIONS
        assert re.match(r"first: .+\. second: .+\.", answer.evidence.text)
        assert {each.frame.visual for each in answer.core_frames} == {0, 1}


def test_the_shipped_classifier_of_puzzles_reads_their_pictures():
    questions = PUZZLES.load("test", 124).questions
    with Session("smart101", cache=False) as opened:
        answers = list(espresso.ask_many([each.without_truth() for each in questions], session=opened))
    right = [answer.text == question.answer for question, answer in zip(questions, answers, strict=True)]
    assert sum(right) > 0.3 * 124  # guesses are that good once in 300 times


def test_the_reasoner_of_the_same_profile_says_what_the_picture_shows():
    known = ("22-", "53-", "62-", "97-")  # puzzles that it has learned
    questions = [each for each in PUZZLES.load("test", 155).questions if each.id.startswith(known)]
    with Session("smart101", cache=False) as opened:
        answers = list(espresso.ask_many([each.without_truth() for each in questions], session=opened, strategy="selector"))
    facts = [fact for question, answer in zip(questions, answers, strict=True) for fact in true_facts(question, answer)]
    assert len(facts) > 4 * len(questions)
    assert sum(facts) > 0.8 * len(facts)
    right = [answer.text == question.answer for question, answer in zip(questions, answers, strict=True)]
    assert sum(right) > 0.5 * len(questions)  # guesses are that good once in 1,700 times


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory):
    """A session whose classifier solves puzzles."""
    path = tmp_path_factory.mktemp("puzzles")
    config = FusionTraining(
        encoders={"image_size": 32, "vision_layers": 1, "text_layers": 1, "words": "smart101"},
        architecture={"hidden": 16, "heads": 2, "feed_forward": 16, "layers": 1, "frames": 1},
        output=path,
    )
    processor = build_processor(config.encoders)
    torch.manual_seed(0)
    head = PuzzlesConfig(epochs=1, batch=1, learning_rate=1e-3)
    build_puzzles(config, head, processor, None, {}).save_pretrained(path)
    processor.save_pretrained(path)
    changes = {"classifier": FusionRole(model=str(path)), "strategy": "classifier", "world_only": False}
    with Session(profiles.load("tiny").model_copy(update=changes), cache=False) as opened:
        yield opened


def test_a_puzzle_is_solved_from_its_picture(puzzles, tmp_path):
    one, picture = instance(2, 0), str(make_picture(tmp_path))
    answer = espresso.ask(picture, one.question, options=one.options, session=puzzles)
    assert [step.node for step in answer.trace] == ["sample", "classify"]
    assert len(answer.options_probability) == 5
    assert answer.text == one.options["ABCDE".index(answer.choice)]
    assert answer.confidence == max(answer.options_probability.values())
    two = espresso.ask(picture, one.question, options=one.options[::-1], session=puzzles)
    assert two.text == answer.text, "the order of the options does not count"


@pytest.mark.parametrize(("count", "options"), [(2, OPTIONS), (1, None)])
def test_what_is_no_puzzle_is_refused_in_one_sentence(puzzles, clips, count, options):
    with pytest.raises(QuestionError, match="answers a question about one image by choosing an option"):
        espresso.ask([clips[0]] * count, STATEMENT, options=options, session=puzzles)


def test_a_head_per_puzzle_cannot_answer_questions(puzzles, tmp_path):
    folder = shutil.copytree(puzzles.profile.classifier.model, tmp_path / "model")
    config = PuzzleConfig.from_pretrained(folder)
    config.head, config.answers = "per-puzzle", {"2": [[1, 2]]}
    config.save_pretrained(folder)
    profile = puzzles.profile.model_copy(update={"classifier": FusionRole(model=str(folder))})
    with Session(profile, cache=False) as opened, pytest.raises(ModelError, match="its head is 'per-puzzle'"):
        espresso.ask(str(make_picture(tmp_path)), "How many?", options=list("12"), session=opened)


def make_picture(folder):
    rendered(instance(2, 0).picture).save(folder / "puzzle.png")
    return folder / "puzzle.png"
