"""The audit: what it says of judges whose faults are known, and that the tiny judge is as good as its card says."""

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from agents.judge import CRITERIA, Judge
from espresso import profiles
from espresso.errors import DataError
from espresso.models import Completion, Roles, TokenCount, connect
from eval.judge_audit import metrics as trust
from eval.judge_audit.audit import Audit, audit
from eval.judge_audit.cases import trials
from eval.judge_audit.report import write
from eval.log.run_folder import samples_in
from eval.run import run


class Opinion:
    """A judge double: `score` gives its overall from reference and answer; of two answers it prefers the first it is shown."""

    context_length = 100_000

    def __init__(self, score, name="opinion"):
        self.score, self.name = score, name

    async def chat(self, messages, *, schema=None, seed=0, **wishes):
        prompt = "\n".join(str(part) for message in messages for part in message.content)
        if "better" in schema.model_fields:
            return Completion('{"reason":"it is first","better":"first"}')
        lines = dict(re.findall(r"^([RA]): (.*)$", prompt, re.MULTILINE))
        said = {"reason": "so", "score": self.score(lines.get("R", ""), lines.get("A", ""), seed)}
        return Completion(json.dumps(dict.fromkeys(CRITERIA, said)))

    def count_tokens(self, messages):
        return TokenCount(1, 0)

    async def aclose(self):
        pass


def audited(score, tmp_path, *, prompts="tiny", **wishes):
    judge = Opinion(score, name=f"opinion {tmp_path}")
    profile = profiles.load("tiny").model_copy(update={"prompts": prompts})
    return audit(profile=profile, questions=4, roles=Roles(None, None, None, judge), **{"samples": 2, **wishes})


def words(text):
    return set(re.findall(r"\w+", text))


def test_a_judge_that_looks_for_the_reference_orders_what_lacks_it(tmp_path):
    found = audited(lambda reference, answer, seed: 10 if words(reference) <= words(answer) else 2, tmp_path)
    ordered = {share.what: share.share for share in found.ordered if share.grade is None}
    assert ordered["wrong option"] == ordered["off topic"] == 1
    assert ordered["rambling"] == 0  # a tie is not an order
    assert found.resistance[0].mean == 0
    assert found.repeated["overall"] == 1


def test_a_judge_that_counts_words_is_found_out(tmp_path):
    found = audited(lambda reference, answer, seed: min(10, len(answer.split())), tmp_path)
    assert found.length.rho > 0.6
    assert found.rambling.mean > 1
    assert found.resistance[0].mean > 1
    assert next(share for share in found.ordered if share.what == "rambling").share < 0.1


def test_a_judge_that_says_another_thing_each_time_does_not_agree_with_itself(tmp_path):
    found = audited(lambda reference, answer, seed: (1, 10)[(len(answer) + seed) % 2], tmp_path)
    assert found.repeated["overall"] < 0


def test_a_judge_that_prefers_the_first_place_is_found_out(tmp_path):
    found = audited(lambda *_: 5, tmp_path, prompts="general")
    assert found.order.flips.share == found.order.first.share == 1


def test_what_is_not_measured_says_why(tmp_path):
    found = audited(lambda *_: 5, tmp_path)
    assert "one answer at a time" in found.not_measured["order bias"]
    assert "--answers" in found.not_measured["self-preference"]
    assert found.correlation == ()  # a judge that always says the same cannot be ranked


def test_the_page_and_the_json_hold_the_same_audit(tmp_path):
    found = audited(lambda reference, answer, seed: 1 + len(answer) % 10, tmp_path)
    write(found, tmp_path / "out")
    assert Audit.model_validate_json((tmp_path / "out" / "audit.json").read_text()) == found
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Ordered right" in page
    assert not re.search(r'(src|href)="', page)


def test_an_audit_that_measures_nothing_is_refused():
    with pytest.raises(DataError, match="2 or more"):
        audit(questions=1)
    with pytest.raises(DataError, match="--samples 1"):
        audit(temperature=0)


def test_the_tiny_judge_can_be_trusted_as_far_as_its_card_says():
    settings = profiles.load("tiny")
    judge = Judge.of(settings, connect(settings), samples=1, temperature=0)
    asked = trials(12)

    async def put():
        return await asyncio.gather(*(trial.put(judge) for trial in asked))

    tried = asyncio.run(put())
    assert trust.ordered(tried)[0].share >= 0.9
    assert next(each for each in trust.truthful(tried) if each.what == "overall").rho >= 0.8
    assert trust.resistance(tried)[0].mean < 0.5


def test_a_judge_that_prefers_its_own_answers_is_found_out(roles, tmp_path):
    roles.reasoner.knows = {}  # it takes the first option, which is mostly wrong
    folder = Path(run("world", limit=6, roles=roles, out=tmp_path / "run").folder)
    given = {sample.answer.text for sample in samples_in(folder) if not sample.scores.correct}
    profile = profiles.load("tiny")
    judge = Opinion(lambda reference, answer, seed: 8 if answer in given else 4, name=roles.reasoner.name)
    found = audit(profile=profile, questions=2, samples=2, answers=folder, roles=replace(roles, judge=judge))
    assert found.preference.own
    assert found.preference.difference.mean > 2
    assert "self-preference" not in found.not_measured
