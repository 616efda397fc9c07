"""Convert to and from OpenAI's chat completions API: messages, schemas, replies, probabilities."""

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

from espresso.models.chat import Completion, Conversation, Message, Picture

_SPECIAL = re.compile(r"<\|[\w-]+\|>|</?(?:image|img|IMG_CONTEXT|video|s|fake_token_around_image|end_of_utterance)>")
"""Special tokens of the supported model families and their relatives."""


def encode_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Return a conversation as the API's `messages`, with pictures as data URLs."""
    return [{"role": message.role, "content": _content(message)} for message in conversation]


def assistant_turn(text: str) -> dict[str, Any]:
    """Return one finished turn of the assistant."""
    return {"role": "assistant", "content": _break_special_tokens(text)}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.pictures:
        return "".join(_break_special_tokens(part) for part in message.content if isinstance(part, str))
    return [
        {"type": "image_url", "image_url": {"url": part.url}}
        if isinstance(part, Picture)
        else {"type": "text", "text": _break_special_tokens(part)}
        for part in message.content
    ]


def _break_special_tokens(text: str) -> str:
    """Insert a space into special tokens: servers tokenize message text like the chat template."""
    return _SPECIAL.sub(lambda special: f"{special[0][0]} {special[0][1:]}", text)


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `response_format` for JSON of a schema.

    Strict servers require that every object is closed and all of its fields are required.
    """
    return {"type": "json_schema", "json_schema": {"name": name, "schema": _strict(schema), "strict": True}}


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        strict |= {"additionalProperties": False, "required": list(schema["properties"])}
    return strict


def choice_schema(choices: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object with one field, `choice`, which is one of the strings."""
    return {"type": "object", "properties": {"choice": {"type": "string", "enum": list(choices)}}}


def choice_replies(text: str, choices: Sequence[str]) -> dict[str, str]:
    """Return choice -> the reply that would have chosen it, with the spacing of an actual reply.

    Args:
        text: the actual reply.
        choices: the strings of `choice_schema`.

    Returns:
        One reply for each choice; empty if `text` is not JSON of `choice_schema(choices)`.
    """
    try:
        choice = json.loads(text)["choice"]
    except (ValueError, TypeError, KeyError):
        return {}
    before, _, after = text.rpartition(json.dumps(choice, ensure_ascii=False))
    if choice not in choices or not before:
        return {}
    return {other: f"{before}{json.dumps(other, ensure_ascii=False)}{after}" for other in choices}


def decode_completion(reply: ChatCompletion) -> Completion:
    """Return the API's reply as a `Completion`.

    Its confidence is the geometric mean of the tokens' probabilities; None if they are unknown.
    """
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


def prompt_logprobs(reply: ChatCompletion) -> list[tuple[str, float]]:
    """Return (token id, log-probability) of each prompt token but the first (vLLM only).

    White space that a chat template puts after the last turn is left out.

    Returns:
        The tokens in order; empty if the server reports none.
    """
    rows = getattr(reply, "prompt_logprobs", None)
    if not isinstance(rows, list):
        return []
    tokens = [next(iter(row.items())) for row in rows if row]
    while tokens and not str(tokens[-1][1].get("decoded_token", "")).strip():
        tokens.pop()
    return [(token_id, float(token["logprob"])) for token_id, token in tokens]


def score_choices(
    choices: Sequence[str], prompts: Sequence[Sequence[tuple[str, float]]], replies: Sequence[ChatCompletion]
) -> Completion:
    """Choose the most probable of several finished turns, as `Engine.score` does.

    The choices are compared from the first token at which their prompts differ. If every choice is
    one token, the end of the turn is left out.

    Args:
        choices: the possible replies.
        prompts: for each choice, `prompt_logprobs` of the prompt that ends with it.
        replies: for each choice, the reply that reported them.
    """
    columns = zip(*prompts, strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len({token_id for token_id, _ in column}) == 1, columns))
    single = all(len(tokens) == shared + 2 for tokens in prompts)
    scored = [tokens[shared : shared + 1] if single else tokens[shared:] for tokens in prompts]
    sums = np.array([sum(logprob for _, logprob in tokens) for tokens in scored])
    logprobs = sums - np.logaddexp.reduce(sums)
    best = int(logprobs.argmax())
    return replace(
        decode_completion(replies[best]),
        text=choices[best],
        logprobs=dict(zip(choices, logprobs.tolist(), strict=True)),
        confidence=math.exp(logprobs[best]),
        tokens_out=len(scored[best]),
        requests=tuple(reply.id for reply in replies),
    )


def add_choice_logprobs(completion: Completion, reply: ChatCompletion, texts: Mapping[str, str], chosen: str) -> Completion:
    """Add the log-probabilities of all choices, computed from the reply's `top_logprobs`.

    Another choice differs from the reply at one token. It gets the log-probability of the best
    alternative at that token that leads to it, or the lowest one listed if none does.

    Args:
        completion: the decoded reply.
        reply: the reply, with `top_logprobs`.
        texts: choice -> the full reply that chooses it.
        chosen: the choice that was made.
    """
    logprobs = reply.choices[0].logprobs
    if not logprobs or not logprobs.content:
        return replace(completion, text=chosen, confidence=None)
    sums: dict[str, float] = {}
    prefix_logprob, prefix = 0.0, ""
    for token in logprobs.content:
        others = {choice: text for choice, text in texts.items() if choice != chosen and choice not in sums}
        if not others:
            break
        lowest = min((other.logprob for other in token.top_logprobs), default=token.logprob)
        for choice, text in others.items():
            if not text.startswith(prefix + token.token):
                matching = [
                    other.logprob for other in token.top_logprobs if other.token and text.startswith(prefix + other.token)
                ]
                sums[choice] = prefix_logprob + max(matching, default=lowest)
        prefix_logprob += token.logprob
        prefix += token.token
    for choice in texts:
        sums.setdefault(choice, prefix_logprob)
    total = np.logaddexp.reduce(list(sums.values()))
    normalized = {choice: float(sums[choice] - total) for choice in texts}
    return replace(completion, text=chosen, logprobs=normalized, confidence=math.exp(normalized[chosen]))


def error_message(error: openai.APIStatusError) -> str:
    """Return the server's own message in one line of at most 200 characters."""
    body = error.body if isinstance(error.body, Mapping) else {}
    return " ".join(str(body.get("message") or error.message).split())[:200]
