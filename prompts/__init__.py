"""Prompt templates in Jinja, one folder per style.

`tiny` is for the models that ship with the package, `general` for public models. In a template,
`<|system|>`, `<|user|>` or `<|assistant|>` on a line of its own starts a message, and
`{{ frame.picture }}` inserts a picture. Inserted values are data: a marker in the text of a
question does not start a message.
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
"""A folder of templates."""

_MARKER = re.compile(r"^<\|(system|user|assistant)\|>[ \t]*$", re.MULTILINE)
_SEPARATOR = re.compile("\0(.*?)\0")  # role of a message or number of a picture; `_insert` removes NUL from values


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt."""

    messages: tuple[Message, ...]
    """The messages to send."""

    hash: str
    """Hash of the template: 12 hex digits over its source and all included templates."""


def render(name: str, *, style: Style = "tiny", **inputs: Any) -> Prompt:
    """Render `prompts/<style>/<name>.jinja`. The text of each message is stripped at both ends.

    Args:
        name: name of the template.
        style: its folder.
        inputs: inputs of the template, which are listed at its top.

    Raises:
        jinja2.TemplateNotFound: there is no such template.
        jinja2.UndefinedError: an input is missing.
    """
    path = f"{style}/{name}.jinja"
    pictures: list[Picture] = []
    text = _environment().get_template(path).render(inputs, _pictures=pictures)
    return Prompt(tuple(_messages(text, pictures)), digest(name, style=style))


@cache
def digest(name: str, *, style: Style = "tiny") -> str:
    """Return a template's `Prompt.hash` without rendering it, for cache lookups."""
    return sha256("\n".join(_sources(f"{style}/{name}.jinja")).encode()).hexdigest()[:12]


def _messages(text: str, pictures: list[Picture]) -> Iterator[Message]:
    """Split rendered text at its separators, which name a role or the number of a picture."""
    before, *pieces = _SEPARATOR.split(text)
    if before.strip():
        raise ValueError(f"a template must start with a message marker, not with {before.strip()!r}")
    role, content = "", list[str | Picture]()
    for separator, part in zip(pieces[::2], pieces[1::2], strict=True):
        if separator.isdecimal():
            content.append(pictures[int(separator)])
        else:
            if role:
                yield _message(role, content)
            role, content = separator, []
        content.append(part)
    yield _message(role, content)


def _message(role: str, content: list[str | Picture]) -> Message:
    first, last = content[0], content[-1]
    content[0] = first.lstrip() if isinstance(first, str) else first
    content[-1] = (content[0] if len(content) == 1 else last).rstrip()  # type: ignore[union-attr]
    return Message(cast(Literal["system", "user", "assistant"], role), tuple(part for part in content if part != ""))


@pass_context
def _insert(context: Context, value: object) -> object:
    """Insert a picture as its number, any other value as text without NUL (see `_SEPARATOR`)."""
    if isinstance(value, Undefined):
        return value  # raises an error that names the missing input
    if isinstance(value, Picture):
        context["_pictures"].append(value)
        return f"\0{len(context['_pictures']) - 1}\0"
    return str(value).replace("\0", "")


class _Templates(FileSystemLoader):
    """Loads templates and replaces message markers with separators."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, path, fresh = super().get_source(environment, template)
        return _MARKER.sub("\0\\1\0", source), path, fresh


@cache
def _environment() -> Environment:
    return Environment(loader=_Templates(Path(__file__).parent), undefined=StrictUndefined, finalize=_insert, autoescape=False)


def _sources(path: str) -> Iterator[str]:
    """Yield the sources of a template and of all included templates, in order."""
    environment = _environment()
    source = _Templates(Path(__file__).parent).get_source(environment, path)[0]
    yield source
    for included in meta.find_referenced_templates(environment.parse(source)):
        yield from _sources(cast(str, included))
