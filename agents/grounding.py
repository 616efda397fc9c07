"""Locate key items: find their boxes in a frame, and verify what the boxes show.

VideoEspresso finds boxes with GroundingDINO and checks labels with CLIP (section 3.3). A
vision-language model can take the place of the detector: it writes boxes in the markup of
VideoEspresso's files, in thousandths of the frame.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import prompts
from agents.answer.context import AnswerContext
from espresso import media
from espresso.errors import ModelError, ServerDownError
from espresso.models import ChatModel, Completion, Picture
from espresso.models.zero_shot import Detection, ObjectDetector, PictureClassifier
from espresso.schema import Box, Frame, KeyItem

GROUND_TOKENS = 256
"""Maximum length of a reply with boxes."""
DETECTOR_SIZE = 800
"""Longest side in pixels of the frames that a detector sees: GroundingDINO's own size."""
MARGIN = 0.1
"""Part of a box's width and height that the verifier sees around it."""
SOMETHING_ELSE = "something else"
"""The label that a verifier can choose against all key items."""


@dataclass(frozen=True)
class Located:
    """Key items that were looked for in one frame, and what that cost."""

    items: tuple[KeyItem, ...]
    """One for each label; it has a box if it was found and verified."""

    detected: int
    """Boxes that the detector found."""

    replies: tuple[Completion, ...]
    """Replies of a detector that is a vision-language model."""

    prompt: str | None
    """Hash of its prompt template."""

    note: str | None
    """Why nothing could be looked for; None if all went well."""


async def locate(frame: Frame, labels: Sequence[str], others: Sequence[str], context: AnswerContext) -> Located:
    """Find the boxes of key items in a frame with the profile's detector, and verify them.

    Args:
        frame: the frame.
        labels: the key items.
        others: further key items, which a box may show by mistake.
        context: the opened context, of a profile with a detector.

    Raises:
        MediaError: the frame cannot be decoded.
        ServerDownError: the detector's server is down. Another failure of the detector is a note.
    """
    detector = context.session.roles.detector
    assert detector
    pixels = await _pixels(frame, detector, context)
    replies, note, prompt = list[Completion](), None, None
    try:
        if isinstance(detector, ObjectDetector):
            detections = await detector.detect(pixels, labels)
        else:
            detections, reply, prompt = await _ask(detector, pixels, labels, context)
            replies.append(reply)
    except ServerDownError:
        raise
    except ModelError as error:
        detections, note = [], str(error)
    kept = await _verify(pixels, detections, (*labels, *others), context)
    visual = context.visuals[frame.visual].visual
    scale = (visual.width / pixels.shape[1], visual.height / pixels.shape[0])
    found = {each.label: each for each in kept}
    items = tuple(_key_item(label, frame, found.get(label), scale) for label in labels)
    return Located(items, len(detections), tuple(replies), prompt, note)


