"""The records: they round-trip through JSON and refuse what cannot be."""

import json

import pytest
from pydantic import ValidationError

from espresso.schema import (
    Answer,
    Caption,
    CoreFrame,
    Evidence,
    Frame,
    KeyItem,
    Question,
    Span,
    Step,
    Task,
    Truth,
    Usage,
    Verdict,
    Visual,
)

FRAME = Frame(index=30, time=1.0)
CORE = CoreFrame(frame=FRAME, why="red square hits blue circle")
QUESTION = Question(
    id="q1",
    visuals=("clip.mp4",),
    text="Why does the blue circle move?",
    options=("the red square hit it", "the red square pushed it"),
    task=Task.CAUSAL,
    answer="the red square hit it",
    truth=Truth(
        spans=(Span(start=0.5, end=1.5),), facts=("red square hits blue circle",), evidence="1.0s: red square hits blue circle."
    ),
)
RECORDS = [
    FRAME,
    CORE,
    QUESTION,
    Visual(source="clip.mp4", digest="ab", kind="video", width=224, height=224, duration=9.5, fps=12, frame_count=114),
    Caption(frame=FRAME, text="red square hits blue circle"),
    Verdict(logic=8, factuality=7, accuracy=7, conciseness=9, overall=8, reasons={"logic": "follows"}),
    Answer(
        question=QUESTION,
        text="the red square hit it",
        choice="A",
        confidence=0.9,
        evidence=Evidence(
            text="1.0s: it hits.", core_frames=(CORE,), key_items=(KeyItem(label="square", frame=FRAME, box=(1, 2, 3, 4)),)
        ),
        core_frames=(CORE,),
        strategy="selector",
        profile="tiny",
        trace=(Step(node="select", seconds=0.1, note="fell back"),),
        usage=Usage(tokens_in=10, seconds={"select": 0.1}),
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_survives_json(record):
    assert type(record).model_validate_json(record.model_dump_json()) == record


def test_a_misspelt_field_is_refused():
    with pytest.raises(ValidationError, match="indx"):
        Frame.model_validate({"indx": 1, "time": 0.0})


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError):
        FRAME.time = 2.0


@pytest.mark.parametrize("options", [("only",), (), ("same", "same")])
def test_options_are_two_or_more_different_ones(options):
    with pytest.raises(ValidationError, match="two or more different"):
        Question(id="q", visuals=("clip.mp4",), text="Why?", options=options)


def test_the_reference_answer_is_one_of_the_options():
    with pytest.raises(ValidationError, match="not one of its options"):
        Question(id="q", visuals=("clip.mp4",), text="Why?", options=("a", "b"), answer="c")


def test_a_question_without_a_group_is_written_as_by_older_versions():
    assert "group" not in QUESTION.model_dump_json()
    grouped = QUESTION.model_copy(update={"group": "sentence 1"})
    assert Question.model_validate_json(grouped.model_dump_json()) == grouped


def test_a_question_without_a_weight_is_written_as_by_older_versions():
    assert "weight" not in QUESTION.model_dump_json()
    weighted = QUESTION.model_copy(update={"weight": 3.0})
    assert Question.model_validate_json(weighted.model_dump_json()) == weighted


def test_a_question_as_asked_holds_neither_answer_nor_truth():
    asked = QUESTION.without_truth()
    assert asked.answer is None
    assert asked.truth is None
    assert asked.options == QUESTION.options


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("Causal Inference", Task.CAUSAL),
        ("narra.", Task.NARRATIVE),
        ("event dynamic", Task.EVENT),
        ("Preparation Steps", Task.INGREDIENT),
    ],
)
def test_a_task_goes_by_all_its_names(name, task):
    assert Task.parse(name) is task


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(ValueError, match="Traffic Analysis"):
        Task.parse("Juggling")


def test_four_groups_hold_all_tasks():
    assert {task.group for task in Task} == {
        "Logical Reasoning", "Social Understanding", "Discourse Comprehension", "Reality Application",
    }  # fmt: skip


def test_a_span_holds_the_frames_inside_it():
    assert Span(start=0.5, end=1.5).holds(FRAME)
    assert not Span(start=1.1, end=1.5).holds(FRAME)
    assert not Span(start=0.5, end=1.5, visual=1).holds(FRAME)


def test_a_record_with_text_that_is_not_unicode_is_written_with_escapes():
    question = Question(id="q", visuals=("caf\udce9.mp4",), text="Où?", truth=Truth(spans=(), facts=(), evidence=""))
    for indent in (None, 2):
        text = question.model_dump_json(indent=indent, exclude={"id"})
        assert json.loads(text)["visuals"] == ["caf\\udce9.mp4"]
        assert "Où?" in text
        assert ("\n" in text) == (indent is not None)
    again = Question.model_validate_json(question.model_dump_json())
    assert again.model_copy(update={"visuals": question.visuals}) == question
