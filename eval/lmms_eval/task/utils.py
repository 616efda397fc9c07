"""Functions of an exported task: show, ask and score the questions of `questions.lmms-eval.jsonl`.

A document has `id`, `task`, `clip` (path from this folder, or absolute), `question`, `options`,
`answer` (the text of an option), `frames` (indices of evenly spaced frames in the clip) and
`prompt` (the question after its frames, with `<image 1>` and so on in their places). If a question
of the export has several visuals, `clip` and `frames` are lists with one entry per visual.

This file needs only the dependencies of lmms-eval.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import av
from PIL.Image import Image

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Document = dict[str, Any]


def clip(doc: Document) -> list[str]:
    """Return the paths of the visuals."""
    paths = [doc["clip"]] if isinstance(doc["clip"], str) else doc["clip"]
    return [str(Path(__file__).parent / path) for path in paths]


def pictures(doc: Document) -> list[Image]:
    """Decode the frames of all visuals."""
    indices = [doc["frames"]] if isinstance(doc["clip"], str) else doc["frames"]
    return [image for path, wanted in zip(clip(doc), indices, strict=True) for image in _decode(path, set(wanted))]


def _decode(path: str, wanted: set[int]) -> list[Image]:
    """Decode the frames of these indices, upright."""
    images: list[Image] = []
    if not wanted:
        return images
    with av.open(path) as video:
        for index, frame in enumerate(video.decode(video=0)):
            if index in wanted:
                images.append(frame.to_image().rotate(getattr(frame, "rotation", 0), expand=True))
            if len(images) == len(wanted):
                break
    return images


def lettered(doc: Document) -> str:
    """Return the question, lettered options, and lmms-eval's usual request for a letter."""
    options = [f"{letter}. {text}" for letter, text in zip(LETTERS, doc["options"], strict=False)]
    return "\n".join([doc["question"], *options, "Answer with the option's letter from the given choices directly."])


def prompt(doc: Document) -> str:
    """Return the question after its frames, without options."""
    return str(doc["prompt"])


def letter(doc: Document) -> str:
    """Return the letter of the correct option."""
    return LETTERS[doc["options"].index(doc["answer"])]


def answer(doc: Document) -> str:
    """Return the text of the correct option."""
    return str(doc["answer"])


def score_letter(doc: Document, replies: list[str]) -> dict[str, float]:
    """Score 1 if the first single letter is correct: "B", "(B)", "B. a lamp" or "it is B".

    The article in "A lamp" is not a letter.
    """
    match = re.search(r"\b([A-Z])\b(?=\s*(?:[).:,]|$))", replies[0])
    return {"accuracy": float(match is not None and match[1] == letter(doc))}


def score_words(doc: Document, replies: list[str]) -> dict[str, float]:
    """Score 1 if the correct option is the one most similar to the reply."""
    return {"accuracy": float(nearest(replies[0], doc["options"]) == doc["answer"])}


def nearest(reply: str, options: list[str] | tuple[str, ...]) -> str:
    """Return the option most similar to the reply (Ratcliff-Obershelp); the first one of equals."""
    return max(options, key=lambda option: SequenceMatcher(None, reply, option).ratio())
