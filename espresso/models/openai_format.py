"""Convert to and from OpenAI's chat completions API: messages, schemas, replies, probabilities."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError

from espresso.models.chat import Completion, Conversation, Message, Picture, length_fault
from espresso.replies import ReplyText, parse_json, without_thoughts

Reply = Mapping[str, Any]
"""The body of a reply, as JSON. Any field may be null or absent."""

OPTIONAL_PARAMETERS = (
    "logprobs",
    "top_logprobs",
    "temperature",
    "seed",
    "max_completion_tokens",
    "max_tokens",
    "response_format",
)
"""Parameters without which a request can be sent; `max_tokens` replaces `max_completion_tokens`."""

_UNSUPPORTED = re.compile(
    r"support|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs|fields)|unavailable|forbidden|deprecated|disabled|"
    r"not (?:permitted|allowed|available|accepted|implemented)|instead|remove|invalid (?:param|field|arg)",
    re.IGNORECASE,
)
_WRONG_VALUE = re.compile(r"must|should|only|valid|range|at (?:most|least)|greater|less|allowed|default|cannot", re.IGNORECASE)
_ONLY_VALUE = re.compile(r"only (?:the )?(?:default )?(?:value )?(?:of )?\(?(\d+(?:\.\d+)?)\)?(?! and)", re.IGNORECASE)
_TOO_LONG = re.compile(r"context.?(?:length|window|size)|maximum length|too long|input tokens", re.IGNORECASE)

_PUNCTUATION = " \t\n\"'`*.,:;()[]{}"

_FILTERED = ("content_filter", "safety", "sensitive", "recitation", "prohibited", "blocklist", "spii", "moderation")
_CUT_OFF = ("length", "max_tokens", "max_output_tokens", "token_limit")
_BROKEN_OFF = ("error", "abort", "cancel", "insufficient_system_resource", "timeout", "malformed")
"""Parts of `finish_reason`: OpenAI's, and those of Gemini, Mistral, DeepSeek, vLLM and Zhipu."""

_SPECIAL = re.compile(r"<\|[\w-]+\|>|</?(?:image|img|IMG_CONTEXT|video|s|fake_token_around_image|end_of_utterance)>")
"""Special tokens of the supported model families and their relatives."""


