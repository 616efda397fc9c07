"""A real clip, and a double for the one thing that cannot run in a test: a model."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from agents.session import Session
from espresso import media, profiles
from espresso.models import Completion, Roles, TokenCount
from espresso.models.chat import chat_at


@dataclass
class Double:
    """A chat model that says its replies in turn, the last one for ever, and keeps what it was asked."""

    replies: list[str]
    name: str = "double"
    context_length: int = 100_000
    asked: list = field(default_factory=list)
    wishes: list = field(default_factory=list)
    faults: dict = field(default_factory=dict)  # number of the request -> why its reply cannot be used

    async def chat(self, messages, *, choices=None, schema=None, adapter=None, max_tokens=256, temperature=0.0, seed=None):
        text = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(messages)
        self.wishes.append({"choices": choices, "schema": schema, "adapter": adapter})
        size = self.count_tokens(messages)
        told = {"fault": self.faults.get(len(self.asked) - 1, self.faults.get("all"))}
        told |= {"tokens_in": size.total, "tokens_visual": size.visual, "tokens_out": len(text.split())}
        if choices:
            text = text if text in choices else choices[0]
            rest = np.log(0.2 / (len(choices) - 1))
            return Completion(text, None, {each: np.log(0.8) if each == text else rest for each in choices}, 0.8, **told)
        return Completion(text, _parsed(schema, text), {}, 0.5, **told)

    async def chat_many(self, conversations, *, on_reply=None, **wishes):
        return [await chat_at(at, self, messages, on_reply, **wishes) for at, messages in enumerate(conversations)]

    def count_tokens(self, messages):
        visual = 16 * sum(message.pictures for message in messages)
        words = sum(len(part.split()) for message in messages for part in message.content if isinstance(part, str))
        return TokenCount(visual + words, visual)

    async def disconnect(self):
        pass

    def close(self):
        pass


class BagOfWords:
    """An embedder whose vectors count words, each word in a dimension of its own."""

    name = "words"

    def __init__(self):
        self.words, self.texts = {}, []

    async def load(self):
        pass

    async def embed(self, texts):
        self.texts += texts
        rows = np.full((len(texts), 256), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[self.words.setdefault(word, len(self.words))] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def close(self):
        pass


def _parsed(schema, text):
    try:
        return schema.model_validate(json.loads(text)) if schema else None
    except ValueError:
        return None


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESPRESSO_PROFILE", raising=False)


@pytest.fixture
def says():
    return lambda *replies, **more: Double(list(replies), **more)


@pytest.fixture
def roles(says):
    return Roles(
        captioner=says(*(f"a red square after {steps} steps" for steps in range(100)), name="captioner"),
        selector=says('{"frames": [2, 3]}', name="selector"),
        reasoner=says("the square moves right", "B", name="reasoner"),
    )


@pytest.fixture
def profile():
    """The `tiny` profile, for models that know every clip and choose letters."""
    changes = {"sampling": "uniform-6", "core_frames": 4, "choose": "letters", "world_only": False}
    return profiles.load("tiny").model_copy(update=changes)


@pytest.fixture
def session(own_cache, profile, roles):
    with Session(profile, roles=roles) as opened:
        yield opened


@pytest.fixture
def clip(tmp_path):
    """Three seconds at 8 fps in which a square crosses the picture."""
    frames = np.full((24, 64, 64, 3), 230, np.uint8)
    for index, frame in enumerate(frames):
        frame[20:36, 2 * index : 2 * index + 16] = (200, 30, 30)
    path = tmp_path / "clip.mp4"
    media.write_video(path, frames, 8)
    return path
