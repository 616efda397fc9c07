"""The tiny verifier: a CLIP that recognizes the things of the world in crops of frames.

At inference it chooses between the names of key items and "something else" for each box of a
detector (`agents.grounding.verified`). A training batch contains crops of frames of the
train split and compares each with all names of that split:

- names: the crop's own name fits best;
- refusals: without the crop's own name, "something else" fits best;
- words: of the colours alone and of the shapes alone, the right one fits best. Some of the crops
  are in grayscale and have a shape only. So colour and shape are learned apart, because the test
  split has pairs of them that no training crop shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from agents.grounding import SOMETHING_ELSE, crop
from espresso import world
from espresso.schema import Box
from espresso.world.cast import COLOURS, SHAPES, TEST_THINGS, VEHICLES, Split, Thing
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import IGNORE_INDEX, TRAIN_STORIES, Batch, render_frame

PATCH = 8
"""Side of a patch in pixels."""
MAX_TOKENS = 32
"""Maximum length of a label in tokens."""
JITTER = 0.15
"""Largest error of each side of a detector's box, as a part of the box's width or height."""
GRAYSCALE = 0.25
"""Share of the crops of things that are in grayscale."""
FRAME_SIZES = (1, 2)
"""Sides of the frames that are rendered, as multiples of `frame_size`."""
FRAMES_PER_STORY = 4
NEGATIVES = 2
"""Crops of something else per frame."""
MAX_SHARE = 0.3
"""Largest part of a thing in a crop of something else."""

SHAPE_WORDS = (*SHAPES, *VEHICLES)
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPE_WORDS if (colour, shape) not in TEST_THINGS)
"""The names of the things of the train split."""
TEXTS = (*NAMES, SOMETHING_ELSE, *COLOURS, *SHAPE_WORDS)
"""The texts that each batch compares its crops with."""


@dataclass(frozen=True)
class Crop:
    """A crop of a frame and what it shows."""

    pixels: np.ndarray
    """(height, width, 3) uint8 RGB."""

    thing: Thing | None
    """None if it shows something else."""


def build_processor(config: TinyConfig) -> CLIPProcessor:
    """Build a processor that resizes crops to a square, and trains a tokenizer on the names.

    The byte-level tokenizer encodes any text; each word of the names is one token.
    """
    symbols = [chr(code) for code in range(33, 0x180)]  # they end in each byte that a text can end in
    tokens = CLIPTokenizer().train_new_from_iterator([[*symbols, *TEXTS]], config.vocabulary, show_progress=False)
    tokens.model_max_length = MAX_TOKENS
    side = {"height": config.image_size, "width": config.image_size}
    return CLIPProcessor(CLIPImageProcessor(size=side, do_center_crop=False), tokens)


def build_model(config: TinyConfig, tokens: CLIPTokenizer) -> CLIPModel:
    """Build a CLIP with random weights."""
    text = {
        "vocab_size": len(tokens),
        "hidden_size": config.hidden,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    vision = {
        "hidden_size": config.vision_width,
        "intermediate_size": 2 * config.vision_width,
        "num_hidden_layers": config.vision_depth,
        "num_attention_heads": config.vision_heads,
        "image_size": config.image_size,
        "patch_size": PATCH,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.hidden))


class TrainingModel(torch.nn.Module):
    """A CLIP wrapped for the Trainer: it takes a batch of `CropBatches` and returns the loss."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        names: torch.Tensor,
        colours: torch.Tensor,
        shapes: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the losses of names, refusals and words under the key `loss`.

        Args:
            pixel_values: (crops, 3, side, side).
            input_ids: the tokens of `TEXTS`, (texts, length).
            attention_mask: as `input_ids`.
            names: position in `(*NAMES, SOMETHING_ELSE)` of what each crop shows, (crops,).
            colours: position in `COLOURS`, (crops,).
            shapes: position in `SHAPE_WORDS`, (crops,). In all three, -100 does not count.
        """
        logits = self.model(
            input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask
        ).logits_per_image.float()
        by_name, by_colour, by_shape = logits.split([len(NAMES) + 1, len(COLOURS), len(SHAPE_WORDS)], dim=-1)
        things = (names >= 0) & (names < len(NAMES))
        refused = by_name[things].scatter(1, names[things, None], -torch.inf)
        losses = (
            functional.cross_entropy(by_name, names),
            functional.cross_entropy(refused, torch.full_like(names[things], len(NAMES))),
            functional.cross_entropy(by_colour, colours),
            functional.cross_entropy(by_shape, shapes),
        )
        return {"loss": torch.stack(losses).sum()}


class CropBatches(Dataset[Batch]):
    """Batches of crops, each with the tokens of `TEXTS`.

    Args:
        config: training configuration; `verifier_batch`, `frame_size`, `batches` and `seed` are
            used.
        processor: the verifier's processor.
    """

    def __init__(self, config: TinyConfig, processor: CLIPProcessor) -> None:
        self.config, self.processor = config, processor

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 2, index])
        crops = list[Crop]()
        while len(crops) < self.config.verifier_batch:
            crops += draw_crops(rng, "train", int(rng.integers(TRAIN_STORIES)), self.config.frame_size)
        pictures, labels = [], []
        for each in crops[: self.config.verifier_batch]:
            picture, gray = Image.fromarray(each.pixels), each.thing is not None and rng.random() < GRAYSCALE
            pictures.append(picture.convert("L").convert("RGB") if gray else picture)
            labels.append(_labels(each.thing, gray=gray))
        names, colours, shapes = torch.tensor(labels).unbind(1)
        inputs = self.processor(images=pictures, text=list(TEXTS), padding=True, return_tensors="pt")
        return {**inputs, "names": names, "colours": colours, "shapes": shapes}


def _labels(thing: Thing | None, *, gray: bool) -> tuple[int, int, int]:
    """Return the positions of a crop's name, colour and shape; -100 for what it does not show."""
    if thing is None:
        return len(NAMES), IGNORE_INDEX, IGNORE_INDEX
    shape = SHAPE_WORDS.index(thing.shape)
    return (IGNORE_INDEX, IGNORE_INDEX, shape) if gray else (NAMES.index(str(thing)), list(COLOURS).index(thing.colour), shape)


