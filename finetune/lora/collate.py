"""Turn questions with known core frames and evidence into training batches.

The first stage learns to write evidence from core frames and a question; the second stage learns to
answer from core frames, question and evidence (VideoEspresso, section 4). Prompts come from the
templates that inference uses and are tokenized by the same processor. Frames are decoded when a
batch needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

import prompts
from espresso.datasets import Example, FrameReference
from espresso.errors import DataError
from espresso.models.chat import Message, Picture
from espresso.models.processor import ChatProcessor
from prompts import Style

StageName = Literal["evidence", "answer", "ground"]
IGNORE_INDEX = -100
"""Label of tokens that do not count in the loss."""


@dataclass(frozen=True)
class TrainingRow:
    """One conversation: a prompt and the reply to learn."""

    example: Example
    prompt_evidence: str | None = None
    """Evidence in the prompt of a second-stage row, "" for none. None makes a first-stage row,
    which has the evidence as its reply."""
    grounding: bool = False
    """Whether this is a row of the grounding stage: the question lists the key items to find in the
    frame, and the reply is the evidence, their boxes."""
    show_frames: bool = True
    """Whether the prompt shows the frames."""

    @property
    def reply(self) -> str:
        """The text to learn."""
        return self.example.evidence if self.prompt_evidence is None else self.example.answer

    @property
    def frames(self) -> tuple[FrameReference, ...]:
        """The frames that the prompt shows."""
        return self.example.frames if self.show_frames else ()

    def messages(self, style: Style, size: int) -> tuple[Message, ...]:
        """Decode the frames and render the prompt.

        Args:
            style: prompt style.
            size: longest side of a frame in pixels.

        Raises:
            MediaError: a frame cannot be decoded.
        """
        question = self.example.question
        names = self.example.names or ("the video",) * len(self.frames)
        frames = [
            {"picture": Picture(frame.pixels(size)), "time": frame.time, "name": name}
            for frame, name in zip(self.frames, names, strict=bool(self.frames))
        ]
        if self.grounding:
            return prompts.render("annotate/ground", style=style, frame=frames[0], labels=question.split(", ")).messages
        if self.prompt_evidence is None:
            return prompts.render("evidence", style=style, frames=frames, question=question).messages
        return prompts.render(
            "answer", style=style, frames=frames, question=question, evidence=self.prompt_evidence, options=[]
        ).messages


class ConversationCollator:
    """Collate rows into a batch of model inputs and `labels`.

    Prompts are padded on the left and replies on the right, so that each reply directly follows its
    prompt.

    Args:
        processor: the base model's processor.
        style: prompt style.
        size: longest side of a frame in pixels.
        max_length: maximum tokens of prompt and reply.
    """

    def __init__(self, processor: ChatProcessor, *, style: Style, size: int, max_length: int) -> None:
        self.processor, self.style, self.size, self.max_length = processor, style, size, max_length

    def __call__(self, items: Sequence[Mapping[str, TrainingRow]]) -> dict[str, torch.Tensor]:
        """Return the model inputs of a batch.

        Args:
            items: items of the dataset; each holds a TrainingRow under the key `row`.

        Returns:
            Model inputs, all (rows, length) but the pixels, and `labels`: the tokens of the
            replies, `IGNORE_INDEX` elsewhere.

        Raises:
            DataError: a row has more than `max_length` tokens.
        """
        rows = [item["row"] for item in items]
        conversations = [row.messages(self.style, self.size) for row in rows]
        prepared = self.processor.prepare([self.processor.render(messages) for messages in conversations], conversations)
        replies = [self.processor.encode(self.processor.render_reply(row.reply)) for row in rows]
        for row, mask, reply in zip(rows, prepared["attention_mask"], replies, strict=True):
            if (length := int(mask.sum()) + len(reply)) > self.max_length:
                raise DataError(
                    f"question {row.example.id}: {length} tokens exceed max_length of {self.max_length}. "
                    "Increase max_length or decrease frame_size."
                )
        inputs = self.processor.append_replies(prepared, replies)
        prompt_length = prepared["input_ids"].shape[1]
        is_reply = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
        is_reply[:, prompt_length:] = inputs["attention_mask"][:, prompt_length:].bool()
        return inputs | {"labels": inputs["input_ids"].masked_fill(~is_reply, IGNORE_INDEX)}
