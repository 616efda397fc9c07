"""Training batches for the tiny models, drawn from the world's train split as they are needed: no sample is seen twice.

An item of the datasets is a whole batch of one kind, so that no short caption is padded to the length of a report:
- captions: one frame, some in black and white -> what it shows;
- reports: several frames with their times -> what each shows, or those that show something that is named;
- texts: the same reports of captions instead of pictures, from which copying is learnt soonest;
- language: questions and options of no clip, each by itself, so that the words of the world are known before they mean an answer;
- selections: captions in time order and a question -> the numbers of the needed frames.
The model that sees meets no question with a clip, no evidence and no answer: those are what the two stages of LoRA teach, and
what they are worth could not be measured on a base that knew them (docs/LOG.md).
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
from agents.answer.select import changed
from espresso.models.chat import Message, Picture
from espresso.world import Story, render, story
from espresso.world.cast import COLOURS, SHAPES, VEHICLES
from finetune.tiny.config import TinyConfig

Batch = dict[str, torch.Tensor]
Row = tuple[tuple[Message, ...], frozenset[str]]
"""A conversation, and which of the numbers listed in its prompt are right."""
PATCH, MERGE = 14, 2
TRAIN_STORIES = 5_000_000


@dataclass(frozen=True)
class Shown:
    """A frame of a story at a time (seconds), with what can truly be said of it."""

    time: float
    fact: str
    pixels: np.ndarray


def show(told: Story, time: float, size: int, seen: int | None = None) -> Shown:
    """Draw one frame as the models get it: rendered at twice the size, then averaged down.

    seen: pixels a side that the model's image processor makes of it, where that is another size.
    """
    image = Image.fromarray(render(told, time, 2 * size)).reduce(2)
    if seen not in (None, size):
        image = image.resize((seen, seen), Image.Resampling.BICUBIC)
    return Shown(round(time, 1), told.caption(time), np.asarray(image))


_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)}) (?={'|'.join((*SHAPES, *VEHICLES))})")


def colourless(frame: Shown) -> Shown:
    """The same frame in black and white, and what can be said of it then ("a star hits a circle").

    A shape learnt this way is known in a colour it was never seen in: captions of the test split's unseen pairs are where the
    model errs most (docs/LOG.md).
    """
    grey = np.asarray(Image.fromarray(frame.pixels).convert("L").convert("RGB"))
    return Shown(frame.time, _COLOUR.sub("a ", frame.fact), grey)


def misread(rng: np.random.Generator, caption: str) -> str:
    """A caption as the tiny captioner gets it wrong: one colour, shape or vehicle taken for another."""
    words = caption.split()
    seen = [place for place, word in enumerate(words) if word in _KINDS]
    if not seen:
        return caption
    place = int(rng.choice(seen))
    words[place] = str(rng.choice(_KINDS[words[place]]))
    return " ".join(words)


_KINDS = {name: tuple(kind) for kind in (COLOURS, SHAPES, VEHICLES) for name in kind}
MISREAD = 0.1
"""Share of captions that the selector meets misread; the captioner errs about as often on things it has never seen."""


class TinyBatches(Dataset[Batch]):
    """Batches for the models that see: `captioner`, captions alone; `vlm`, seeing and copying first, as a report needs both."""

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        beginning = index < self.config.batches * self.config.reports_after
        shares = (0.4, 0.5, 0.1, 0.0) if beginning else (0.2, 0.2, 0.1, 0.5)
        # Eight batches in a row are of one kind, so that processes that share a step finish it together.
        kind = np.random.default_rng([self.config.seed, index // 8]).choice(4, p=shares)
        rng = np.random.default_rng([self.config.seed, 1, index])
        if self.config.role == "captioner":
            return self._captions(rng)
        if kind == 2:
            return self._language(rng)
        return self._captions(rng) if kind == 0 else self._reports(rng, seen=kind == 3)

    def _story(self, rng: np.random.Generator) -> Story:
        return story("train", int(rng.integers(TRAIN_STORIES)))

    def _captions(self, rng: np.random.Generator) -> Batch:
        rows: list[Row] = []
        while len(rows) < self.config.caption_batch:
            told = self._story(rng)
            for _ in range(4):
                frame = show(told, self._time(rng, told), self.config.frame_size, self.config.image_size)
                if rng.random() < 0.4 and "turns" not in frame.fact:
                    frame = colourless(frame)
                prompt = prompts.render("caption", style="tiny", frame={"picture": Picture(frame.pixels)})
                rows.append(((*prompt.messages, Message("assistant", (frame.fact,))), frozenset()))
        return misled(rng, collate(rows[: self.config.caption_batch], self.tokens), self.config.noise)

    def _language(self, rng: np.random.Generator) -> Batch:
        rows: list[Row] = []
        while len(rows) < self.config.caption_batch:
            for motif in self._story(rng).motifs:
                said = motif.text if rng.random() < 0.5 else str(rng.choice(motif.options))
                rows.append(((Message("user", ("say",)), Message("assistant", (said,))), frozenset()))
        return collate(rows[: self.config.caption_batch], self.tokens)

    def _reports(self, rng: np.random.Generator, *, seen: bool) -> Batch:
        count = self.config.report_batch if seen else self.config.text_batch
        rows: list[Row] = []
        while len(rows) < count:
            told = self._story(rng)
            for _ in range(4):
                times = sorted(self._time(rng, told) for _ in range(rng.integers(1, 6)))
                rows.append((_report(rng, told, times, self.config.image_size if seen else None), frozenset()))
        return collate(rows[:count], self.tokens)

    def _time(self, rng: np.random.Generator, told: Story) -> float:
        """Draw a time, four times in five one at which something happens."""
        beat = told.beats[rng.integers(len(told.beats))]
        return float(rng.uniform(beat.start, beat.end) if rng.random() < 0.8 else rng.uniform(0, told.duration))


def _report(rng: np.random.Generator, told: Story, times: Sequence[float], size: int | None) -> tuple[Message, ...]:
    """A request for what is seen, always or where a word or a name comes in. size: None shows captions instead of pictures."""
    facts = [told.caption(time) for time in times]
    words = str(rng.choice(facts)).split()
    start = int(rng.integers(len(words)))
    named = " ".join(words[start : start + int(rng.integers(1, 3))])
    if rng.random() < 0.2:
        named = f"{rng.choice(list(COLOURS))} {rng.choice(list(SHAPES))}"
    asked = "" if rng.random() < 0.3 else named
    prompt: list[str | Picture] = []
    for time, fact in zip(times, facts, strict=True):
        prompt += [f"{time:.1f}", Picture(show(told, time, size).pixels) if size else f" {fact}\n"]
    reply = " ".join(
        f"{time:.1f}s: {fact}." for time, fact in zip(times, facts, strict=True) if f" {asked} ".lstrip() in f" {fact} "
    )
    request = (*prompt, f"\nreport {asked}".rstrip()) if size else ("".join(map(str, prompt)) + f"report {asked}".rstrip(),)
    return Message("user", request), Message("assistant", (reply or "nothing seen.",))


class SelectorBatches(Dataset[Batch]):
    """Batches for the selector: captions in time order and a question -> the numbers of the needed frames."""

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 1, index])
        lookups = 0.0 if self.config.start else max(0.0, 0.6 - 1.5 * index / self.config.batches)
        rows: list[Row] = []
        while len(rows) < self.config.selector_batch:
            told = story("train", int(rng.integers(TRAIN_STORIES)))
            times = _sampled(rng, told)
            captions = [told.caption(time) for time in times]
            wrong = [caption if rng.random() > MISREAD else misread(rng, caption) for caption in captions]
            changes = changed(wrong)
            times, wrong = [times[n] for n in changes], [wrong[n] for n in changes]
            for motif, needed in zip(told.motifs, told.needed, strict=True):
                if rng.random() < lookups:
                    rows.append(self._row(wrong, *self._lookup(rng, wrong)))
                    continue
                numbers = [self._number(times, told.beats[i].start, told.beats[i].end) for i in needed]
                rows.append(self._row(wrong, motif.text, [n for n in numbers if n is not None]))
        return collate(rows[: self.config.selector_batch], self.tokens)

    @staticmethod
    def _row(captions: list[str], question: str, numbers: list[int]) -> Row:
        """A whole conversation. numbers: positions of the needed captions, from 0."""
        listed = [{"number": n + 1, "time": 0.0, "text": text} for n, text in enumerate(captions)]
        prompt = prompts.render("select", style="tiny", captions=listed, question=question, budget=len(numbers))
        right = [str(n + 1) for n in numbers]
        return (*prompt.messages, Message("assistant", ('{"frames":[' + ",".join(right) + "]}",))), frozenset(right)

    @staticmethod
    def _lookup(rng: np.random.Generator, captions: list[str]) -> tuple[str, list[int]]:
        """Draw an easier question, for the beginning: where a caption, or a name in it, stands."""
        words = captions[rng.integers(len(captions))].split()
        asked = " ".join(words if rng.random() < 0.5 else words[:2])
        return asked, [n for n, caption in enumerate(captions) if asked in caption][:4]

    @staticmethod
    def _number(times: list[float], start: float, end: float) -> int | None:
        """The sampled frame in the middle of those that show an act."""
        inside = [n for n, time in enumerate(times) if start <= time <= end]
        return inside[len(inside) // 2] if inside else None


def _sampled(rng: np.random.Generator, told: Story) -> list[float]:
    """Times as an adaptive sampler of 16 frames gives them: about one a second, more where much moves, none twice."""
    step = max(rng.uniform(0.45, 1.0), told.duration / 16)
    times = np.arange(rng.uniform(0, 0.3), told.duration, step)
    times = times + rng.uniform(-0.15, 0.15, len(times))
    keep = rng.random(len(times)) > rng.choice([0.0, 0.1, 0.25])
    return sorted(float(np.clip(t, 0, told.duration)) for t, k in zip(times, keep, strict=True) if k)


def collate(rows: list[Row], tokens: Qwen2Tokenizer) -> Batch:
    """Conversations as one right-padded batch; loss on the assistant's turns alone.

    input_ids, attention_mask, labels: (rows, length); marks: (rows, length), 1 or 0 at a number that ends a line of the prompt,
    as it is right or wrong, else -100; position_ids: (3, rows, length) as Qwen2-VL lays out time, height and width;
    patches: (pictures, patches, 588), normalised, of all pictures in reading order.
    """
    ids, labels, marks, places, pictures = [], [], [], [], []
    pad = cast(int, tokens.convert_tokens_to_ids("<|image_pad|>"))
    for row, right in rows:
        row_ids: list[int] = []
        row_labels: list[int] = []
        row_marks: list[int] = []
        row_places = [np.zeros((3, 0), np.int64)]
        for piece, learnt in _pieces(row):
            if isinstance(piece, Picture):
                side = piece.pixels.shape[0] // (PATCH * MERGE)
                pictures.append(patches(piece.pixels))
                new = [pad] * side**2
                here = _next(row_places)
                grid = np.indices((1, side, side)).reshape(3, -1) + here
                row_places.append(grid)
            else:
                new = list(tokens(piece)["input_ids"])
                row_places.append(_next(row_places) + np.tile(np.arange(len(new)), (3, 1)))
            row_ids += new
            row_labels += new if learnt else [-100] * len(new)
            row_marks += [-100] * (len(new) - 1) + [-100 if learnt else _mark(piece, right)]
        ids.append(row_ids)
        labels.append(row_labels)
        marks.append(row_marks)
        places.append(np.concatenate(row_places, axis=1))
    length = max(map(len, ids))
    batch = {
        "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids]),
        "labels": torch.tensor([row + [-100] * (length - len(row)) for row in labels]),
        "marks": torch.tensor([row + [-100] * (length - len(row)) for row in marks]),
        "position_ids": torch.from_numpy(np.stack([np.pad(row, ((0, 0), (0, length - row.shape[1]))) for row in places], axis=1)),
    }
    if pictures:
        batch["patches"] = torch.from_numpy(np.stack(pictures))
    return batch


def misled(rng: np.random.Generator, batch: Batch, share: float) -> Batch:
    """Show a share of the reply's words wrongly when the next ones are learnt.

    A model that trusts "red" never says "red star", a pair that no training clip shows, whatever it sees. Only for captions: a
    time cannot be copied after a wrong digit.
    """
    ids, reply = batch["input_ids"], batch["labels"] != -100
    said = ids[reply].numpy()
    shown = np.where(rng.random(len(said)) < share, rng.permutation(said), said)
    return batch | {"input_ids": ids.masked_scatter(reply, torch.from_numpy(shown))}


_LISTED = re.compile(r" (\d+)$")
_LINE_END = re.compile(r"(?<=[0-9])(?=\n)")  # tokens never reach over such a place, so a text may be cut there


def _mark(piece: str | Picture, right: frozenset[str]) -> int:
    """Whether the number at the end of a piece is right (1) or wrong (0); -100 where there is none."""
    listed = _LISTED.search(piece) if isinstance(piece, str) else None
    return -100 if listed is None else int(listed[1] in right)


def _next(places: list[np.ndarray]) -> int:
    return int(places[-1].max()) + 1 if places[-1].size else 0


def _pieces(row: tuple[Message, ...]) -> list[tuple[str | Picture, bool]]:
    """The chat template's text cut at pictures and turns, each with whether it is learnt."""
    pieces: list[tuple[str | Picture, bool]] = []
    for message in row:
        learnt = message.role == "assistant"
        pieces.append((f"<|im_start|>{message.role}\n", False))
        for part in message.content:
            if isinstance(part, Picture):
                pieces += [("<|vision_start|>", False), (part, False), ("<|vision_end|>", False)]
            else:
                pieces += [(cut, learnt) for cut in _LINE_END.split(part)]
        pieces += [("<|im_end|>", learnt), ("\n", False)]
    return pieces


MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def patches(pixels: np.ndarray) -> np.ndarray:
    """(side, side, 3) uint8 -> (patches, 588) float32, in the order of Qwen2-VL's image processor: two by two, then rows."""
    side = pixels.shape[0] // PATCH
    half = side // MERGE
    values = (pixels.astype(np.float32) / 255 - MEAN) / STD
    grid = values.reshape(half, MERGE, PATCH, half, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    return np.ascontiguousarray(grid.reshape(side * side, 3 * PATCH * PATCH))
