"""Real clips, and the models behind a scripted OpenAI-compatible server."""

import hashlib
import json
import re

import numpy as np
import pytest

from espresso import media
from tests.http_server import http_server

ROLE = """
[{role}]
backend = "openai"
model = "{role}"
base_url = "{url}"
context_length = 32000
picture_tokens = 100
price_in = 1.0
price_out = 10.0
"""
HEAD = 'about = "test"\ndownload = "none"\nprompts = "general"\nsampling = "uniform-6"\nframe_size = 64\ncore_frames = 4\n'


def write_profile(path, url, *, roles=("captioner", "selector", "reasoner", "writer", "detector"), embedder=True):
    text = HEAD + "".join(ROLE.format(role=role, url=url) for role in roles)
    if embedder:
        text += f'\n[embedder]\nbackend = "openai"\nmodel = "embedder"\nbase_url = "{url}"\nsame_above = 0.99\n'
    path.write_text(text)
    return path


def text_of(request):
    """All text of a request's messages."""
    contents = [message["content"] for message in request["messages"]]
    return "\n".join(
        content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content) for content in contents
    )


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def vector(text):
    rng = np.random.default_rng(int(digest(text)[:8], 16))
    return rng.standard_normal(32).tolist()


def answer(request):
    """What a perfect set of models replies: a function of the request alone."""
    if "input" in request:
        return {"object": "list", "data": [{"index": n, "embedding": vector(text)} for n, text in enumerate(request["input"])]}
    text = text_of(request)
    captions = re.findall(r"^Frame \d+, [\d.]+ s: (.*)$", text, re.MULTILINE)
    if request["model"] == "captioner":
        reply = f"a square at place {digest(request['messages'])[:6]}"
    elif request["model"] == "detector":
        labels = re.search(r"Find these objects in the picture: (.*)", text)[1].split("; ")
        reply = "\n".join(f"<obj_start>{label}<obj_end><box_start>[250, 500, 750, 1000]<box_end>" for label in labels)
    elif request["model"] == "reasoner":
        return chosen("D")
    elif "Write up to" in text:
        pair = {"task": "Event Process", "reasoning": "it moves"}
        reply = {
            "pairs": [
                pair | {"question": "Where does it go?", "answer": "to the right"},
                pair | {"question": "Is it nice?", "answer": "bad taste"},
                pair | {"question": "Where does it go?", "answer": "to the right again"},
            ]
        }
    elif "Check three things" in text:
        right = re.search(r"^Answer: (.*)$", text, re.MULTILINE)[1].startswith("to the right")
        reply = {"reason": "" if right else "not so", "consistent": right, "objective": True, "continuous": True}
    elif "Write three wrong answers" in text:
        reply = {"distractors": ["to the left", "upwards", "nowhere"]}
    else:
        reply = {"captions": captions[1:3], "key_items": ["square"], "evidence": "The square moves."}
    return completion(reply if isinstance(reply, str) else json.dumps(reply))


def completion(text, logprobs=None):
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "logprobs": logprobs}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def chosen(letter):
    def token(text, p):
        return {"token": text, "logprob": float(np.log(p)), "bytes": None, "top_logprobs": []}

    content = token(letter, 0.7) | {"top_logprobs": [token(each, 0.7 if each == letter else 0.1) for each in "ABCD"]}
    return completion(letter, {"content": [content]})


@pytest.fixture
def server():
    with http_server(answers=lambda request: (200, answer(request))) as server:
        yield server


@pytest.fixture
def profile(tmp_path, server):
    return write_profile(tmp_path / "served.toml", server.url)


def make_clip(path, colour=(200, 30, 30), frames=24):
    """Write a clip of a square that moves to the right."""
    pixels = np.full((frames, 64, 64, 3), 230, np.uint8)
    for index, frame in enumerate(pixels):
        frame[20:36, 2 * (index % 24) : 2 * (index % 24) + 16] = colour
    media.write_video(path, pixels, 8)
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    return [make_clip(folder / f"{number}.mp4", colour) for number, colour in enumerate(colours)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESPRESSO_PROFILE", raising=False)
