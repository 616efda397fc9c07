"""Turn conversations into model inputs: chat template, picture placeholders, tokens, pixels.

Works for any text model with a chat template, and for any vision model with a processor that takes
text with picture placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, AutoTokenizer

from espresso.errors import ModelError
from espresso.forks import Lock
from espresso.models.chat import Conversation, Message, Picture, TokenCount

_PROBE = ("first", "last")
"""Texts that are rendered to find out what a chat template does."""


class ChatProcessor:
    """The tokenizer of a text model, or the processor of a vision model.

    Rendering and counting are safe from any thread; `prepare` runs one batch at a time.

    Args:
        folder: folder of the model.
        vision: whether the model takes pictures.
        image_options: keyword arguments of the image processor; None is `whole_picture_options`.

    Raises:
        OSError, ValueError: a file is missing or invalid, or there is no chat template.
    """

    processor: Any
    """The processor of transformers; None for a text model."""

    tokenizer: Any
    """The tokenizer of transformers."""

    def __init__(self, folder: str, *, vision: bool, image_options: Mapping[str, Any] | None = None):
        self.vision = vision
        self.processor = AutoProcessor.from_pretrained(folder) if vision else None
        self.tokenizer = self.processor.tokenizer if self.processor else AutoTokenizer.from_pretrained(folder)
        if (self.processor or self.tokenizer).chat_template is None:
            raise ValueError("its tokenizer has no chat template")
        self._image_options: dict[str, Any] = {}
        if self.processor:
            whole = whole_picture_options(self.processor.image_processor)
            self._image_options = whole if image_options is None else dict(image_options)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Padding changes the tokenizer: threads that count share a copy that never pads.
        self._encoder: Any = deepcopy(self.tokenizer)
        self._preparing = Lock()
        self._picture_sizes: dict[tuple[int, int, bool], TokenCount] = {}

    def render(self, messages: Conversation) -> str:
        """Return the prompt as text with one placeholder per picture, up to the assistant's reply.

        A space is inserted into special tokens in the messages: a question cannot end its turn or
        insert a picture.
        """
        return self._apply_template([{"role": message.role, "content": self._content(message)} for message in messages])

    def _content(self, message: Message) -> str | list[dict[str, str]]:
        parts = [self._special_tokens.sub(_break, part) if isinstance(part, str) else part for part in message.content]
        if not self.vision:
            return "".join(part for part in parts if isinstance(part, str))
        if self._moves_pictures:
            parts = ["".join(part if isinstance(part, str) else self.processor.image_token for part in parts)]
        return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]

    def _apply_template(self, turns: list[dict[str, Any]], *, add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            turns,
            chat_template=(self.processor or self.tokenizer).chat_template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # Qwen3: reply without a reasoning block
        )

    @cached_property
    def _special_tokens(self) -> re.Pattern[str]:
        tokens = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        if self.vision:
            tokens.add(self.processor.image_token)
        return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)) or r"(?!)")

    @cached_property
    def _moves_pictures(self) -> bool:
        """Whether the chat template moves pictures before the text (LLaVA-OneVision)."""
        first, last = ({"type": "text", "text": text} for text in _PROBE)
        rendered = self._apply_template([{"role": "user", "content": [first, {"type": "image"}, last]}])
        return rendered.index(self.processor.image_token) < rendered.index(_PROBE[0])

    @cached_property
    def reply_prefix(self) -> str:
        """White space that the chat template puts before a reply (SmolVLM: a space)."""
        prefix = self._around_reply[0]
        return prefix if prefix.isspace() else ""

    def render_reply(self, text: str) -> str:
        """Return the text of a reply as it follows a rendered prompt, with the end of the turn."""
        return self.reply_prefix + self._special_tokens.sub(_break, text) + self._around_reply[1]

    @cached_property
    def _around_reply(self) -> tuple[str, str]:
        """The text that the chat template puts before and after a reply."""
        user, assistant = (
            {"role": role, "content": [{"type": "text", "text": text}] if self.vision else text}
            for role, text in zip(("user", "assistant"), _PROBE, strict=True)
        )
        prompt, whole = self._apply_template([user]), self._apply_template([user, assistant], add_generation_prompt=False)
        before, _, after = whole.removeprefix(prompt).rpartition(_PROBE[1])
        return (before if whole.startswith(prompt) else ""), after.rstrip()

    def count(self, prompt: str, messages: Conversation) -> TokenCount:
        """Count the tokens of a rendered prompt without processing its pictures."""
        total = len(self.encode(prompt))
        shapes = [picture.pixels.shape[:2] for picture in _pictures(messages)]
        sizes = [self._picture_size(*shape, alone=len(shapes) == 1) for shape in shapes]
        return TokenCount(total + sum(size.total - 1 for size in sizes), sum(size.visual for size in sizes))

    def _picture_size(self, height: int, width: int, *, alone: bool) -> TokenCount:
        """Count the tokens of one picture; LLaVA-OneVision splits a single picture into tiles."""
        key = height, width, alone
        if (size := self._picture_sizes.get(key)) is None:
            blank = [Picture(np.zeros((height, width, 3), np.uint8))] * (1 if alone else 2)
            inputs = self.prepare([self.processor.image_token * len(blank)], [[Message("user", tuple(blank))]])
            total = inputs["input_ids"].shape[1] // len(blank)
            visual = int((inputs["input_ids"] == self.processor.image_token_id).sum()) // len(blank)
            size = self._picture_sizes[key] = TokenCount(total, visual)
        return size

    def prepare(self, prompts: Sequence[str], conversations: Sequence[Conversation]) -> dict[str, torch.Tensor]:
        """Turn rendered prompts and their pictures into left-padded inputs in one processor call.

        Args:
            prompts: the conversations as rendered by `render`.
            conversations: supply the pictures.

        Raises:
            ModelError: the processor rejects the size of a picture.
        """
        text_options = {"padding": True, "add_special_tokens": False, "return_tensors": "pt"}
        pictures = [[picture.pixels for picture in _pictures(messages)] for messages in conversations]
        with self._preparing:
            if not self.processor:
                inputs = self.tokenizer(list(prompts), **text_options)
            elif not any(pictures):
                inputs = self.processor(text=list(prompts), text_kwargs=text_options)
            else:
                image_options = self._image_options | {"input_data_format": "channels_last", "return_tensors": "pt"}
                try:
                    inputs = self.processor(
                        text=list(prompts), images=pictures, text_kwargs=text_options, images_kwargs=image_options
                    )
                except ValueError as error:
                    sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for images in pictures for image in images})
                    raise ModelError(f"the model cannot process a picture of {' or '.join(sizes)} pixels: {error}") from error
        return {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}

    def append_replies(self, inputs: Mapping[str, torch.Tensor], replies: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Append the tokens of one reply to each prompt of `prepare`, padded on the right."""
        ids, mask = self.pad_replies(replies)
        added = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": torch.zeros_like(ids)}
        return {
            name: torch.cat([value, added[name].to(value)], dim=1) if name in added else value for name, value in inputs.items()
        }

    @staticmethod
    def pad_replies(replies: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad tokens on the right; return them and their mask, both of shape (replies, length)."""
        longest = max(map(len, replies))
        ids, mask = (torch.zeros(len(replies), longest, dtype=torch.long) for _ in range(2))
        for row, tokens in enumerate(replies):
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        return ids, mask

    def encode(self, text: str) -> list[int]:
        """Return the tokens of plain text."""
        return self._encoder(text, add_special_tokens=False).input_ids


def whole_picture_options(image_processor: Any) -> dict[str, Any]:
    """Return the image processor's options that keep a picture in one piece.

    Tiles are for documents and cost more tokens. A processor without tiles needs no options.

    Args:
        image_processor: an image processor of transformers (SmolVLM, InternVL, ...).
    """
    options: dict[str, Any] = {}
    if hasattr(image_processor, "crop_to_patches"):
        options["crop_to_patches"] = False
    if hasattr(image_processor, "do_image_splitting"):
        options |= {"do_image_splitting": False, "size": dict(image_processor.max_image_size)}
    return options


def _pictures(messages: Conversation) -> Iterator[Picture]:
    return (part for message in messages for part in message.content if isinstance(part, Picture))


def _break(special: re.Match[str]) -> str:
    return f"{special[0][0]} {special[0][1:]}"
