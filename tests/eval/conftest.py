"""A few questions of the world over real clips, and doubles for the one thing that cannot run in a test: a model."""

import json
import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from agents.session import Session
from espresso import profiles
from espresso.datasets import world
from espresso.models import Completion, Roles, TokenCount
from espresso.models.chat import chat_at
from espresso.models.embedder import make_embedder

LIMIT = 6


@dataclass
class Double:
    """A chat model that says the same always; where it has to choose, the answer if it `knows` the question, else A."""

    says: str
    name: str = "double"
    knows: dict[str, str] = field(default_factory=dict)
    context_length: int = 100_000
    asked: list = field(default_factory=list)
    offered: list = field(default_factory=list)

    async def chat(self, messages, *, choices=None, schema=None, adapter=None, max_tokens=256, temperature=0.0, seed=None):
        self.asked.append(messages)
        size, text = self.count_tokens(messages), self.says
        if choices:
            self.offered.append(tuple(choices))
            text = self._known(_text(messages), choices) or choices[0]
            logprobs = {each: np.log(0.7 if each == text else 0.1) for each in choices}
            return Completion(text, None, logprobs, 0.7, size.total, 1, size.visual)
        parsed = schema.model_validate(json.loads(text)) if schema else None
        return Completion(text, parsed, {}, 0.5, size.total, 1, size.visual)

    def _known(self, prompt, choices):
        """Find the known answer among the choices, or the letter that stands before or after it in the prompt."""
        answer = next((answer for question, answer in self.knows.items() if question in prompt), None)
        if answer is None or answer in choices:
            return answer
        found = re.search(rf"^(?:([A-Z])[.:] {re.escape(answer)}|{re.escape(answer)}: ([A-Z]))$", prompt, re.MULTILINE)
        return found and (found[1] or found[2])

    async def chat_many(self, conversations, *, on_reply=None, **wishes):
        return [await chat_at(at, self, messages, on_reply, **wishes) for at, messages in enumerate(conversations)]

    def count_tokens(self, messages):
        visual = 16 * sum(message.pictures for message in messages)
        return TokenCount(visual + len(_text(messages).split()), visual)

    async def disconnect(self):
        pass

    def close(self):
        pass


def _text(messages):
    return "\n".join(part for message in messages for part in message.content if isinstance(part, str))


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_place(cache_folder, tmp_path, monkeypatch):
    """One world for all tests, a working folder for each."""
    monkeypatch.setenv("ESPRESSO_CACHE", str(cache_folder))
    monkeypatch.delenv("ESPRESSO_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def questions():
    return world.questions("test", LIMIT)


@pytest.fixture
def roles(questions, tmp_path):
    """Models that know every answer; the captioner is new to the caption cache in each test."""
    return Roles(
        captioner=Double("a red square", name=f"captioner {tmp_path}"),
        selector=Double('{"frames": [2, 3]}'),
        embedder=make_embedder(profiles.load("tiny").embedder),
        reasoner=Double("2.0s: nothing of that kind.", knows={question.text: question.answer for question in questions}),
    )


@pytest.fixture
def session(roles):
    with Session("tiny", roles=roles) as opened:
        yield opened
