"""The answer graph: what each strategy looks at, and what happens when a model or the evidence lets it down."""

import json

import pytest

import espresso
from agents.answer.context import Run
from agents.answer.graph import graph
from agents.answer.state import AnswerState
from espresso.models import Picture
from espresso.schema import Question

QUESTION = "Where does the square go?"
OPTIONS = ["left", "right", "up", "down"]


@pytest.fixture
def ask(clip, roles, profile):
    def ask(text=QUESTION, **settings):
        return espresso.ask(clip, text, **{"roles": roles, "profile": profile, "options": OPTIONS} | settings)

    return ask


def nodes(answer):
    return [step.node for step in answer.trace]


def note(answer, node):
    return next(step.note for step in answer.trace if step.node == node)


def pictures(conversation):
    return [part for message in conversation for part in message.content if isinstance(part, Picture)]


def test_the_selector_strategy_captions_selects_and_answers_from_the_chosen_frames(ask, roles):
    answer = ask()
    assert nodes(answer) == ["sample", "caption", "select", "evidence", "sufficient", "answer"]
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[2]]
    assert len(pictures(roles.reasoner.asked[0])) == 2
    assert answer.evidence.text == "the square moves right"
    assert (answer.choice, answer.text) == ("B", "right")


def test_options_can_be_weighed_by_their_texts_instead_of_letters(ask, roles, profile, says):
    roles.reasoner = says("the square moves right", "right")
    answer = ask(profile=profile.model_copy(update={"choose": "texts"}))
    assert roles.reasoner.wishes[-1]["choices"] == OPTIONS
    assert (answer.choice, answer.text) == ("B", "right")
    assert answer.options_probability["B"] == pytest.approx(answer.confidence) == pytest.approx(0.8)
    assert set(answer.options_probability) == {"A", "B", "C", "D"}


@pytest.mark.parametrize(
    ("strategy", "way"), [("selector", ["sample", "caption", "select", "answer"]), ("uniform", ["sample", "answer"])]
)
def test_a_direct_profile_answers_without_evidence(ask, roles, profile, says, strategy, way):
    roles.reasoner = says("B")
    answer = ask(strategy=strategy, profile=profile.model_copy(update={"direct": True}))
    assert nodes(answer) == way
    assert (answer.evidence.text, answer.choice) == ("", "B")


def test_probabilities_are_told_for_every_option(ask):
    answer = ask()
    assert answer.options_probability["B"] == pytest.approx(answer.confidence) == pytest.approx(0.8)
    assert sum(answer.options_probability.values()) == pytest.approx(1)


def test_without_options_the_answer_is_free_text(ask, roles, says):
    roles.reasoner = says("the square moves right", " to the right ")
    answer = ask(options=None)
    assert (answer.text, answer.choice, answer.confidence, answer.options_probability) == ("to the right", None, 0.5, {})


def test_uniform_takes_exactly_as_many_frames_as_asked_and_captions_none(ask, roles):
    answer = ask(strategy="uniform", frames=5)
    assert nodes(answer) == ["sample", "evidence", "sufficient", "answer"]
    assert len(answer.core_frames) == len(answer.frames) == len(pictures(roles.reasoner.asked[-1])) == 5
    assert not roles.captioner.asked
    assert not roles.selector.asked


def test_uniform_takes_sixteen_frames_by_default(ask):
    assert len(ask(strategy="uniform").core_frames) == 16


def test_uniform_shares_its_frames_among_several_visuals(clip, roles, profile):
    answer = espresso.ask([clip, clip], QUESTION, roles=roles, profile=profile, strategy="uniform", frames=5)
    assert [frame.visual for frame in answer.frames] == [0, 0, 0, 1, 1]


def test_all_takes_every_sampled_frame(ask):
    answer = ask(strategy="all")
    assert len(answer.core_frames) == len(answer.frames) == 6


def test_blind_sees_nothing_and_has_no_evidence(ask, roles):
    answer = ask(strategy="blind")
    assert nodes(answer) == ["sample", "answer"]
    assert not pictures(roles.reasoner.asked[0])
    assert answer.evidence.text == ""
    assert answer.frames == answer.core_frames == ()


def test_given_core_frames_are_those_shown_nearest_to_their_times(ask, roles):
    answer = ask(strategy="given", core_frames=[2.01, 0.4])
    assert [core.time for core in answer.core_frames] == pytest.approx([0.375, 2.0])
    assert not roles.captioner.asked
    assert len(pictures(roles.reasoner.asked[0])) == 2


@pytest.mark.parametrize("strategy", ["selector", "uniform"])
def test_evidence_that_is_given_is_answered_from_and_not_asked_for(ask, roles, strategy):
    answer = ask(strategy=strategy, evidence=" The square leaves. ")
    assert "evidence" not in nodes(answer)
    assert answer.evidence.text == "The square leaves."
    (prompt,) = roles.reasoner.asked
    assert "The square leaves." in "".join(part for message in prompt for part in message.content if isinstance(part, str))


