"""Read the text of a model's reply: leave out its thoughts, find the JSON in it.

Reasoning models write their thoughts into the reply unless the server separates them. The markers
differ by family; a chat template that opens the thoughts itself leaves only the closing marker, and
a reply that is cut off leaves only the opening one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)

_TAGS = (
    "think|thinking|thought|thoughts|reason|reasoning|reflection|analysis|scratchpad|seed:think|mm:think|"
    "inner_monologue|internal_monologue|chain_of_thought"
)
_OPENING = re.compile(
    rf"<(?:{_TAGS})(?:\s[^<>]*)?>|\[THINK\]|◁think▷"  # DeepSeek, Qwen, Seed; Magistral; Kimi
    r"|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|inner_prefix\|>|<unused94>"  # Command A; Sky-T1; Apertus; MedGemma
    r"|<\|channel\|>(?:analysis|commentary)\b[^<]*<\|message\|>|<\|channel>thought\b"  # gpt-oss; Gemma
    r"|\A\s*Here is my thought process:",  # Granite
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷"
    r"|<\|END_THINKING\|>|<\|end_of_thought\|>|<\|inner_suffix\|>|<unused95>"
    r"|<\|channel\|>final\b[^<]*<\|message\|>|<channel\|>"
    r"|^\s*Here is my response:",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER = re.compile(
    r"<(answer|final_answer|response|conclusion|output)>(.*?)(?:</\1>|\Z)"
    r"|<\|(?:START_RESPONSE|begin_of_solution)\|>(.*?)(?:<\|(?:END_RESPONSE|end_of_solution)\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
"""What some families put around the reply proper."""
_TURN_MARKERS = re.compile(r"<\|(?:begin|end)_of_box\|>|(?:<\|(?:return|end|im_end|eot_id)\|>\s*)+\Z")


class ReplyText(NamedTuple):
    """The text of a reply, without its thoughts."""

    text: str
    """The reply proper, stripped of white space."""

    thoughts: bool = False
    """Whether thoughts were left out."""

    unfinished: bool = False
    """Whether the reply ends within its thoughts."""


def without_thoughts(content: str) -> ReplyText:
    """Leave the thoughts out of a reply, also if one of their two markers is missing."""
    markers = sorted([*_OPENING.finditer(content), *_CLOSING.finditer(content)], key=lambda marker: marker.start())
    text, position, thinking = "", 0, False
    for marker in markers:
        if not thinking:
            text += content[position : max(position, marker.start())]
        opens = marker.re is _OPENING
        if not opens and not thinking:  # no marker opened these thoughts: all before it belongs to them
            text = ""
        position, thinking = marker.end(), opens
    if not thinking:
        text += content[position:]
    answers = list(_ANSWER.finditer(text))
    if answers and (markers or answers[0].start() == len(text) - len(text.lstrip())):
        text = answers[-1][2] or answers[-1][3] or ""
    return ReplyText(_TURN_MARKERS.sub("", text).strip(), bool(markers), thinking)


def parse_json(schema: type[Schema], text: str) -> Schema:
    """Parse a reply that is JSON of a schema or holds such JSON: in a fence, or between sentences.

    Of several objects that match, the last one counts.

    Raises:
        ValidationError: no JSON in the text matches the schema.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        failure = error
    objects = list(_objects(text))
    for found in reversed(objects):
        try:
            return schema.model_validate(found)
        except ValidationError as error:
            if len(objects) == 1:
                failure = error
    raise failure


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Yield the JSON objects in a text, in order; those within another one are left out.

    An object that the end of the text cuts off ends the search: what is in it is part of it.
    """
    decoder, position, length = json.JSONDecoder(strict=False), text.find("{"), len(text.rstrip())
    while position >= 0:
        try:
            found, end = decoder.raw_decode(text, position)
            yield found
        except json.JSONDecodeError as error:
            if error.pos >= length or error.msg.startswith("Unterminated"):
                return
            end = position + 1
        except RecursionError:
            return
        position = text.find("{", end)
