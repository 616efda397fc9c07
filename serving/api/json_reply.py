"""Replies as JSON: what `response_format` asks for, as far as an answer has it.

An answer has the fields of `FIELDS`. A schema may ask for any of them, by name and type; a schema
that asks for others is refused before the question is asked. A string field `answer` with an `enum`
makes the question one with these options.

A schema may use the keywords of `KEYWORDS` only. References could load other files, and patterns
and references could keep the validator busy for hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
from pydantic import BaseModel, ConfigDict, Field

from espresso.schema import Answer, Record
from serving.errors import RequestError

FIELDS: Mapping[str, Any] = {
    "answer": "the red circle",
    "choice": "A",
    "confidence": 0.5,
    "evidence": "the red circle hits the blue square",
    "core_frames": [1.5],
}
"""Name -> an example. `core_frames` are times in seconds; `choice` and `confidence` may be null."""


KEYWORDS = frozenset(
    (
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "properties",
        "required",
        "title",
        "type",
    )
)
"""Keywords of JSON Schema that a schema may use."""

MAX_DEPTH = 8
"""Deepest nesting of a schema."""


class JsonSchema(BaseModel):
    """`json_schema` of OpenAI's `response_format`."""

    model_config = ConfigDict(extra="ignore")

    name: str = "answer"
    """Name of the schema; not used."""

    content: dict[str, Any] = Field(alias="schema")
    """The schema."""


class ResponseFormat(BaseModel):
    """`response_format` of OpenAI's API."""

    model_config = ConfigDict(extra="ignore")

    type: str
    """`text`, `json_object` or `json_schema`."""

    json_schema: JsonSchema | None = None
    """The schema, for `json_schema`."""


class JsonForm(Record):
    """The form of a JSON reply."""

    names: tuple[str, ...]
    """The fields of the reply, in order."""

    content: dict[str, Any]
    """The schema of the reply."""

    options: tuple[str, ...] | None = None
    """The options that the schema gives, if it gives any."""

    def text(self, answer: Answer) -> str:
        """Return the JSON of an answer.

        Raises:
            RequestError: the answer does not fit the schema.
        """
        values = {
            "answer": answer.text,
            "choice": answer.choice,
            "confidence": answer.confidence,
            "evidence": answer.evidence.text,
            "core_frames": [round(core.time, 3) for core in answer.core_frames],
        }
        reply = {name: values[name] for name in self.names}
        if fault := next(_faults(self.content, reply), None):
            raise RequestError(f"the answer does not fit the schema of response_format ({fault}). Use a wider schema.")
        return Reply(reply).model_dump_json()


class Reply(Record):
    """Any JSON object; `Record` escapes what is not valid Unicode."""

    model_config = ConfigDict(extra="allow")

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(**values)


def json_form(requested: ResponseFormat | None) -> JsonForm | None:
    """Return the form that is requested; None is plain text.

    Raises:
        RequestError: an answer cannot have this form.
    """
    if requested is None or requested.type == "text":
        return None
    if requested.type == "json_object":
        return JsonForm(names=tuple(FIELDS), content={"type": "object"})
    if requested.type != "json_schema" or requested.json_schema is None:
        raise RequestError(f"response_format {requested.type[:40]!r} is not supported. Use text, json_object or json_schema.")
    content = requested.json_schema.content
    _check_keywords(content, MAX_DEPTH)
    properties = content.get("properties", {})
    names = tuple(properties) if isinstance(properties, dict) else ()
    if unknown := [name for name in (*names, *_required(content)) if name not in FIELDS]:
        raise RequestError(f"response_format: an answer has no field {unknown[0][:80]!r}. Its fields are {', '.join(FIELDS)}.")
    if content.get("type") != "object" or not names:
        raise RequestError(
            f"response_format: the schema is not one of an object with properties. Use some of {', '.join(FIELDS)}."
        )
    options = _options(properties["answer"]) if "answer" in names else None
    example = {name: FIELDS[name] for name in names} | ({"answer": options[0]} if options else {})
    if fault := next(_faults(content, example), None):
        raise RequestError(f"response_format: an answer cannot have this form ({fault}). Its fields are like {example}.")
    return JsonForm(names=names, content=content, options=options)


def _check_keywords(schema: Any, depth: int) -> None:
    """Raise RequestError for a schema that could read other files or take long to validate with."""
    if not isinstance(schema, dict):
        return
    if not depth:
        raise RequestError(f"response_format: the schema is nested deeper than {MAX_DEPTH} levels. Use a simpler one.")
    if unknown := next((key for key in schema if key not in KEYWORDS), None):
        raise RequestError(f"response_format: the keyword {unknown[:40]!r} is not supported. Leave it out.")
    properties, anyof = schema.get("properties"), schema.get("anyOf")
    inner = [*(properties.values() if isinstance(properties, dict) else ()), *(anyof if isinstance(anyof, list) else ())]
    for each in (*inner, schema.get("items"), schema.get("additionalProperties")):
        _check_keywords(each, depth - 1)


def _required(content: Mapping[str, Any]) -> list[str]:
    required = content.get("required", [])
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _options(schema: Any) -> tuple[str, ...] | None:
    """Return the options of a string with an `enum`."""
    values = schema.get("enum") if isinstance(schema, dict) else None
    texts = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
    return tuple(texts) if texts and len(texts) == len(values or ()) else None


def _faults(content: Mapping[str, Any], value: Any) -> Any:
    """Yield what speaks against a value, or against the schema itself."""
    try:
        validator = jsonschema.Draft202012Validator(content)
        for error in validator.iter_errors(value):
            yield f"{'.'.join(map(str, error.absolute_path)) or 'object'}: {error.message[:200]}"
    except Exception as error:  # the schema is invalid
        yield f"the schema is not valid: {' '.join(str(error).split())[:200]}"
