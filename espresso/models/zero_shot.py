"""Find objects in a picture and check what a picture shows, by labels in words.

VideoEspresso grounds key items with GroundingDINO and verifies their labels with CLIP. Any detector
and any model of pictures and texts that transformers loads for these tasks can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from espresso.models.hub import LazyModel
from espresso.profiles import ZeroShotClassifier, ZeroShotDetector
from espresso.profiles.weights import identity
from espresso.schema import Box


@dataclass(frozen=True)
class Detection:
    """An object that was found in a picture."""

    label: str
    """The label that was looked for."""

    box: Box
    """xyxy in pixels of the picture."""

    score: float | None = None
    """Confidence of the detector, 0 to 1; None if it reports none."""


class ObjectDetector:
    """An open-vocabulary detector in this process, loaded at the first use."""

    def __init__(self, role: ZeroShotDetector) -> None:
        self.name = identity(role.model)
        self._role = role
        self._model = LazyModel(role.model, role.download, partial(_load, "AutoModelForZeroShotObjectDetection"), "[detector]")

    async def load(self) -> None:
        """Load the model. Raises ModelError."""
        await asyncio.to_thread(self._model.get)

    async def detect(self, pixels: np.ndarray, labels: Sequence[str]) -> list[Detection]:
        """Find the best box of each label.

        Args:
            pixels: one picture, (height, width, 3) uint8 RGB.
            labels: what to look for, such as "a red car".

        Returns:
            At most one detection per label, in the order of the labels; labels that are not found
            are left out.

        Raises:
            ModelError: the model cannot be loaded.
        """
        return await asyncio.to_thread(self._detect, pixels, labels) if labels else []

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._model.close()

    def _detect(self, pixels: np.ndarray, labels: Sequence[str]) -> list[Detection]:
        import torch  # noqa: PLC0415 - takes seconds

        processor, model = self._model.get()
        height, width = pixels.shape[:2]
        # One label at a time: GroundingDINO returns phrases, which may mix words of several labels.
        found = []
        for label in labels:
            with self._model.lock, torch.inference_mode():
                inputs = _inputs(processor, model, [pixels], [[_phrase(label)]])
                outputs = model(**inputs)
                (result,) = processor.post_process_grounded_object_detection(
                    outputs, threshold=self._role.min_score, target_sizes=[(height, width)]
                )
            scores = result["scores"].tolist()
            boxes = result["boxes"].cpu().numpy().clip(0, (width, height, width, height)).tolist()
            inside = [each for each in zip(scores, boxes, strict=True) if each[1][0] < each[1][2] and each[1][1] < each[1][3]]
            if inside:  # OWLv2 pads a picture to a square, and may find something in the padding
                score, (x1, y1, x2, y2) = max(inside)
                found.append(Detection(label, (x1, y1, x2, y2), score))
        return found


def _phrase(label: str) -> str:
    """Return a label as detectors expect it.

    GroundingDINO separates labels by dots. Its processor writes a label without dots in lower case
    and adds the last dot; the tokenizers of OWL-ViT and OWLv2 write it in lower case.
    """
    return label.replace(".", " ").strip()


class PictureClassifier:
    """A model of pictures and texts in this process (CLIP, SigLIP), loaded at the first use."""

    def __init__(self, role: ZeroShotClassifier) -> None:
        self.name = identity(role.model)
        self._model = LazyModel(
            role.model, role.download, partial(_load, "AutoModelForZeroShotImageClassification"), "[verifier]"
        )

    async def load(self) -> None:
        """Load the model. Raises ModelError."""
        await asyncio.to_thread(self._model.get)

    async def classify(self, pictures: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
        """Return how well each label fits each picture.

        Args:
            pictures: pictures of any size, (height, width, 3) uint8 RGB.
            labels: two or more labels.

        Returns:
            The probability of each label among all, shape (pictures, labels), float32.

        Raises:
            ModelError: the model cannot be loaded.
        """
        return await asyncio.to_thread(self._classify, list(pictures), list(labels))

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._model.close()

    def _classify(self, pictures: list[np.ndarray], labels: list[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds

        processor, model = self._model.get()
        # SigLIP has only seen texts that are padded to its maximum length.
        padding = "max_length" if model.config.model_type.startswith("siglip") else True
        with self._model.lock, torch.inference_mode():
            inputs = _inputs(processor, model, pictures, labels, padding=padding)
            probabilities: np.ndarray = model(**inputs).logits_per_image.softmax(-1).cpu().numpy()
        return probabilities


def _inputs(processor: Any, model: Any, pictures: Sequence[np.ndarray], text: Sequence[Any], **options: Any) -> Any:
    """Return the inputs of a model on its device; labels that are too long for it are cut off."""
    longest = min(processor.tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
    # As images: an array that is 1 or 3 pixels high could be read with its channels first.
    images = [Image.fromarray(each) for each in pictures]
    return processor(images=images, text=text, max_length=longest, truncation=True, return_tensors="pt", **options).to(
        model.device
    )


def _load(kind: str, folder: str) -> tuple[Any, Any]:
    """Load a processor, and a model by the name of its class in transformers."""
    import torch  # noqa: PLC0415 - takes seconds
    import transformers  # noqa: PLC0415

    processor = transformers.AutoProcessor.from_pretrained(folder)
    if not hasattr(processor, "image_processor"):
        raise ValueError("its processor_config.json or preprocessor_config.json is missing")
    return processor, getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, weights_only=True)