def labels_by_text(labels: Sequence[str], texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return which key items to look for in each frame.

    Those that its text names, and those that no text names.

    Args:
        labels: the key items.
        texts: what is known about each frame, such as its caption.
    """
    named = {label for label in labels if any(label.lower() in text.lower() for text in texts)}
    return [tuple(label for label in labels if label not in named or label.lower() in text.lower()) for text in texts]


def _key_item(label: str, frame: Frame, found: Detection | None, scale: tuple[float, float]) -> KeyItem:
    if found is None:
        return KeyItem(label=label, frame=frame)
    x1, y1, x2, y2 = (round(value * scale[side % 2], 1) for side, value in enumerate(found.box))
    return KeyItem(label=label, frame=frame, box=(x1, y1, x2, y2), score=found.score)


async def _pixels(frame: Frame, detector: ChatModel | ObjectDetector, context: AnswerContext) -> np.ndarray:
    if isinstance(detector, ObjectDetector):
        decoded: np.ndarray = await media.in_background(context.visuals[frame.visual].decode, [frame.index], size=DETECTOR_SIZE)
        return decoded[0]
    (shown,) = await context.show([frame])
    return shown.picture.pixels


async def _ask(
    model: ChatModel, pixels: np.ndarray, labels: Sequence[str], context: AnswerContext
) -> tuple[list[Detection], Completion, str]:
    """Ask a vision-language model for boxes. Raises ModelError."""
    style = context.session.profile.prompts
    frame = {"picture": Picture(pixels)}
    prompt = await asyncio.to_thread(prompts.render, "annotate/ground", style=style, frame=frame, labels=list(labels))
    reply = await model.chat(prompt.messages, adapter=context.session.roles.adapters.get("ground"), max_tokens=GROUND_TOKENS)
    height, width = pixels.shape[:2]
    return read_boxes(reply.text, labels, width, height), reply, prompt.hash


_BOX = re.compile(r"<obj_start>(.*?)<obj_end>\s*<box_start>\s*\[([^\]]*)\]\s*<box_end>", re.DOTALL)


def write_boxes(boxes: Sequence[tuple[str, Box]], width: int, height: int) -> str:
    """Write boxes in VideoEspresso's markup, in thousandths of the frame; "none" without boxes.

    Args:
        boxes: label and xyxy box in pixels.
        width: width of the frame in pixels.
        height: height of the frame in pixels.
    """
    sizes = (width, height, width, height)

    def numbers(box: Box) -> str:
        return ", ".join(str(round(1000 * value / size)) for value, size in zip(box, sizes, strict=True))

    marked = [f"<obj_start>{label}<obj_end><box_start>[{numbers(box)}]<box_end>" for label, box in boxes]
    return " ".join(marked) or "none"


def read_boxes(text: str, labels: Sequence[str], width: int, height: int) -> list[Detection]:
    """Read boxes from a reply in VideoEspresso's markup; the first box of each label counts.

    Labels that were not asked for, and boxes that are empty or outside the frame, are ignored.
    """
    found = dict[str, Detection]()
    for label, numbers in _BOX.findall(text):
        values = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", numbers)]
        known = next((each for each in labels if each.casefold() == label.strip().casefold()), None)
        if known is None or known in found or len(values) != 4:
            continue
        x1, y1, x2, y2 = (min(max(value / 1000, 0.0), 1.0) for value in values)
        if x1 < x2 and y1 < y2:
            found[known] = Detection(known, (x1 * width, y1 * height, x2 * width, y2 * height))
    return [found[label] for label in labels if label in found]


async def _verify(
    pixels: np.ndarray, detections: Sequence[Detection], labels: Sequence[str], context: AnswerContext
) -> list[Detection]:
    """Keep the detections whose box shows its label and nothing else."""
    verifier = context.session.roles.verifier
    if verifier is None or not detections:
        return list(detections)
    return await verified(verifier, pixels, detections, labels)


async def verified(
    verifier: PictureClassifier, pixels: np.ndarray, detections: Sequence[Detection], labels: Sequence[str]
) -> list[Detection]:
    """Return the detections that the verifier confirms, with its probability as their score.

    Args:
        verifier: the model of pictures and texts.
        pixels: the frame, (height, width, 3) uint8 RGB.
        detections: the detections.
        labels: the key items that a box may show.
    """
    choices = [*dict.fromkeys(labels), SOMETHING_ELSE]
    crops = [crop(pixels, each.box) for each in detections]
    probabilities = await verifier.classify(crops, choices)
    return [
        Detection(each.label, each.box, round(float(row[choices.index(each.label)]), 4))
        for each, row in zip(detections, probabilities, strict=True)
        if choices[int(row.argmax())] == each.label
    ]


def crop(pixels: np.ndarray, box: Box) -> np.ndarray:
    """Cut a box out of a frame, with a margin; at least one pixel."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    dx, dy = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    left, top = max(int(x1 - dx), 0), max(int(y1 - dy), 0)
    right, bottom = min(max(int(np.ceil(x2 + dx)), left + 1), width), min(max(int(np.ceil(y2 + dy)), top + 1), height)
    return pixels[min(top, height - 1) : bottom, min(left, width - 1) : right]
