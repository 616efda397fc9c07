"""Questions with known core frames and evidence become conversations: stage 1 learns the evidence, stage 2 the answer.

VideoEspresso, section 4: core frames, question and a cue -> evidence; then with the evidence -> answer. The prompts are the
templates that inference uses, rendered by the reader that inference uses, so that what is trained is what is asked.
`finetune.lora.examples` reads the files. Pictures are decoded when a batch needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import torch

import prompts
from espresso import media
from espresso.errors import DataError
from espresso.models.chat import Message, Picture
from espresso.models.processor import Reader
from prompts import Style

StageName = Literal["evidence", "answer"]
IGNORED = -100
"""The label of a token that the loss leaves out."""


class Shot(Protocol):
    """A frame whose picture can be had. time: seconds from the start of its visual."""

    @property
    def time(self) -> float:
        """Seconds."""
        ...

    def pixels(self, size: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB, its longest side at most `size`. Raises MediaError."""
        ...


@dataclass(frozen=True)
class Moment:
    """A frame of a file: of a video the one nearest to `time`, of an image the image."""

    source: str
    time: float

    def pixels(self, size: int) -> np.ndarray:
        """Decode it."""
        clip = opened(self.source)
        frame: np.ndarray = clip.decode([int(np.abs(clip.times - self.time).argmin())], size=size)[0]
        return frame


@lru_cache(maxsize=64)
def opened(source: str) -> media.Media:
    """Open a file once, however many of its frames are learnt from. Raises MediaError."""
    return media.open(source)


@dataclass(frozen=True)
class Example:
    """A question to learn from.

    shots: its core frames, in time order. evidence: what they show, with key items and boxes where the source has them. options:
    empty for an open question; they are for measuring, no prompt of the training shows them.
    """

    id: str
    question: str
    shots: tuple[Shot, ...]
    evidence: str
    answer: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be learnt from. where: file, and line or place in its list."""

    where: str
    why: str


@dataclass(frozen=True)
class Row:
    """One conversation. said: the evidence that its prompt holds ("" for none); None where the evidence is to be learnt."""

    example: Example
    said: str | None = None

    @property
    def reply(self) -> str:
        """What is learnt."""
        return self.example.evidence if self.said is None else self.example.answer

    def messages(self, style: Style, size: int) -> tuple[Message, ...]:
        """The prompt, its pictures decoded. Raises MediaError."""
        frames = [{"picture": Picture(shot.pixels(size)), "time": shot.time} for shot in self.example.shots]
        if self.said is None:
            return prompts.render("evidence", style=style, frames=frames, question=self.example.question).messages
        return prompts.render(
            "answer", style=style, frames=frames, question=self.example.question, evidence=self.said, options=[]
        ).messages


class Collator:
    """Rows -> one batch of model inputs with `labels`, (rows, length): the replies' tokens, `IGNORED` elsewhere.

    Prompts are padded on the left and replies on the right, so that each reply follows its prompt. Raises DataError where a row
    has more than `max_length` tokens.
    """

    def __init__(self, reader: Reader, *, style: Style, size: int, max_length: int) -> None:
        self.reader, self.style, self.size, self.max_length = reader, style, size, max_length

    def __call__(self, rows: Sequence[Mapping[str, Row]]) -> dict[str, torch.Tensor]:
        """Items of the dataset -> a batch."""
        conversations = [item["row"].messages(self.style, self.size) for item in rows]
        prepared = self.reader.prepare([self.reader.render(messages) for messages in conversations], conversations)
        replies = [self.reader.encode(self.reader.reply(item["row"].reply)) for item in rows]
        for item, mask, reply in zip(rows, prepared["attention_mask"], replies, strict=True):
            if (length := int(mask.sum()) + len(reply)) > self.max_length:
                raise DataError(
                    f"question {item['row'].example.id}: {length} tokens, over max_length of {self.max_length}. "
                    "Raise it, or lower frame_size."
                )
        inputs = self.reader.followed(prepared, replies)
        learnt = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
        learnt[:, prepared["input_ids"].shape[1] :] = inputs["attention_mask"][:, prepared["input_ids"].shape[1] :].bool()
        return inputs | {"labels": inputs["input_ids"].masked_fill(~learnt, IGNORED)}