class _Choice(BaseModel):
    """A reply to `choice_schema`."""

    choice: str


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
        One reply for each choice; empty if `text` holds no JSON of `choice_schema(choices)`.
    """
    try:
        choice = parse_json(_Choice, text).choice
    except ValidationError:
        return {}
    for ascii_only in (False, True):
        before, _, after = text.rpartition(json.dumps(choice, ensure_ascii=ascii_only))
        if choice in choices and before:
            return {other: f"{before}{json.dumps(other, ensure_ascii=ascii_only)}{after}" for other in choices}
    return {}


def named_choice(text: str, choices: Sequence[str]) -> str | None:
    """Return the choice that is the whole reply, punctuation and case aside; None if none is."""
    bare = {choice.strip(_PUNCTUATION).casefold(): choice for choice in choices}
    return bare.get(text.strip(_PUNCTUATION).casefold()) if len(bare) == len(choices) else None


def decode_completion(reply: Reply, max_tokens: int | None = None) -> Completion:
    """Return the API's reply as a `Completion`, without its thoughts.

    Its confidence is the geometric mean of the tokens' probabilities; None if they are unknown.

    Args:
        reply: the body of the reply, with at least one choice.
        max_tokens: the limit that was requested; tells a cut reply of a server that reports no
            `finish_reason`.
    """
    choice = reply["choices"][0]
    content, refusal, thinks = _read_message(_mapping(choice.get("message")))
    text = without_thoughts(content)
    text = text._replace(thoughts=text.thoughts or thinks)
    usage = _mapping(reply.get("usage"))
    tokens_out = _count(usage.get("completion_tokens"))
    tokens = _reply_tokens(choice, text)
    return Completion(
        text=text.text,
        confidence=math.exp(sum(token.logprob for token in tokens) / len(tokens)) if tokens else None,
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=tokens_out,
        requests=(str(reply["id"]),) if reply.get("id") else (),
        fault=_fault(choice, text, refusal, tokens_out, max_tokens),
    )


def _fault(choice: Reply, text: ReplyText, refusal: str, tokens_out: int, max_tokens: int | None) -> str | None:
    """Return why a reply cannot be used; None if it is whole."""
    finish = str(choice.get("finish_reason") or "").lower()
    thoughts_alone = text.unfinished or (text.thoughts and not text.text)
    fault = None
    if refusal:
        fault = f"it refused: {refusal[:200]!r}"
    elif any(reason in finish for reason in _FILTERED):
        fault = "the server's content filter stopped it"
    elif any(reason in finish for reason in _BROKEN_OFF):
        fault = f"the server broke it off ({finish[:40]})"
    elif any(reason in finish for reason in _CUT_OFF) or (not finish and max_tokens and tokens_out >= max_tokens):
        fault = length_fault(max(tokens_out, max_tokens or 0), thinking=thoughts_alone)
    elif thoughts_alone:
        fault = "the reply ends within its thoughts" if text.unfinished else "the reply is thoughts without an answer"
    elif not text.text:
        calls = _mapping(choice.get("message")).get("tool_calls")
        fault = "it calls a tool instead of replying" if calls else "the reply is empty"
    return fault


def _read_message(message: Reply) -> tuple[str, str, bool]:
    """Return the text and the refusal of a message, and whether it holds thoughts beside the text.

    The content is a string or a list of parts, some of which may be thoughts.
    """
    content, refusal = message.get("content"), message.get("refusal")
    thinks = any(message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details", "thinking"))
    texts: list[str] = []
    refusals = [refusal] if isinstance(refusal, str) else []
    for part in [content] if isinstance(content, str | Mapping) else content if isinstance(content, list) else []:
        kind = str(part.get("type") or "text") if isinstance(part, Mapping) else "text"
        if "think" in kind or "reason" in kind or "thought" in kind:
            thinks = True
        elif isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            said = part.get("text") or part.get("refusal") or part.get("content")
            said = said.get("value") if isinstance(said, Mapping) else said  # as in OpenAI's assistants
            if isinstance(said, str):
                (refusals if kind == "refusal" else texts).append(said)
    return "".join(texts), " ".join(" ".join(refusals).split()), thinks


class _Token(NamedTuple):
    """A token of a reply with its most probable alternatives."""

    text: str
    logprob: float
    alternatives: list[tuple[str, float]]


def _reply_tokens(choice: Reply, text: ReplyText) -> list[_Token]:
    """Return the tokens of a reply without its thoughts; empty if they are unknown."""
    listed = _mapping(choice.get("logprobs")).get("content")
    tokens: list[_Token] = []
    for entry in listed if isinstance(listed, list) else []:
        token, others = _token(entry), _mapping(entry).get("top_logprobs")
        if token is None:
            return []
        alternatives = [each for other in others if (each := _token(other))] if isinstance(others, list) else []
        tokens.append(_Token(*token, alternatives))
    tail = ""
    for position in reversed(range(len(tokens))):
        tail = tokens[position].text + tail
        if text.text and tail.lstrip().startswith(text.text):
            return tokens[position:]
    return [] if text.thoughts else tokens


def _token(entry: Any) -> tuple[str, float] | None:
    text, logprob = _mapping(entry).get("token"), _mapping(entry).get("logprob")
    return (text, float(logprob)) if isinstance(text, str) and isinstance(logprob, int | float) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int:
    """Return a number of tokens, or 0 in place of anything else."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def prompt_logprobs(reply: Reply) -> list[tuple[str, float]]:
    """Return (token id, log-probability) of each prompt token but the first (vLLM only).

    White space that a chat template puts after the last turn is left out.

    Returns:
        The tokens in order; empty if the server reports none.
    """
    rows = reply.get("prompt_logprobs")
    if not isinstance(rows, list):
        return []
    tokens = [next(iter(row.items())) for row in rows if row]
    while tokens and not str(tokens[-1][1].get("decoded_token") or "").strip():
        tokens.pop()
    return [(token_id, float(token["logprob"])) for token_id, token in tokens]


