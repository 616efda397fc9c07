"""The evidence node: given evidence, token budget, adapters."""

import pytest

from espresso.errors import ModelError
from tests.agents.answer.conftest import nodes, note, pictures


@pytest.mark.parametrize("strategy", ["selector", "uniform"])
def test_evidence_that_is_given_is_answered_from_and_not_asked_for(ask, roles, strategy):
    answer = ask(strategy=strategy, evidence=" The square leaves. ")
    assert "evidence" not in nodes(answer)
    assert answer.evidence.text == "The square leaves."
    (prompt,) = roles.reasoner.asked
    assert "The square leaves." in "".join(part for message in prompt for part in message.content if isinstance(part, str))


def test_frames_over_the_token_budget_are_left_out_with_a_note(ask, roles):
    roles.reasoner.context_length = 256 + 80
    answer = ask(strategy="uniform", frames=8)
    assert "of 8 frames fit" in note(answer, "evidence")
    assert 0 < len(pictures(roles.reasoner.asked[0])) < 8


def test_adapters_are_used_stage_by_stage(ask, roles):
    roles.adapters = {"evidence": "stage-one", "answer": "stage-two"}
    ask()
    assert [wish["adapter"] for wish in roles.reasoner.wishes] == ["stage-one", "stage-two"]


def test_evidence_that_is_cut_off_is_an_error_with_the_reason(ask, roles):
    roles.reasoner.faults = {0: "the reply was cut off at 256 tokens"}
    with pytest.raises(ModelError, match="gave no evidence: the reply was cut off at 256 tokens"):
        ask()


def test_captions_between_the_core_frames_are_read_as_text(ask, roles, profile, says):
    roles.captioner = says("first", "second", "third", "fourth", "fifth", "sixth")
    roles.selector = says('{"frames": [2, 5]}')
    ask(profile=profile.model_copy(update={"captions_between": True}))
    text = "".join(part for message in roles.reasoner.asked[0] for part in message.content if isinstance(part, str))
    assert [word for word in ("first", "second", "third", "fourth", "fifth", "sixth") if word in text] == ["third", "fourth"]
    assert len(pictures(roles.reasoner.asked[0])) == 2
