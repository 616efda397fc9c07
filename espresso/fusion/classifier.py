"""The classifier of a profile: a fusion model in this process, loaded at the first use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from espresso.models.hub import LazyModel
from espresso.profiles import FusionRole
from espresso.profiles.weights import identity

if TYPE_CHECKING:
    from espresso.fusion.config import FusionConfig


class FusionClassifier:
    """A classifier of pairs, or of puzzles, with its processor."""

    def __init__(self, role: FusionRole) -> None:
        self.name = identity(role.model)
        self._model = LazyModel(role.model, role.download, _load, "[classifier]")

    async def load(self) -> FusionConfig:
        """Load the model, and return its configuration: how many visuals and frames it reads.

        Raises ModelError.
        """
        _, model = await asyncio.to_thread(self._model.get)
        config: FusionConfig = model.config
        return config

    async def true_logits(self, visuals: Sequence[Sequence[np.ndarray]], texts: Sequence[str]) -> np.ndarray:
        """Return for each text the logit that it is true of two visuals.

        Args:
            visuals: the frames of the first and of the second visual, each (height, width, 3) uint8
                RGB.
            texts: statements, each with a reason after it in the reasoning task.

        Returns:
            Logits, (texts,), float32.

        Raises:
            ModelError: the model cannot be loaded.
        """
        return await asyncio.to_thread(self._true_logits, visuals, texts)

    async def option_logits(self, picture: np.ndarray, question: str, options: Sequence[str]) -> np.ndarray:
        """Return the logit of each option of a puzzle.

        Args:
            picture: (height, width, 3) uint8 RGB.
            question: the question.
            options: the texts of the options.

        Returns:
            Logits, (options,), float32.

        Raises:
            ModelError: the model cannot be loaded.
        """
        return await asyncio.to_thread(self._option_logits, picture, question, options)

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._model.close()

    def _true_logits(self, visuals: Sequence[Sequence[np.ndarray]], texts: Sequence[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds

        processor, _ = self._model.get()
        return self._logits(
            {**processor.texts(texts), **processor.visuals(visuals), "pairs": torch.tensor([[0, 1]] * len(texts))}
        )

    def _option_logits(self, picture: np.ndarray, question: str, options: Sequence[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds

        processor, _ = self._model.get()
        asked = processor.texts([question])
        logits = self._logits({
            "pictures": processor.visuals([[picture]])["pixel_values"],
            "questions": asked["input_ids"], "question_mask": asked["attention_mask"],
            **processor.options(options),
            "choices": torch.arange(len(options))[None],
        })  # fmt: skip
        row: np.ndarray = logits[0]
        return row

    def _logits(self, inputs: dict[str, Any]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds

        _, model = self._model.get()
        with self._model.lock, torch.inference_mode():
            logits: np.ndarray = model(**{name: value.to(model.device) for name, value in inputs.items()}).logits.cpu().numpy()
        return logits


def _load(folder: str) -> tuple[Any, Any]:
    from transformers import AutoConfig  # noqa: PLC0415 - these import torch

    from espresso.fusion.config import FusionConfig, PuzzleConfig  # noqa: PLC0415
    from espresso.fusion.model import pair_model  # noqa: PLC0415
    from espresso.fusion.processor import FusionProcessor  # noqa: PLC0415
    from espresso.fusion.puzzles import PuzzleClassifier  # noqa: PLC0415

    config = AutoConfig.from_pretrained(folder)
    if isinstance(config, PuzzleConfig):
        if config.head != "shared":
            raise ValueError(f"its head is {config.head!r}, and a question does not name its puzzle: the head must be 'shared'")
        return FusionProcessor.from_pretrained(folder), PuzzleClassifier.from_pretrained(folder)
    if not isinstance(config, FusionConfig):
        raise ValueError(f"it is a model of type {config.model_type}, not a fusion classifier")
    model: Any = pair_model(config)
    return FusionProcessor.from_pretrained(folder), model.from_pretrained(folder)