def draw_crops(rng: np.random.Generator, split: Split, index: int, frame_size: int) -> Iterator[Crop]:
    """Yield crops of some frames of a story: of each thing, and of something else.

    Args:
        rng: source of times, frame sizes and boxes.
        split: split of the story.
        index: index of the story in the split.
        frame_size: side of the smallest frame in pixels.
    """
    story = world.story(split, index)
    for time in rng.uniform(0, story.duration, FRAMES_PER_STORY):
        side = frame_size * int(rng.choice(FRAME_SIZES))
        pixels = render_frame(story, float(time), side).pixels
        things = visible_things(story, float(time), side)
        boxes = [box for _, box in things]
        for thing, box in things:
            yield Crop(crop(pixels, jitter(rng, box, side)), thing)
        for _ in range(NEGATIVES):
            if (empty := _draw_negative(rng, boxes, side)) is not None:
                yield Crop(crop(pixels, empty), None)


def visible_things(story: world.Story, time: float, side: int) -> list[tuple[Thing, Box]]:
    """Return the things of a frame and their boxes in pixels, without those that are mostly hidden.

    A thing is left out if most of it is outside the frame or behind another thing.
    """
    here = [(sprite.thing, sprite.box(side)) for sprite in world.sprites(story, time)]
    return [
        (thing, box)
        for position, (thing, box) in enumerate(here)
        if box[2] - box[0] > 0.6 * (box[3] - box[1]) and all(_share(box, front) < 0.5 for _, front in here[position + 1 :])
    ]


def _share(box: Box, other: Box) -> float:
    """Return the part of a box that another box covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0) / max((box[2] - box[0]) * (box[3] - box[1]), 1.0)


def jitter(rng: np.random.Generator, box: Box, side: int) -> Box:
    """Shift each side of a box by up to `JITTER` of its width or height, inside the frame."""
    width, height = box[2] - box[0], box[3] - box[1]
    shifts = rng.uniform(-JITTER, JITTER, 4) * (width, height, width, height)
    x1, y1, x2, y2 = np.clip(np.array(box) + shifts, 0, side).tolist()
    return x1, y1, x2, y2


def _draw_negative(rng: np.random.Generator, boxes: list[Box], side: int) -> Box | None:
    """Draw a box that shows no thing, or only the border of one; None if the frame has no room.

    Half of them are near a thing, as a detector's mistakes are.
    """
    for _ in range(10):
        width, height = rng.uniform(0.12, 0.4, 2) * side
        x, y = rng.uniform(0, 1, 2) * side
        if boxes and rng.random() < 0.5:
            x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
            width, height = x2 - x1, y2 - y1
            x, y = (x1 + x2) / 2 + width * rng.uniform(-1.1, 1.1), (y1 + y2) / 2 + height * rng.uniform(-1.1, 1.1)
        left, top, right, bottom = np.clip((x - width / 2, y - height / 2, x + width / 2, y + height / 2), 0, side).tolist()
        box = (left, top, right, bottom)
        if right - left > 0.05 * side and bottom - top > 0.05 * side and all(_share(thing, box) <= MAX_SHARE for thing in boxes):
            return box
    return None