def score_choices(choices: Sequence[str], prompts: Sequence[Sequence[tuple[str, float]]], replies: Sequence[Reply]) -> Completion:
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
        requests=tuple(str(reply["id"]) for reply in replies if reply.get("id")),
        fault=None,  # the one token that each reply adds is not used
    )


def add_choice_logprobs(completion: Completion, reply: Reply, texts: Mapping[str, str], chosen: str) -> Completion:
    """Add the log-probabilities of all choices, computed from the reply's `top_logprobs`.

    Another choice differs from the reply at one token. It gets the log-probability of the best
    alternative at that token that leads to it, or the lowest one listed if none does.

    Args:
        completion: the decoded reply.
        reply: the reply, with `top_logprobs`.
        texts: choice -> the full reply that chooses it.
        chosen: the choice that was made.
    """
    choice = reply["choices"][0]
    content, _, thinks = _read_message(_mapping(choice.get("message")))
    text = without_thoughts(content)
    tokens = _reply_tokens(choice, text._replace(thoughts=text.thoughts or thinks))
    if not tokens or not any(token.alternatives for token in tokens):
        return replace(completion, text=chosen, confidence=None)
    sums: dict[str, float] = {}
    prefix_logprob, prefix = 0.0, ""
    for token in tokens:
        others = {choice: text for choice, text in texts.items() if choice != chosen and choice not in sums}
        if not others:
            break
        lowest = min((logprob for _, logprob in token.alternatives), default=token.logprob)
        for other, full in others.items():
            if not full.startswith(prefix + token.text):
                leading = [logprob for start, logprob in token.alternatives if start and full.startswith(prefix + start)]
                sums[other] = prefix_logprob + max(leading, default=lowest)
        prefix_logprob += token.logprob
        prefix += token.text
    for each in texts:
        sums.setdefault(each, prefix_logprob)
    total = np.logaddexp.reduce(list(sums.values()))
    normalized = {each: float(sums[each] - total) for each in texts}
    return replace(completion, text=chosen, logprobs=normalized, confidence=math.exp(normalized[chosen]))


def rejected_parameters(words: str, named: str | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request that a server's error says it does not accept.

    Args:
        words: the server's own words.
        named: the parameter that the error names in a field of its own; None if there is none.
        request: the request that was sent.

    Returns:
        Parameter -> the only value that the server accepts, or None: it must not be sent.
    """
    if _TOO_LONG.search(words):  # names max_tokens too, but means the prompt
        return {}
    sent = [name for name in OPTIONAL_PARAMETERS if name in request]
    field = (named or "").split(".")[0]
    found = {field} & set(sent) or {name for name in sent if re.search(rf"(?<!\w){name}(?!\w)", words, re.IGNORECASE)}
    if not _UNSUPPORTED.search(words):
        wrong = field in found or _WRONG_VALUE.search(words)
        found = {name for name in found if wrong and not name.startswith("max_")}
    only = _ONLY_VALUE.search(words)
    return {name: float(only[1]) if only and name == "temperature" else None for name in found}


def adapt(request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as a server accepts it.

    Instead of `max_completion_tokens` the older `max_tokens` is sent, unless that is left out too.
    Instead of `response_format` the prompt asks for JSON of the schema.

    Args:
        request: the request.
        changes: parameter -> its value; None leaves it out.
    """
    omitted = {name for name, value in changes.items() if value is None}
    kept = {name: changes.get(name, value) for name, value in request.items() if name not in omitted}
    if "max_completion_tokens" in omitted and "max_completion_tokens" in request and "max_tokens" not in omitted:
        kept["max_tokens"] = request["max_completion_tokens"]
    if "logprobs" in omitted:
        kept.pop("top_logprobs", None)
    if "response_format" in omitted and "response_format" in request:
        schema = json.dumps(request["response_format"]["json_schema"]["schema"], ensure_ascii=False)
        ask = f"Reply with JSON of this schema and nothing else: {schema}"
        *earlier, last = request["messages"]
        content = last["content"]
        content = f"{content}\n\n{ask}" if isinstance(content, str) else [*content, {"type": "text", "text": ask}]
        kept["messages"] = [*earlier, last | {"content": content}]
    return kept
