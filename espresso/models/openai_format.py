"""What travels to and from an OpenAI-compatible server: messages and schemas out, completions and probabilities in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from espresso.models.chat import Completion, Conversation, Message, Picture

# What the families of the design, and their kin, read as the end of a turn or as a picture when it stands in plain text.
_SPECIAL = re.compile(r"<\|[\w-]+\|>|</?(?:image|img|IMG_CONTEXT|video|s|fake_token_around_image|end_of_utterance)>")


def messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Put a conversation into the API's form, pictures as data URLs."""
    return [{"role": message.role, "content": _content(message)} for message in conversation]


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.pictures:
        return "".join(_plain(part) for part in message.content if isinstance(part, str))
    return [
        {"type": "image_url", "image_url": {"url": part.url}}
        if isinstance(part, Picture)
        else {"type": "text", "text": _plain(part)}
        for part in message.content
    ]


def _plain(text: str) -> str:
    """Break spelt-out special tokens with a space: servers tokenize message text as if it were template."""
    return _SPECIAL.sub(lambda special: f"{special[0][0]} {special[0][1:]}", text)


def json_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for JSON of a schema; strict servers want each object closed and all its fields required."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": _closed(schema), "strict": True}}


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed |= {"additionalProperties": False, "required": list(schema["properties"])}
    return closed


def enum(choices: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object whose only field, `choice`, is one of the strings."""
    return {"type": "object", "properties": {"choice": {"type": "string", "enum": list(choices)}}}


def enum_texts(text: str, choices: Sequence[str]) -> dict[str, str]:
    """Return what the reply would have been for each choice, spaced alike; empty if `text` is not JSON of `enum(choices)`."""
    try:
        choice = json.loads(text)["choice"]
    except (ValueError, TypeError, KeyError):
        return {}
    before, _, after = text.rpartition(json.dumps(choice, ensure_ascii=False))
    if choice not in choices or not before:
        return {}
    return {other: f"{before}{json.dumps(other, ensure_ascii=False)}{after}" for other in choices}


def parse(schema: type[BaseModel], text: str) -> BaseModel | None:
    """Return the validated object, or None if the text is not one."""
    try:
        return schema.model_validate_json(text)
    except ValidationError:
        return None


def completion(reply: ChatCompletion) -> Completion:
    """Read a reply; confidence is the geometric mean of the tokens' probabilities, None where the server gives none."""
    choice = reply.choices[0]
    tokens = choice.logprobs.content if choice.logprobs and choice.logprobs.content else []
    usage = reply.usage
    return Completion(
        text=(choice.message.content or "").strip(),
        confidence=math.exp(sum(token.logprob for token in tokens) / len(tokens)) if tokens else None,
        tokens_in=usage.prompt_tokens if usage else 0,
        tokens_out=usage.completion_tokens if usage else 0,
        requests=(reply.id,),
    )


def turn(text: str) -> dict[str, Any]:
    """A turn of the assistant that has been said."""
    return {"role": "assistant", "content": _plain(text)}


def prompt_tokens(reply: ChatCompletion) -> list[tuple[str, float]]:
    """The prompt's tokens (id) with their log-probabilities, the first left out, up to the end of its last turn.

    vLLM's `prompt_logprobs`; empty where the server gave none. White space that a template puts behind a turn is no part of it.
    """
    rows = getattr(reply, "prompt_logprobs", None)
    if not isinstance(rows, list):
        return []
    tokens = [next(iter(row.items())) for row in rows if row]
    while tokens and not str(tokens[-1][1].get("decoded_token", "")).strip():
        tokens.pop()
    return [(name, float(token["logprob"])) for name, token in tokens]


def compared(
    choices: Sequence[str], tokens: Sequence[Sequence[tuple[str, float]]], replies: Sequence[ChatCompletion]
) -> Completion:
    """Choose by the probability of the tokens from where the prompts of the choices part, as `Engine.score` does.

    tokens: of each choice's prompt, the end of its turn included; where every choice is one token, the end does not count.
    replies: a choice's each.
    """
    columns = zip(*tokens, strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len({name for name, _ in column}) == 1, columns))
    single = all(len(row) == shared + 2 for row in tokens)
    counted = [row[shared : shared + 1] if single else row[shared:] for row in tokens]
    sums = np.array([sum(logprob for _, logprob in row) for row in counted])
    shares = sums - np.logaddexp.reduce(sums)
    best = int(shares.argmax())
    return replace(
        completion(replies[best]),
        text=choices[best],
        logprobs=dict(zip(choices, shares.tolist(), strict=True)),
        confidence=math.exp(shares[best]),
        tokens_out=len(counted[best]),
        requests=tuple(reply.id for reply in replies),
    )


def weighed(said: Completion, reply: ChatCompletion, texts: Mapping[str, str], chosen: str) -> Completion:
    """Add the probabilities of the choices, read off the top log-probabilities of the reply's tokens.

    texts: choice -> the reply that would have said it. A rival parts from the reply at one token; it weighs as much as the best
    alternative there that leads to it, or as the least of the listed ones if none does.
    """
    logprobs = reply.choices[0].logprobs
    if not logprobs or not logprobs.content:
        return replace(said, text=chosen, confidence=None)
    weights: dict[str, float] = {}
    so_far, spoken = 0.0, ""
    for token in logprobs.content:
        rivals = {choice: text for choice, text in texts.items() if choice != chosen and choice not in weights}
        if not rivals:
            break
        least = min((other.logprob for other in token.top_logprobs), default=token.logprob)
        for choice, text in rivals.items():
            if not text.startswith(spoken + token.token):
                leading = [other.logprob for other in token.top_logprobs if other.token and text.startswith(spoken + other.token)]
                weights[choice] = so_far + max(leading, default=least)
        so_far += token.logprob
        spoken += token.token
    for choice in texts:
        weights.setdefault(choice, so_far)
    total = np.logaddexp.reduce(list(weights.values()))
    shares = {choice: float(weights[choice] - total) for choice in texts}
    return replace(said, text=chosen, logprobs=shares, confidence=math.exp(shares[chosen]))


def reason(error: openai.APIStatusError) -> str:
    """Return the server's own words, in one short line."""
    body = error.body if isinstance(error.body, Mapping) else {}
    return " ".join(str(body.get("message") or error.message).split())[:200]
