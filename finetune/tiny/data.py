"""Training batches for the tiny models, generated from the world's train split on demand.

Each item of a dataset is a whole batch of one kind, so that short captions are not padded to the
length of a report:

- captions: one frame, some in grayscale -> its caption;
- reports: several frames with their times -> a caption of each, or of those that show a given word
  or name;
- texts: reports from captions instead of frames, from which copying is learned sooner;
- language: questions and options, each alone, so that the world's words are known before they occur
  in an answer;
- selections: captions in time order and a question -> the numbers of the frames that the question
  needs.

The vision models never see a question together with frames, evidence or an answer. The two stages
of LoRA teach these; their effect could not be measured on a base model that had learned them before
(docs/LOG.md).

The shipped weights were trained on these batches: the order of random draws and all texts must not
change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import Qwen2Tokenizer

import prompts
from agents.answer.select import distinct_positions
from espresso import world
from espresso.models.chat import Message, Picture
from espresso.world import Story
from espresso.world.cast import COLOURS, SHAPES, VEHICLES
from finetune.tiny.config import TinyConfig

Batch = dict[str, torch.Tensor]
MarkedConversation = tuple[tuple[Message, ...], frozenset[str]]
"""The messages, and which of the numbers listed in the prompt are right."""
PATCH, MERGE = 14, 2
"""Side of a patch in pixels, and patches per side of a visual token."""
TRAIN_STORIES = 5_000_000
"""Stories are drawn from the first so many of the train split."""
IGNORE_INDEX = -100
"""Label of tokens that do not count in a loss."""


@dataclass(frozen=True)
class CaptionedFrame:
    """A frame of a story and its ground-truth caption."""

    time: float
    """Seconds."""
    caption: str
    pixels: np.ndarray
    """(side, side, 3) uint8 RGB."""


def render_frame(story: Story, time: float, size: int, image_size: int | None = None) -> CaptionedFrame:
    """Render one frame as the models get it: at twice the size, then averaged down.

    Args:
        story: the story.
        time: seconds.
        size: side of the frame in pixels, as the profile passes it to the model.
        image_size: side in pixels to which the model's image processor resizes it; None is `size`.
    """
    image = Image.fromarray(world.render(story, time, 2 * size)).reduce(2)
    if image_size not in (None, size):
        image = image.resize((image_size, image_size), Image.Resampling.BICUBIC)
    return CaptionedFrame(round(time, 1), story.caption(time), np.asarray(image))


_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)}) (?={'|'.join((*SHAPES, *VEHICLES))})")


def to_grayscale(frame: CaptionedFrame) -> CaptionedFrame:
    """Return the frame in grayscale, and its caption without colours ("a star hits a circle").

    A model that learns shapes without their colours recognizes them in colours that it has not
    seen: most errors of the captioner are on the colour and shape pairs that only the test split
    contains (docs/LOG.md).
    """
    gray = np.asarray(Image.fromarray(frame.pixels).convert("L").convert("RGB"))
    return CaptionedFrame(frame.time, _COLOUR.sub("a ", frame.caption), gray)


def corrupt_caption(rng: np.random.Generator, caption: str) -> str:
    """Replace one colour, shape or vehicle of a caption by another, a mistake of the captioner."""
    words = caption.split()
    replaceable = [index for index, word in enumerate(words) if word in _SAME_KIND]
    if not replaceable:
        return caption
    index = int(rng.choice(replaceable))
    words[index] = str(rng.choice(_SAME_KIND[words[index]]))
    return " ".join(words)


_SAME_KIND = {name: tuple(kind) for kind in (COLOURS, SHAPES, VEHICLES) for name in kind}
CORRUPTED_CAPTIONS = 0.1
"""Share of corrupted captions in the selector's prompts, about the captioner's error rate on unseen
things."""


class VisionBatches(Dataset[Batch]):
    """Batches for the vision models.

    The `captioner` gets captions only. The `vlm` gets captions and texts first, which reports build
    on.
    """

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        before_reports = index < self.config.batches * self.config.reports_after
        shares = (0.4, 0.5, 0.1, 0.0) if before_reports else (0.2, 0.2, 0.1, 0.5)
        # Eight consecutive batches are of one kind, so that the processes of a step take equally
        # long.
        kind = np.random.default_rng([self.config.seed, index // 8]).choice(4, p=shares)
        rng = np.random.default_rng([self.config.seed, 1, index])
        if self.config.role == "captioner":
            return self._captions(rng)
        if kind == 2:
            return self._language(rng)
        return self._captions(rng) if kind == 0 else self._reports(rng, from_frames=kind == 3)

    def _captions(self, rng: np.random.Generator) -> Batch:
        rows: list[MarkedConversation] = []
        while len(rows) < self.config.caption_batch:
            story = _draw_story(rng)
            for _ in range(4):
                frame = render_frame(story, _draw_time(rng, story), self.config.frame_size, self.config.image_size)
                if rng.random() < 0.4 and "turns" not in frame.caption:
                    frame = to_grayscale(frame)
                prompt = prompts.render("caption", style="tiny", frame={"picture": Picture(frame.pixels)})
                rows.append(((*prompt.messages, Message("assistant", (frame.caption,))), frozenset()))
        return add_token_noise(rng, collate(rows[: self.config.caption_batch], self.tokens), self.config.noise)

    def _language(self, rng: np.random.Generator) -> Batch:
        rows: list[MarkedConversation] = []
        while len(rows) < self.config.caption_batch:
            for motif in _draw_story(rng).motifs:
                text = motif.text if rng.random() < 0.5 else str(rng.choice(motif.options))
                rows.append(((Message("user", ("say",)), Message("assistant", (text,))), frozenset()))
        return collate(rows[: self.config.caption_batch], self.tokens)

    def _reports(self, rng: np.random.Generator, *, from_frames: bool) -> Batch:
        count = self.config.report_batch if from_frames else self.config.text_batch
        rows: list[MarkedConversation] = []
        while len(rows) < count:
            story = _draw_story(rng)
            for _ in range(4):
                times = sorted(_draw_time(rng, story) for _ in range(rng.integers(1, 6)))
                rows.append((_report(rng, story, times, self.config.image_size if from_frames else None), frozenset()))
        return collate(rows[:count], self.tokens)


def _draw_story(rng: np.random.Generator) -> Story:
    return world.story("train", int(rng.integers(TRAIN_STORIES)))


def _draw_time(rng: np.random.Generator, story: Story) -> float:
    """Draw a time; four of five are during an event."""
    beat = story.beats[rng.integers(len(story.beats))]
    return float(rng.uniform(beat.start, beat.end) if rng.random() < 0.8 else rng.uniform(0, story.duration))


def _report(rng: np.random.Generator, story: Story, times: Sequence[float], size: int | None) -> tuple[Message, ...]:
    """Make a request to report what is shown, or what contains a word or a name, and its reply.

    Args:
        rng: random generator.
        story: the story.
        times: seconds, ascending.
        size: side of the frames in pixels. None puts captions in the prompt instead of frames.
    """
    facts = [story.caption(time) for time in times]
    words = str(rng.choice(facts)).split()
    start = int(rng.integers(len(words)))
    name = " ".join(words[start : start + int(rng.integers(1, 3))])
    if rng.random() < 0.2:
        name = f"{rng.choice(list(COLOURS))} {rng.choice(list(SHAPES))}"
    query = "" if rng.random() < 0.3 else name
    prompt: list[str | Picture] = []
    for time, fact in zip(times, facts, strict=True):
        prompt += [f"{time:.1f}", Picture(render_frame(story, time, size).pixels) if size else f" {fact}\n"]
    reply = " ".join(
        f"{time:.1f}s: {fact}." for time, fact in zip(times, facts, strict=True) if f" {query} ".lstrip() in f" {fact} "
    )
    request = (*prompt, f"\nreport {query}".rstrip()) if size else ("".join(map(str, prompt)) + f"report {query}".rstrip(),)
    return Message("user", request), Message("assistant", (reply or "nothing seen.",))


class SelectorBatches(Dataset[Batch]):
    """Batches for the selector: captions and a question -> the numbers of the needed frames."""

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 1, index])
        # The share of look-up questions falls to zero, unless the training starts from a trained
        # model.
        lookups = 0.0 if self.config.start else max(0.0, 0.6 - 1.5 * index / self.config.batches)
        rows: list[MarkedConversation] = []
        while len(rows) < self.config.selector_batch:
            story = _draw_story(rng)
            times = _draw_sample_times(rng, story)
            truth = [story.caption(time) for time in times]
            captions = [caption if rng.random() > CORRUPTED_CAPTIONS else corrupt_caption(rng, caption) for caption in truth]
            changes = distinct_positions(captions)
            times, captions = [times[n] for n in changes], [captions[n] for n in changes]
            for motif, needed in zip(story.motifs, story.needed, strict=True):
                if rng.random() < lookups:
                    rows.append(_selection(captions, *_draw_lookup(rng, captions)))
                    continue
                numbers = [_middle_frame(times, story.beats[i].start, story.beats[i].end) for i in needed]
                rows.append(_selection(captions, motif.text, [n for n in numbers if n is not None]))
        return collate(rows[: self.config.selector_batch], self.tokens)


def _selection(captions: list[str], question: str, numbers: list[int]) -> MarkedConversation:
    """Make a conversation. `numbers` are the indices of the needed captions, from 0."""
    listed = [{"number": n + 1, "time": 0.0, "text": text} for n, text in enumerate(captions)]
    prompt = prompts.render("select", style="tiny", captions=listed, question=question, budget=len(numbers))
    right = [str(n + 1) for n in numbers]
    return (*prompt.messages, Message("assistant", ('{"frames":[' + ",".join(right) + "]}",))), frozenset(right)


def _draw_lookup(rng: np.random.Generator, captions: list[str]) -> tuple[str, list[int]]:
    """Draw an easier question: which captions contain a given caption, or a name from it."""
    words = captions[rng.integers(len(captions))].split()
    query = " ".join(words if rng.random() < 0.5 else words[:2])
    return query, [n for n, caption in enumerate(captions) if query in caption][:4]


def _middle_frame(times: list[float], start: float, end: float) -> int | None:
    """Return the index of the middle frame between start and end; None if there is none."""
    inside = [n for n, time in enumerate(times) if start <= time <= end]
    return inside[len(inside) // 2] if inside else None


def _draw_sample_times(rng: np.random.Generator, story: Story) -> list[float]:
    """Draw times like those of an adaptive sampler of up to 16 frames, about one per second."""
    step = max(rng.uniform(0.45, 1.0), story.duration / 16)
    times = np.arange(rng.uniform(0, 0.3), story.duration, step)
    times = times + rng.uniform(-0.15, 0.15, len(times))
    keep = rng.random(len(times)) > rng.choice([0.0, 0.1, 0.25])
    return sorted(float(np.clip(t, 0, story.duration)) for t, k in zip(times, keep, strict=True) if k)


def collate(rows: list[MarkedConversation], tokens: Qwen2Tokenizer) -> Batch:
    """Collate conversations into one batch, padded on the right.

    Returns:
        input_ids, attention_mask: (rows, length).
        labels: (rows, length); the tokens of the assistant's turns, else -100.
        marks: (rows, length); 1 or 0 at a number that ends a line of the prompt, for right or
            wrong, else -100.
        position_ids: (3, rows, length); time, height and width, as in Qwen2-VL.
        patches: (frames, patches, 588), normalized, of all frames in reading order; absent without
            frames.
    """
    ids, labels, marks, positions, pictures = [], [], [], [], []
    image_token = cast(int, tokens.convert_tokens_to_ids("<|image_pad|>"))
    for messages, right in rows:
        row_ids: list[int] = []
        row_labels: list[int] = []
        row_marks: list[int] = []
        row_positions = [np.zeros((3, 0), np.int64)]
        for piece, is_reply in _pieces(messages):
            if isinstance(piece, Picture):
                side = piece.pixels.shape[0] // (PATCH * MERGE)
                pictures.append(to_patches(piece.pixels))
                new = [image_token] * side**2
                row_positions.append(np.indices((1, side, side)).reshape(3, -1) + _next_position(row_positions))
            else:
                new = list(tokens(piece)["input_ids"])
                row_positions.append(_next_position(row_positions) + np.tile(np.arange(len(new)), (3, 1)))
            row_ids += new
            row_labels += new if is_reply else [IGNORE_INDEX] * len(new)
            row_marks += [IGNORE_INDEX] * (len(new) - 1) + [IGNORE_INDEX if is_reply else _mark(piece, right)]
        ids.append(row_ids)
        labels.append(row_labels)
        marks.append(row_marks)
        positions.append(np.concatenate(row_positions, axis=1))
    length = max(map(len, ids))
    batch = {
        "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids]),
        "labels": torch.tensor([row + [IGNORE_INDEX] * (length - len(row)) for row in labels]),
        "marks": torch.tensor([row + [IGNORE_INDEX] * (length - len(row)) for row in marks]),
        "position_ids": torch.from_numpy(
            np.stack([np.pad(row, ((0, 0), (0, length - row.shape[1]))) for row in positions], axis=1)
        ),
    }
    if pictures:
        batch["patches"] = torch.from_numpy(np.stack(pictures))
    return batch


def add_token_noise(rng: np.random.Generator, batch: Batch, share: float) -> Batch:
    """Replace a share of the reply's input tokens by other tokens of the replies; the labels stay.

    Without noise the model learns to predict "star" from "red", and never writes the pair "red
    star", which no training clip shows. Only for captions: in a report, a time cannot be copied
    after a wrong digit.
    """
    ids, reply = batch["input_ids"], batch["labels"] != IGNORE_INDEX
    original = ids[reply].numpy()
    noisy = np.where(rng.random(len(original)) < share, rng.permutation(original), original)
    return batch | {"input_ids": ids.masked_scatter(reply, torch.from_numpy(noisy))}


_LISTED_NUMBER = re.compile(r" (\d+)$")
_LINE_END = re.compile(r"(?<=[0-9])(?=\n)")  # no token spans this position, so a text can be split at it


def _mark(piece: str | Picture, right: frozenset[str]) -> int:
    """Return whether the number at the end of a piece is right; `IGNORE_INDEX` without one."""
    listed = _LISTED_NUMBER.search(piece) if isinstance(piece, str) else None
    return IGNORE_INDEX if listed is None else int(listed[1] in right)


def _next_position(positions: list[np.ndarray]) -> int:
    return int(positions[-1].max()) + 1 if positions[-1].size else 0


def _pieces(messages: tuple[Message, ...]) -> list[tuple[str | Picture, bool]]:
    """Split the text of the chat template at pictures and turns; tell which pieces are replies."""
    pieces: list[tuple[str | Picture, bool]] = []
    for message in messages:
        is_reply = message.role == "assistant"
        pieces.append((f"<|im_start|>{message.role}\n", False))
        for part in message.content:
            if isinstance(part, Picture):
                pieces += [("<|vision_start|>", False), (part, False), ("<|vision_end|>", False)]
            else:
                pieces += [(line, is_reply) for line in _LINE_END.split(part)]
        pieces += [("<|im_end|>", is_reply), ("\n", False)]
    return pieces


MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
"""CLIP's normalization, as in Qwen2-VL's image processor."""


def to_patches(pixels: np.ndarray) -> np.ndarray:
    """Normalize a frame and cut it into patches.

    Args:
        pixels: (side, side, 3) uint8.

    Returns:
        (patches, 588) float32, in the order of Qwen2-VL's image processor: two-by-two blocks, row
        by row.
    """
    side = pixels.shape[0] // PATCH
    half = side // MERGE
    values = (pixels.astype(np.float32) / 255 - MEAN) / STD
    grid = values.reshape(half, MERGE, PATCH, half, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    return np.ascontiguousarray(grid.reshape(side * side, 3 * PATCH * PATCH))
