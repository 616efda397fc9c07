"""Conversations to model inputs: the chat template, the picture placeholders, the tokens, the pixels.

Works for any text model with a chat template and for any vision model whose processor takes text with picture placeholders.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, AutoTokenizer

from espresso.errors import ModelError
from espresso.models.chat import Conversation, Message, Picture, TokenCount

_PROBE = ("first", "last")


class Reader:
    """The tokenizer of a text model, or the processor of a vision model, in a folder.

    sees: whether the model takes pictures. Raises OSError or ValueError where something cannot be loaded.
    """

    def __init__(self, folder: str, *, sees: bool):
        self.sees = sees
        self.processor: Any = AutoProcessor.from_pretrained(folder) if sees else None
        self.tokenizer: Any = self.processor.tokenizer if self.processor else AutoTokenizer.from_pretrained(folder)
        if (self.processor or self.tokenizer).chat_template is None:
            raise ValueError("its tokenizer has no chat template")
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Padding is a state of the tokenizer: threads that count share one that never pads, and batches are made one at a time.
        self._encoder: Any = deepcopy(self.tokenizer)
        self._preparing = threading.Lock()

    def render(self, messages: Conversation) -> str:
        """Return the prompt as text, one placeholder a picture, ready for the assistant to go on.

        A special token spelt out in a message is broken with a space: a question cannot end its turn or claim a picture.
        """
        return self._apply([{"role": message.role, "content": self._content(message)} for message in messages])

    def _content(self, message: Message) -> str | list[dict[str, str]]:
        texts = [self._specials.sub(_break, part) if isinstance(part, str) else part for part in message.content]
        if not self.sees:
            return "".join(part for part in texts if isinstance(part, str))
        if self._hoists_pictures:
            texts = ["".join(part if isinstance(part, str) else self.processor.image_token for part in texts)]
        return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in texts]

    def _apply(self, turns: list[dict[str, Any]], *, add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            turns,
            chat_template=(self.processor or self.tokenizer).chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # Qwen3: reply at once
        )

    @cached_property
    def _specials(self) -> re.Pattern[str]:
        tokens = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        if self.sees:
            tokens.add(self.processor.image_token)
        return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)) or r"(?!)")

    @cached_property
    def _hoists_pictures(self) -> bool:
        """Whether the chat template moves pictures before the text (LLaVA-OneVision), away from the times they belong to."""
        first, last = ({"type": "text", "text": text} for text in _PROBE)
        rendered = self._apply([{"role": "user", "content": [first, {"type": "image"}, last]}])
        return rendered.index(self.processor.image_token) < rendered.index(_PROBE[0])

    @cached_property
    def lead(self) -> str:
        """The white space that the chat template puts between the generation prompt and the reply (SmolVLM: a space)."""
        lead = self._around_reply[0]
        return lead if lead.isspace() else ""

    def reply(self, text: str) -> str:
        """Return what follows a rendered prompt when the assistant says this, the end of its turn included."""
        return self.lead + self._specials.sub(_break, text) + self._around_reply[1]

    @cached_property
    def _around_reply(self) -> tuple[str, str]:
        """What the chat template puts before and after a reply."""
        asked, said = (
            {"role": role, "content": [{"type": "text", "text": text}] if self.sees else text}
            for role, text in zip(("user", "assistant"), _PROBE, strict=True)
        )
        prompt, whole = self._apply([asked]), self._apply([asked, said], add_generation_prompt=False)
        before, _, after = whole.removeprefix(prompt).rpartition(_PROBE[1])
        return (before if whole.startswith(prompt) else ""), after.rstrip()

    def count(self, prompt: str, messages: Conversation) -> TokenCount:
        """Count the tokens of a rendered prompt, without touching its pixels."""
        total = len(self.encode(prompt))
        shapes = [picture.pixels.shape[:2] for picture in _pictures(messages)]
        sizes = [self._picture_size(*shape, alone=len(shapes) == 1) for shape in shapes]
        return TokenCount(total + sum(size.total - 1 for size in sizes), sum(size.visual for size in sizes))

    @cache  # noqa: B019 - a reader lives as long as its process
    def _picture_size(self, height: int, width: int, *, alone: bool) -> TokenCount:
        """Count the tokens of one picture of this size; LLaVA-OneVision cuts a lone picture into tiles."""
        blank = [Picture(np.zeros((height, width, 3), np.uint8))] * (1 if alone else 2)
        inputs = self.prepare([self.processor.image_token * len(blank)], [[Message("user", tuple(blank))]])
        total = inputs["input_ids"].shape[1] // len(blank)
        return TokenCount(total, int((inputs["input_ids"] == self.processor.image_token_id).sum()) // len(blank))

    def prepare(self, prompts: Sequence[str], conversations: Sequence[Conversation]) -> dict[str, torch.Tensor]:
        """Turn rendered prompts and their pictures into left-padded model inputs: one processor call for the whole batch."""
        text_options = {"padding": True, "add_special_tokens": False, "return_tensors": "pt"}
        pictures = [[picture.pixels for picture in _pictures(messages)] for messages in conversations]
        with self._preparing:
            if not self.processor:
                inputs = self.tokenizer(list(prompts), **text_options)
            elif not any(pictures):
                inputs = self.processor(text=list(prompts), text_kwargs=text_options)
            else:
                image_options = self._one_view | {"input_data_format": "channels_last", "return_tensors": "pt"}
                try:
                    inputs = self.processor(
                        text=list(prompts), images=pictures, text_kwargs=text_options, images_kwargs=image_options
                    )
                except ValueError as error:
                    sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for images in pictures for image in images})
                    raise ModelError(f"a picture of {' or '.join(sizes)} pixels does not suit the model: {error}") from error
        return {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}

    def followed(self, inputs: Mapping[str, torch.Tensor], replies: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Put a reply's tokens behind each prompt of `prepare`; replies are padded on the right."""
        ids, mask = self.padded(replies)
        more = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": torch.zeros_like(ids)}
        return {
            name: torch.cat([value, more[name].to(value)], dim=1) if name in more else value for name, value in inputs.items()
        }

    @staticmethod
    def padded(replies: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Replies' tokens as one batch, padded on the right, and its mask; both (replies, length)."""
        longest = max(map(len, replies))
        ids, mask = (torch.zeros(len(replies), longest, dtype=torch.long) for _ in range(2))
        for row, tokens in enumerate(replies):
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        return ids, mask

    @cached_property
    def _one_view(self) -> dict[str, Any]:
        """Image options that keep a video frame one view: tiles at full resolution are for documents, and cost several times."""
        images = self.processor.image_processor
        options: dict[str, Any] = {}
        if hasattr(images, "crop_to_patches"):
            options["crop_to_patches"] = False
        if hasattr(images, "do_image_splitting"):
            options |= {"do_image_splitting": False, "size": dict(images.max_image_size)}
        return options

    def encode(self, text: str) -> list[int]:
        """Return the tokens of plain text."""
        return self._encoder(text, add_special_tokens=False).input_ids


def _pictures(messages: Conversation) -> Iterator[Picture]:
    return (part for message in messages for part in message.content if isinstance(part, Picture))


def _break(special: re.Match[str]) -> str:
    return f"{special[0][0]} {special[0][1:]}"
