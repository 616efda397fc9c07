"""Boxes of key items: what the evidence names is located in the core frames, and a failure only costs the boxes."""

import json

import pytest

import espresso
from espresso import world
from tests.agents.answer.conftest import nodes, note

BOX = "<obj_start>red square<obj_end><box_start>[250, 500, 750, 1000]<box_end>"


@pytest.fixture
def boxed(ask, roles, profile, says):
    """Ask with a detector and the templates of public models; the reasoner lists `things`."""

    def boxed(things=("red square",), detector=(BOX,), **settings):
        listed = things if isinstance(things, str) else json.dumps({"things": things})
        roles.reasoner = says("the red square moves right", listed, "B", name="reasoner")
        roles.detector = says(*detector, name="detector")
        return ask(profile=profile.model_copy(update={"prompts": "general"}), boxes=True, **settings)

    return boxed


def test_what_the_evidence_names_is_located_in_the_core_frames(boxed, roles):
    answer = boxed()
    assert nodes(answer)[-3:] == ["name", "ground", "answer"]
    assert [(item.label, item.frame, item.box) for item in answer.evidence.key_items] == [
        ("red square", core.frame, (16, 32, 48, 64)) for core in answer.core_frames
    ]
    steps = {step.node: step for step in answer.trace}
    assert [(steps[name].role, steps[name].model) for name in ("name", "ground")] == [
        ("reasoner", "reasoner"),
        ("detector", "detector"),
    ]
    assert steps["ground"].frames == len(roles.detector.asked) == 2
    assert steps["ground"].tokens_visual > 0
    assert answer.choice == "B"


def test_a_thing_that_is_not_found_has_no_box(boxed):
    answer = boxed(["red square", "Dog", "dog", " "], [BOX])
    assert {item.label: item.box is not None for item in answer.evidence.key_items} == {"red square": True, "Dog": False}


@pytest.mark.parametrize(
    ("things", "sentence"),
    [([], None), ("I see none", "no JSON"), ([f"thing {number}" for number in range(12)], "only the first 8 of 12")],
)
def test_evidence_without_things_has_no_boxes_and_an_unusable_list_is_a_note(boxed, things, sentence):
    answer = boxed(things)
    assert answer.choice == "B"
    assert ("ground" in nodes(answer)) == (len(things) == 12)
    assert sentence is None or sentence in note(answer, "name")


def test_a_detector_that_fails_costs_the_boxes_only(boxed, monkeypatch):
    async def fail(*_):
        raise espresso.ModelError("detector: out of memory.")

    monkeypatch.setattr("agents.grounding._ask", fail)
    answer = boxed()
    assert note(answer, "ground") == "detector: out of memory."
    assert answer.choice == "B"
    assert not any(item.box for item in answer.evidence.key_items)


def test_a_question_without_frames_has_no_boxes(boxed):
    answer = boxed(strategy="blind")
    assert nodes(answer) == ["sample", "answer"]
    assert answer.evidence.key_items == ()


def test_things_in_given_evidence_are_located(ask, roles, profile, says):
    roles.reasoner, roles.detector = says('{"things": ["red square"]}', "B", name="reasoner"), says(BOX, name="detector")
    answer = ask(
        profile=profile.model_copy(update={"prompts": "general"}),
        strategy="uniform",
        frames=2,
        evidence="a red square",
        boxes=True,
    )
    assert nodes(answer) == ["sample", "name", "ground", "answer"]
    assert [item.box is not None for item in answer.evidence.key_items] == [True, True]


def test_boxes_need_a_detector(ask):
    with pytest.raises(espresso.ProfileError, match="has no detector"):
        ask(boxes=True)


def test_without_boxes_nothing_is_looked_for(ask, roles, says):
    roles.detector = says(BOX, name="detector")
    assert ask().evidence.key_items == ()
    assert not roles.detector.asked


def test_tiny_locates_the_things_of_the_world(tmp_path):
    (question, *_) = world.demo_clip(tmp_path / "clip.mp4", 7)
    answer = espresso.ask(tmp_path / "clip.mp4", question.text, options=question.options, boxes=True)
    assert set(answer.evidence.key_items[0].label.split()) <= set(answer.evidence.text.replace(".", "").split())
    (named,) = (step for step in answer.trace if step.node == "name")
    assert (named.role, named.model) == (None, None)
    asked = question.model_copy(update={"visuals": (str(tmp_path / "clip.mp4"),)})
    (batched,) = espresso.ask_many([asked], boxes=True)
    assert batched.evidence == answer.evidence
