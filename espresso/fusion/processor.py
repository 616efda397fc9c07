"""From texts and frames to the tensors of a fusion model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase

from espresso.fusion import config as _  # noqa: F401 - registers the configuration


class FusionProcessor:
    """The image processor of the vision encoder and the tokenizer of the text encoder."""

    def __init__(self, images: Any, tokens: PreTrainedTokenizerBase) -> None:
        self.images, self.tokens = images, tokens

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> FusionProcessor:
        """Load from a hub name or a folder."""
        return cls(AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        """Save to a folder, beside the model."""
        self.images.save_pretrained(folder)
        self.tokens.save_pretrained(folder)

    def texts(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return `input_ids` and `attention_mask` of texts, (texts, length); long ones are cut."""
        encoded = self.tokens(list(texts), padding=True, truncation=True, return_tensors="pt")
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def options(self, options: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the arguments for the options of puzzles, see `PuzzleClassifier.forward`."""
        encoded = self.tokens(list(options), padding=True, truncation=True, return_special_tokens_mask=True, return_tensors="pt")
        return {
            "options": encoded["input_ids"],
            "option_mask": encoded["attention_mask"],
            "option_words": 1 - encoded["special_tokens_mask"],
        }

    def visuals(self, visuals: Sequence[Sequence[np.ndarray]]) -> dict[str, torch.Tensor]:
        """Return the tensors of visuals.

        Args:
            visuals: the frames of each visual, each (height, width, 3) uint8.

        Returns:
            `pixel_values`, (frames, 3, height, width); `frames`, (visuals, k): the positions of the
            frames of each visual in it, and -1 where a visual has fewer; and from a processor that
            pads, `pixel_mask`, (frames, height, width).
        """
        positions = torch.full((len(visuals), max(map(len, visuals))), -1)
        start = 0
        for row, frames in enumerate(visuals):
            positions[row, : len(frames)] = torch.arange(start, start + len(frames))
            start += len(frames)
        pictures = [frame for frames in visuals for frame in frames]
        return {**self.images(images=pictures, return_tensors="pt"), "frames": positions}