def test_neighbours_with_equal_captions_are_read_once_by_the_one_in_their_middle(ask, roles, says):
    roles.captioner = says("a red square", "a red square", "a red square", "a blue one", "a blue one", "a red square")
    roles.selector = says('{"frames": [1, 2, 3]}')
    answer = ask()
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[4], answer.frames[5]]


def test_a_selector_that_invents_frames_falls_back_to_even_ones(ask, roles, says):
    roles.selector = says('{"frames": [99]}')
    answer = ask()
    assert len(answer.core_frames) == 4
    assert "selector named no sampled frame: '{\"frames\": [99]}'" in note(answer, "select")


def test_a_selector_that_talks_falls_back_to_even_frames(ask, roles, says):
    roles.selector = says("I think frame two")
    answer = ask(frames=3)
    assert len(answer.core_frames) == 3
    assert "I think frame two" in note(answer, "select")


def test_what_the_selector_names_is_cleaned_cut_and_put_in_order(ask, roles, says):
    roles.selector = says('{"frames": [5, 99, 5, 1, 0, 3, 2]}')
    answer = ask(frames=3)
    assert [core.frame for core in answer.core_frames] == [answer.frames[0], answer.frames[2], answer.frames[4]]
    assert note(answer, "select") is None


def test_the_selector_reads_the_question_and_the_captions(ask, roles):
    ask()
    ((message,),) = roles.selector.asked
    assert QUESTION in message.content[0]
    assert message.content[0].count("a red square") == 6


def test_poor_evidence_asks_for_other_frames_once(ask, roles, says):
    roles.selector = says('{"frames": [2]}', '{"frames": [2, 5]}')
    roles.reasoner = says("Nothing about this is visible.", "the square moves right", "B")
    answer = ask()
    assert nodes(answer) == [
        "sample",
        "caption",
        "select",
        "evidence",
        "sufficient",
        "select",
        "evidence",
        "sufficient",
        "answer",
    ]
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[4]]
    assert "asked for other frames" in note(answer, "sufficient")


def test_evidence_that_stays_poor_is_answered_from_all_the_same(ask, roles, says):
    roles.reasoner = says("", "", "B")
    answer = ask()
    assert nodes(answer).count("select") == 2
    assert answer.trace[-2].note.endswith("answered all the same")
    assert answer.choice == "B"


def test_the_second_question_captions_nothing(ask, roles):
    first = ask()
    second = ask("What colour is it?")
    assert len(roles.captioner.asked) == 6
    (first, second) = (next(step for step in answer.trace if step.node == "caption") for answer in (first, second))
    assert second.cached == 6
    assert (second.tokens_in, second.saved_in) == (0, first.tokens_in)


def test_another_captioner_captions_anew(ask, roles, says):
    ask()
    roles.captioner = says("a crimson box", name="another")
    assert {caption.text for caption in ask().captions} == {"a crimson box"}


def test_without_a_cache_every_question_captions(ask, roles):
    ask(cache=False)
    ask(cache=False)
    assert len(roles.captioner.asked) == 12


def test_a_cache_that_cannot_be_used_is_a_note_not_a_failure(ask, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = ask(cache=tmp_path / "file")
    assert answer.choice == "B"
    assert "cache cannot be used" in note(answer, "caption")


def test_frames_over_the_token_budget_are_left_out_with_a_note(ask, roles):
    roles.reasoner.context_length = 256 + 80
    answer = ask(strategy="uniform", frames=8)
    assert "of 8 frames fit" in note(answer, "evidence")
    assert 0 < len(pictures(roles.reasoner.asked[0])) < 8


def test_adapters_are_used_stage_by_stage(ask, roles):
    roles.adapters = {"evidence": "stage-one", "answer": "stage-two"}
    ask()
    assert [wish["adapter"] for wish in roles.reasoner.wishes] == ["stage-one", "stage-two"]


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


def test_progress_names_each_node_as_it_begins(ask):
    seen = []
    ask(on_progress=seen.append)
    assert [progress.node for progress in seen] == ["sample", "caption", "select", "evidence", "sufficient", "answer"]
    assert seen[1].text == "captioning 6 frames"


async def test_what_is_known_about_the_answer_never_reaches_a_model(clip, roles, profile):
    known = Question(id="q", visuals=(str(clip),), text=QUESTION, options=("left", "right"), answer="right")
    run = Run(profile, roles=roles)
    final = await graph.ainvoke(AnswerState(question=known), context=run)
    assert final["question"].answer is None


async def test_langgraphs_own_tools_can_run_it_from_json(clip, roles, profile, monkeypatch):
    monkeypatch.setattr("agents.answer.context.connected", lambda _: roles)
    roles.reasoner.replies = ["the square moves right", "right"]  # `tiny` chooses by text
    asked = json.loads(Question(id="q", visuals=(str(clip),), text=QUESTION, options=OPTIONS).model_dump_json())
    final = await graph.ainvoke({"question": asked}, context={"profile": "tiny"})
    assert final["choice"] == "B"
    assert (await graph.ainvoke({"question": asked}))["text"] == "right"
    assert graph.get_context_jsonschema()["properties"].keys() == {"profile"}
