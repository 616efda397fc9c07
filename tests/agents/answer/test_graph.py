"""The answer graph: what each strategy looks at, and what happens when a model or the evidence lets it down."""

import json

import pytest

from agents.answer.context import AnswerContext
from agents.answer.graph import graph
from agents.answer.state import AnswerState
from agents.ask import answer as answer_question
from agents.session import Session
from espresso.schema import Question
from tests.agents.answer.conftest import OPTIONS, QUESTION, nodes, pictures


def test_the_selector_strategy_captions_selects_and_answers_from_the_chosen_frames(ask, roles):
    answer = ask()
    assert nodes(answer) == ["sample", "caption", "select", "evidence", "sufficient", "answer"]
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[2]]
    assert len(pictures(roles.reasoner.asked[0])) == 2
    assert answer.evidence.text == "the square moves right"
    assert (answer.choice, answer.text) == ("B", "right")


@pytest.mark.parametrize(
    ("strategy", "way"), [("selector", ["sample", "caption", "select", "answer"]), ("uniform", ["sample", "answer"])]
)
def test_a_direct_profile_answers_without_evidence(ask, roles, profile, says, strategy, way):
    roles.reasoner = says("B")
    answer = ask(strategy=strategy, profile=profile.model_copy(update={"direct": True}))
    assert nodes(answer) == way
    assert (answer.evidence.text, answer.choice) == ("", "B")


def test_blind_sees_nothing_and_has_no_evidence(ask, roles):
    answer = ask(strategy="blind")
    assert nodes(answer) == ["sample", "answer"]
    assert not pictures(roles.reasoner.asked[0])
    assert answer.evidence.text == ""
    assert answer.frames == answer.core_frames == ()


def test_every_step_says_what_it_cost(ask):
    answer = ask()
    models = {step.node: step.model for step in answer.trace}
    assert models == dict.fromkeys(("sample", "sufficient")) | {
        "caption": "captioner",
        "select": "selector",
        "evidence": "reasoner",
        "answer": "reasoner",
    }
    assert all(len(step.prompt) == 12 for step in answer.trace if step.model)
    assert answer.usage.tokens_in == sum(step.tokens_in for step in answer.trace) > answer.usage.tokens_visual > 0
    assert set(answer.usage.seconds) == set(models)
    assert [step.role for step in answer.trace] == [None, "captioner", "selector", "reasoner", None, "reasoner"]


def test_captions_that_are_given_are_read_by_the_selector_and_nothing_is_captioned(ask, roles, clip, session):
    captions = ask().captions[:4]
    roles.captioner.asked.clear()
    question = Question(id="q", visuals=(str(clip),), text=QUESTION, options=OPTIONS)
    answer = session.run(answer_question(question, session, captions=captions))
    assert nodes(answer) == ["sample", "select", "evidence", "sufficient", "answer"]
    assert answer.captions == captions
    assert answer.frames == tuple(caption.frame for caption in captions)
    assert not roles.captioner.asked


def test_progress_names_each_node_as_it_begins(ask):
    seen = []
    ask(on_progress=seen.append)
    assert [progress.node for progress in seen] == ["sample", "caption", "select", "evidence", "sufficient", "answer"]
    assert seen[1].text == "captioning 6 frames"


async def test_what_is_known_about_the_answer_never_reaches_a_model(clip, session):
    known = Question(id="q", visuals=(str(clip),), text=QUESTION, options=("left", "right"), answer="right")
    final = await graph.ainvoke(AnswerState(question=known), context=AnswerContext(session=session))
    assert final["question"].answer is None


async def test_langgraphs_own_tools_can_run_it_from_json(clip, roles, profile, monkeypatch):
    monkeypatch.setattr("agents.answer.context.shared_session", lambda profile: Session(profile, roles=roles))
    roles.reasoner.replies = ["the square moves right", "right"]  # `tiny` chooses by text
    asked = json.loads(Question(id="q", visuals=(str(clip),), text=QUESTION, options=OPTIONS).model_dump_json())
    final = await graph.ainvoke({"question": asked, "allow_out_of_domain": True}, context={"profile": "tiny"})
    assert final["choice"] == "B"
    assert final["confidence"] is None
    assert "--profile laptop" in final["warning"]
    assert (await graph.ainvoke({"question": asked, "allow_out_of_domain": True}))["text"] == "right"
    assert graph.get_context_jsonschema()["properties"].keys() == {"profile"}
