"""The audit finds known faults of judges, and the tiny judge is as good as its card says."""

import asyncio
import json
import re

import pytest

from agents.judge import CRITERIA, Judge
from agents.session import Session
from espresso import profiles
from espresso.errors import DataError, EspressoError, ProfileError
from espresso.models import Completion, Roles, TokenCount
from espresso.schema import Answer, Evidence, Step
from espresso.world import questions_of, story
from eval.judge_audit import metrics
from eval.judge_audit.audit import audit
from eval.judge_audit.cases import make_cases
from eval.run_folder import RunConfig, RunFolder
from eval.sample import Sample


class Opinion:
    """A judge that scores by `score(reference, answer, seed)` and prefers the first answer."""

    context_length = 100_000

    def __init__(self, score, name="opinion"):
        self.score, self.name, self.closed = score, name, False

    async def chat(self, messages, *, schema=None, seed=0, **options):
        prompt = "\n".join(str(part) for message in messages for part in message.content)
        if "better" in schema.model_fields:
            return Completion('{"reason":"it is first","better":"first"}')
        lines = dict(re.findall(r"^([RA]): (.*)$", prompt, re.MULTILINE))
        criterion = {"reason": "so", "score": self.score(lines.get("R", ""), lines.get("A", ""), seed)}
        return Completion(json.dumps(dict.fromkeys(CRITERIA, criterion)))

    def count_tokens(self, messages):
        return TokenCount(1, 0)

    async def disconnect(self):
        pass

    def close(self):
        self.closed = True


def session_of(judge, tmp_path, **changes):
    profile = profiles.load("tiny").model_copy(update=changes)
    return Session(profile, roles=Roles(None, None, None, judge), cache=tmp_path / "replies")


def audited(score, tmp_path, *, compares=False, **arguments):
    changes = {"prompts": "general", "judge_compares": True} if compares else {}
    with session_of(Opinion(score), tmp_path, **changes) as session:
        return audit(session=session, **{"questions": 4, "samples": 2} | arguments)


def words(text):
    return set(re.findall(r"\w+", text))


def test_a_judge_that_looks_for_the_words_of_the_reference_ranks_what_lacks_them_below(tmp_path):
    result = audited(lambda reference, answer, seed: 10 if words(reference) <= words(answer) else 2, tmp_path)
    ranked = {share.what: share.share for share in result.ordered if share.grade is None}
    assert ranked["wrong option"] == ranked["off topic"] == 1
    assert ranked["rambling"] == 0  # a tie is wrong
    assert result.resistance[0].mean == 0
    assert result.repeated["overall"] == 1


def test_a_judge_that_counts_words_has_a_length_bias(tmp_path):
    result = audited(lambda reference, answer, seed: min(10, len(answer.split())), tmp_path)
    assert result.length.rho > 0.6
    assert result.rambling.mean > 1
    assert result.resistance[0].mean > 1
    assert next(share for share in result.ordered if share.what == "rambling").share < 0.1


def test_a_judge_with_random_scores_does_not_agree_with_itself(tmp_path):
    result = audited(lambda reference, answer, seed: (1, 10)[(len(answer) + seed) % 2], tmp_path)
    assert result.repeated["overall"] < 0


def test_a_judge_that_prefers_the_first_answer_has_an_order_bias(tmp_path):
    result = audited(lambda *_: 5, tmp_path, compares=True)
    assert result.order.flips.share == result.order.first.share == 1
    assert "order bias" not in result.not_measured


def test_findings_that_are_not_measured_have_a_reason(tmp_path):
    result = audited(lambda *_: 5, tmp_path)
    assert "one answer at a time" in result.not_measured["order bias"]
    assert "--answers" in result.not_measured["self-preference"]
    assert result.correlation == ()  # constant scores have no rank


def test_labels_are_read_and_compared_by_a_judge_that_can(tmp_path):
    row = {"idx": 1, "instruction": "Say it.", "input": "", "response1": "one", "response2": "two"}
    labels = tmp_path / "testset.json"
    labels.write_text(json.dumps([row | {f"annotator{number}": 1 for number in (1, 2, 3)}]))
    result = audited(lambda *_: 5, tmp_path, label_files=[labels])
    assert result.labels[0].judges == ()
    assert "cannot compare" in result.not_measured["agreement of this judge with people"]
    result = audited(lambda *_: 5, tmp_path, label_files=[labels], compares=True)
    assert [judge.judge for judge in result.labels[0].judges] == ["opinion"]


def test_a_given_session_stays_open(tmp_path):
    judge = Opinion(lambda *_: 5)
    with session_of(judge, tmp_path) as session:
        audit(session=session, questions=2)
        audit(session=session, questions=2)
    assert not judge.closed


def test_invalid_arguments_are_errors():
    with pytest.raises(DataError, match="2 or more"):
        audit(questions=1)
    with pytest.raises(DataError, match="--samples 1"):
        audit(temperature=0)
    with pytest.raises(ProfileError, match="has no judge"):
        audit(profile=profiles.load("tiny").model_copy(update={"judge": None}))


def test_an_audit_without_any_score_is_an_error(tmp_path):
    with pytest.raises(EspressoError, match=r"none of \d+ answers could be scored; the last: cannot parse the reply"):
        audited(lambda *_: 11, tmp_path)


def test_the_tiny_judge_is_as_reliable_as_its_card_says():
    with Session("tiny") as session:
        judge = Judge.from_session(session, samples=1, temperature=0)

        async def score_all():
            return await asyncio.gather(*(case.score_with(judge) for case in make_cases(12)))

        cases = session.run(score_all())
    assert metrics.ranking_accuracy(cases)[0].share >= 0.9
    assert next(each for each in metrics.correlation_with_truth(cases) if each.what == "overall").rho >= 0.8
    assert metrics.resistance(cases)[0].mean < 0.5


@pytest.fixture
def run_folder(tmp_path):
    """A run whose answers are wrong options."""
    config = RunConfig(
        bench="world", split="test", limit=None, strategy="blind", seed=0, profile={}, models={"reasoner": "opinion"},
        prompts={}, questions="1",
    )  # fmt: skip
    with RunFolder(tmp_path / "run", config) as folder:
        for question in questions_of(story("test", 0), "q"):
            wrong = next(option for option in question.options if option != question.answer)
            answer = Answer(
                question=question.without_truth(), text=wrong, confidence=None, evidence=Evidence(text=""), strategy="blind",
                profile="tiny", trace=(Step(node="answer"),),
            )  # fmt: skip
            folder.append(Sample(id=question.id, question=question, order=(), answer=answer))
        return folder.path


def test_a_judge_that_prefers_its_own_answers_has_a_self_preference(tmp_path, run_folder):
    lines = (run_folder / "samples.jsonl").read_text().splitlines()
    own = {json.loads(line)["answer"]["text"] for line in lines}
    result = audited(lambda reference, answer, seed: 8 if answer in own else 4, tmp_path, questions=2, answers=run_folder)
    assert result.preference.own
    assert result.preference.difference.mean > 2
    assert "self-preference" not in result.not_measured
