"""How lmms-eval shows, asks and scores the questions of `questions.lmms-eval.jsonl`, which `espresso world export` wrote.

A document: `id`, `task`, `clip` (a path from this folder), `question`, `options`, `answer` (the text of one of them), `frames`
(positions of evenly spread ones in the clip) and `prompt` (the question behind those frames, `<image 1>` and so on in the places
of the pictures). Needs lmms-eval's own dependencies alone.
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
    """The path of the clip."""
    return [str(Path(__file__).parent / doc["clip"])]


def pictures(doc: Document) -> list[Image]:
    """The frames, decoded."""
    wanted, found = set(doc["frames"]), []
    with av.open(clip(doc)[0]) as video:
        for index, frame in enumerate(video.decode(video=0)):
            if index in wanted:
                found.append(frame.to_image())
            if len(found) == len(wanted):
                break
    return found


def lettered(doc: Document) -> str:
    """The question, its options each behind a letter, and lmms-eval's usual request for one of the letters."""
    options = [f"{letter}. {text}" for letter, text in zip(LETTERS, doc["options"], strict=False)]
    return "\n".join([doc["question"], *options, "Answer with the option's letter from the given choices directly."])


def prompt(doc: Document) -> str:
    """The question behind its frames, without options."""
    return str(doc["prompt"])


def letter(doc: Document) -> str:
    """The letter of the right option."""
    return LETTERS[doc["options"].index(doc["answer"])]


def answer(doc: Document) -> str:
    """The text of the right option."""
    return str(doc["answer"])


def score_letter(doc: Document, replies: list[str]) -> dict[str, float]:
    """1 where the first letter that stands alone is the right one: "B", "(B)", "B. a lamp", "it is B", but not "A lamp"."""
    found = re.search(r"\b([A-Z])\b(?=\s*(?:[).:,]|$))", replies[0])
    return {"accuracy": float(found is not None and found[1] == letter(doc))}


def score_words(doc: Document, replies: list[str]) -> dict[str, float]:
    """1 where no option is nearer to the reply than the right one."""
    return {"accuracy": float(nearest(replies[0], doc["options"]) == doc["answer"])}


def nearest(reply: str, options: list[str] | tuple[str, ...]) -> str:
    """The option that shares most with the reply (Ratcliff and Obershelp's measure); the first of equals."""
    return max(options, key=lambda option: SequenceMatcher(None, reply, option).ratio())
