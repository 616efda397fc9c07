"""The prompts as Jinja templates, one folder a style: `tiny` for the embedded models, `general` for public ones.

In a template, `<|system|>`, `<|user|>` or `<|assistant|>` on a line of its own starts a message, and `{{ frame.picture }}` puts a
picture in that place. What is put into a template is data: a question that holds such a line opens no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, meta, pass_context
from jinja2.runtime import Context, Undefined

from espresso.models.chat import Message, Picture

Style = Literal["tiny", "general"]

_MARKER = re.compile(r"^<\|(system|user|assistant)\|>[ \t]*$", re.MULTILINE)
_SEAM = re.compile("\0(.*?)\0")  # a message's role or a picture's number; NUL cannot come from outside, see `_put`


@dataclass(frozen=True)
class Prompt:
    """What to send, and which template made it. hash: 12 hex digits over the template's source and all that it includes."""

    messages: tuple[Message, ...]
    hash: str


def render(name: str, *, style: Style = "tiny", **inputs: Any) -> Prompt:
    """Fill `prompts/<style>/<name>.jinja` with its inputs, which the head of the template names.

    Message text is stripped at both ends. Raises jinja2.TemplateNotFound for a name or style that does not exist and
    jinja2.UndefinedError for an input that is missing.
    """
    path = f"{style}/{name}.jinja"
    pictures: list[Picture] = []
    text = _environment().get_template(path).render(inputs, _pictures=pictures)
    return Prompt(tuple(_messages(text, pictures)), digest(name, style=style))


@cache
def digest(name: str, *, style: Style = "tiny") -> str:
    """Give a template's `Prompt.hash` without filling it: what is kept under it can be looked up before a picture is decoded."""
    return sha256("\n".join(_sources(f"{style}/{name}.jinja")).encode()).hexdigest()[:12]


def _messages(text: str, pictures: list[Picture]) -> Iterator[Message]:
    """Cut rendered text at its seams: text, then (role or picture number, text) again and again."""
    before, *pieces = _SEAM.split(text)
    if before.strip():
        raise ValueError(f"a template must open a message before it says anything, not {before.strip()!r}")
    role, content = "", list[str | Picture]()
    for seam, said in zip(pieces[::2], pieces[1::2], strict=True):
        if seam.isdecimal():
            content.append(pictures[int(seam)])
        else:
            if role:
                yield _message(role, content)
            role, content = seam, []
        content.append(said)
    yield _message(role, content)


def _message(role: str, content: list[str | Picture]) -> Message:
    first, last = content[0], content[-1]
    content[0] = first.lstrip() if isinstance(first, str) else first
    content[-1] = (content[0] if len(content) == 1 else last).rstrip()  # type: ignore[union-attr]
    return Message(cast(Literal["system", "user", "assistant"], role), tuple(part for part in content if part != ""))


@pass_context
def _put(context: Context, value: object) -> object:
    """Put a value into a prompt: a picture as its number, anything else as text without NUL, the mark of a seam."""
    if isinstance(value, Undefined):
        return value  # its own error says which input is missing
    if isinstance(value, Picture):
        context["_pictures"].append(value)
        return f"\0{len(context['_pictures']) - 1}\0"
    return str(value).replace("\0", "")


class _Templates(FileSystemLoader):
    """The template files, their message markers turned into seams before Jinja sees them."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, path, fresh = super().get_source(environment, template)
        return _MARKER.sub("\0\\1\0", source), path, fresh


@cache
def _environment() -> Environment:
    return Environment(loader=_Templates(Path(__file__).parent), undefined=StrictUndefined, finalize=_put, autoescape=False)


def _sources(path: str) -> Iterator[str]:
    """Yield the sources of a template and of everything it includes, in order."""
    environment = _environment()
    source = _Templates(Path(__file__).parent).get_source(environment, path)[0]
    yield source
    for included in meta.find_referenced_templates(environment.parse(source)):
        yield from _sources(cast(str, included))
