"""`response_format`: what an answer has is given, anything else is refused in one sentence."""

import json

import pytest

from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question
from serving.api.json_reply import ResponseFormat, json_form
from serving.errors import RequestError

CORE = (CoreFrame(frame=Frame(index=9, time=1.5), why="it hits"),)


def answer(text="the red circle", choice="B"):
    return Answer(
        question=Question(id="q", visuals=("clip.mp4",), text="Which?"),
        text=text,
        choice=choice,
        confidence=0.75,
        evidence=Evidence(text="it hits the square", core_frames=CORE),
        core_frames=CORE,
        strategy="selector",
        profile="tiny",
    )


def form(properties, **more):
    schema = {"type": "object", "properties": properties, **more}
    return json_form(ResponseFormat.model_validate({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}))


def test_text_and_no_format_are_plain_text():
    assert json_form(None) is None
    assert json_form(ResponseFormat(type="text")) is None


def test_a_json_object_has_all_fields():
    reply = json.loads(json_form(ResponseFormat(type="json_object")).text(answer()))
    assert reply == {
        "answer": "the red circle", "choice": "B", "confidence": 0.75, "evidence": "it hits the square", "core_frames": [1.5],
    }  # fmt: skip


def test_a_schema_selects_fields():
    strict = form(
        {
            "evidence": {"type": "string"},
            "answer": {"type": "string"},
            "core_frames": {"type": "array", "items": {"type": "number"}},
        },
        required=["evidence", "answer", "core_frames"],
        additionalProperties=False,
    )
    assert json.loads(strict.text(answer())) == {
        "evidence": "it hits the square",
        "answer": "the red circle",
        "core_frames": [1.5],
    }


def test_an_enum_of_answers_gives_the_options():
    assert form({"answer": {"type": "string", "enum": ["blue", "red"]}}).options == ("blue", "red")
    assert form({"answer": {"type": "string"}}).options is None


@pytest.mark.parametrize(
    ("properties", "more", "message"),
    [
        ({"mood": {"type": "string"}}, {}, "no field 'mood'"),
        ({"answer": {"type": "string"}}, {"required": ["answer", "mood"]}, "no field 'mood'"),
        ({"answer": {"type": "integer"}}, {}, "not of type 'integer'"),
        ({"answer": {"$ref": "#/$defs/nothing"}}, {}, "keyword '.ref' is not supported"),
        ({"answer": {"type": "strong"}}, {}, "cannot have this form"),
        ({"answer": {"anyOf": [{"$ref": "http://127.0.0.1:9/x"}]}}, {}, "keyword '.ref' is not supported"),
        ({"answer": {"type": "string", "pattern": "(a|a)*$"}}, {}, "keyword 'pattern' is not supported"),
        ({}, {}, "object with properties"),
    ],
)
def test_what_an_answer_does_not_have_is_refused_in_one_sentence(properties, more, message):
    with pytest.raises(RequestError, match=message) as refused:
        form(properties, **more)
    assert "\n" not in str(refused.value)


def test_a_schema_is_not_nested_deeply():
    schema = {"type": "string"}
    for _ in range(20):
        schema = {"anyOf": [schema, schema]}
    with pytest.raises(RequestError, match="nested deeper"):
        form({"answer": schema})


def test_optional_fields_as_pydantic_writes_them():
    optional = form({"confidence": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None, "title": "Confidence"}})
    assert json.loads(optional.text(answer())) == {"confidence": 0.75}


def test_other_formats_are_refused():
    with pytest.raises(RequestError, match="'grammar' is not supported"):
        json_form(ResponseFormat(type="grammar"))


def test_an_answer_that_does_not_fit_is_an_error():
    with pytest.raises(RequestError, match="does not fit the schema"):
        form({"answer": {"type": "string", "minLength": 12}}).text(answer("short"))
    with pytest.raises(RequestError, match="does not fit the schema"):
        form({"choice": {"type": "string"}}).text(answer(choice=None))
