"""The classifier of a profile: a fusion model in this process, loaded at the first use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from espresso.models.hub import LazyModel
from espresso.profiles import FusionRole
from espresso.profiles.weights import identity


class FusionClassifier:
    """A classifier of pairs with its processor."""

    def __init__(self, role: FusionRole) -> None:
        self.name = identity(role.model)
        self._model = LazyModel(role.model, role.download, _load, "[classifier]")

    async def load(self) -> int:
        """Load the model, and return the number of frames that it reads of a video.

        Raises ModelError.
        """
        _, model = await asyncio.to_thread(self._model.get)
        return int(model.config.frames)

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

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._model.close()

    def _true_logits(self, visuals: Sequence[Sequence[np.ndarray]], texts: Sequence[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds

        processor, model = self._model.get()
        inputs = {**processor.texts(texts), **processor.visuals(visuals), "pairs": torch.tensor([[0, 1]] * len(texts))}
        with self._model.lock, torch.inference_mode():
            logits: np.ndarray = model(**{name: value.to(model.device) for name, value in inputs.items()}).logits.cpu().numpy()
        return logits


def _load(folder: str) -> tuple[Any, Any]:
    from espresso.fusion.config import FusionConfig  # noqa: PLC0415 - these import torch
    from espresso.fusion.model import pair_model  # noqa: PLC0415
    from espresso.fusion.processor import FusionProcessor  # noqa: PLC0415

    model: Any = pair_model(FusionConfig.from_pretrained(folder))
    return FusionProcessor.from_pretrained(folder), model.from_pretrained(folder)
