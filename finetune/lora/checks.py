"""Check frames and lengths of all rows before the first step, so that none stops a training later.

A row with a frame that cannot be decoded, or with more than `max_length` tokens, is left out.
Frames are decoded once, on all cores and by all processes together; the results are kept in
`frames.<process>.jsonl` in the output folder, and a frame is decoded again only if its file has
changed. Lengths take a fifth of a millisecond per row and are counted each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from espresso.datasets import BadRow, Example, LoadedExamples
from espresso.datasets.frames import VideoFrame
from espresso.errors import DataError, MediaError, ModelError
from espresso.models.processor import ChatProcessor
from espresso.schema import Record
from finetune.checkpoints import left_out
from finetune.lora.collate import TrainingRow
from finetune.lora.config import FinetuneConfig
from finetune.lora.shared import share

Sizes = tuple[tuple[int, int], ...]
"""Height and width in pixels of each frame of an example."""


class Problem(Record):
    """Why an example cannot be trained on."""

    why: str
    """The reason, without a full stop."""
    too_long: bool = False
    """Whether it has too many tokens; otherwise a frame cannot be used."""


class RowCheck:
    """Finds the examples that cannot be trained on.

    Args:
        config: the configuration.
        base: folder of the base model.
        examples: training and held-out examples; their frames are checked, see `check_frames`.
        rank: number of this process, from 0.
        processes: number of processes that call this function, each with another rank.
    """

    problems: dict[Example, Problem]
    """What was found so far."""

    def __init__(
        self, config: FinetuneConfig, base: str, examples: Sequence[Example], *, rank: int = 0, processes: int = 1
    ) -> None:
        self._config, self._rank = config, rank
        self._processor = ChatProcessor(base, vision=True)
        found = check_frames(examples, config.frame_size, config.output, rank=rank, processes=processes)
        checked = list(zip(examples, found, strict=True))
        self.problems = {example: each for example, each in checked if isinstance(each, Problem)}
        self._sizes = {example: each for example, each in checked if not isinstance(each, Problem)}

    def lengths(self, examples: Sequence[Example], rows: Callable[[Example], Sequence[TrainingRow]]) -> None:
        """Check the lengths of rows.

        Args:
            examples: some of the examples.
            rows: makes the rows of an example.
        """
        console = Console(stderr=True)
        for example in track(self.usable(examples), "checking lengths", console=console, disable=self._rank > 0, transient=True):
            if problem := check_length(rows(example), self._sizes[example], self._config, self._processor):
                self.problems[example] = problem

    def usable(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples without a problem."""
        return [example for example in examples if example not in self.problems]

    def leave_out(self, data: LoadedExamples, checkpoints: Path | None = None) -> tuple[LoadedExamples, dict[str, Problem]]:
        """Leave out the examples with a problem, or those that the checkpoints' training left out.

        Args:
            data: training or held-out data.
            checkpoints: the folder of the training's checkpoints. If it has any, the same rows must
                be left out as before, or the resumed training would continue on others.

        Returns:
            The data, with bad rows for what was left out, and the problems of these by name.

        Raises:
            DataError: no example is left, or a row that a checkpoint was trained on has a problem.
        """
        found = {_name(example): self.problems[example] for example in data.examples if example in self.problems}
        before = left_out(checkpoints) if checkpoints else None
        problems = found if before is None else {name: Problem.model_validate(each) for name, each in before.items()}
        if new := next((name for name in found if name not in problems), None):
            cure = "Raise max_length" if found[new].too_long else "Restore its file"
            raise DataError(
                f"{new}: {found[new].why}, but the checkpoints in {checkpoints} were trained on this row. {cure} to resume, or "
                "remove the folder to train without it."
            )
        kept, bad = list[Example](), list(data.bad)
        for example in data.examples:
            if (problem := problems.get(_name(example))) is None:
                kept.append(example)
            else:
                since = "" if example in self.problems else " when this training started"
                bad.append(BadRow(example.where or example.id, problem.why + since))
        if data.examples and not kept:
            raise DataError(
                f"all {len(data.examples)} rows are left out, so there is nothing to train on. The first: {bad[len(data.bad)]}."
            )
        return replace(data, examples=tuple(kept), bad=tuple(bad)), problems


def _name(example: Example) -> str:
    return f"{example.where} ({example.id})" if example.where else example.id


@dataclass(frozen=True)
class _BlankFrame:
    """A frame that has the size of another one, and takes no memory."""

    time: float
    height: int
    width: int

    def pixels(self, size: int) -> np.ndarray:
        return np.broadcast_to(np.uint8(0), (self.height, self.width, 3))


def check_frames(
    examples: Sequence[Example], size: int, folder: Path, *, rank: int = 0, processes: int = 1
) -> list[Sizes | Problem]:
    """Decode the frames of all examples; return their sizes, or why they cannot be decoded.

    Args:
        examples: the examples, the same in all processes. Frames that are rendered are not checked.
        size: longest side of a frame in pixels.
        folder: an existing folder for the results.
        rank: number of this process, from 0.
        processes: number of processes that call this function, each with another rank.

    Raises:
        DataError: results cannot be written, or the other processes do not do their shares.
    """
    keys = [_key(example, size) for example in examples]
    items = {key: example for key, example in zip(keys, examples, strict=True) if key}

    def decode(missing: dict[str, Example]) -> Iterator[tuple[str, object]]:
        threads = ThreadPoolExecutor(os.cpu_count())
        try:
            results = zip(missing, threads.map(lambda example: _decode(example, size), missing.values()), strict=True)
            console = Console(stderr=True)
            yield from track(results, "checking frames", total=len(missing), console=console, disable=rank > 0)
        finally:
            threads.shutdown(cancel_futures=True)

    results = share(items, decode, folder, "frames", "results of the frame check", rank=rank, processes=processes)
    return [
        (Problem(why=found) if isinstance(found := results[key], str) else tuple((height, width) for height, width in found))
        if key
        else ((size, size),) * len(example.frames)
        for key, example in zip(keys, examples, strict=True)
    ]


def count_tokens(row: TrainingRow, sizes: Sizes, config: FinetuneConfig, processor: ChatProcessor) -> int:
    """Return the exact number of tokens of a row's prompt and reply, without decoding its frames.

    Raises:
        ModelError: the processor rejects the size of a frame.
    """
    frames = tuple(_BlankFrame(frame.time, *each) for frame, each in zip(row.example.frames, sizes, strict=True))
    messages = replace(row, example=replace(row.example, frames=frames)).messages(config.prompts, config.frame_size)
    reply = processor.encode(processor.render_reply(row.reply))
    return processor.count(processor.render(messages), messages).total + len(reply)


def check_length(rows: Sequence[TrainingRow], sizes: Sizes, config: FinetuneConfig, processor: ChatProcessor) -> Problem | None:
    """Return why an example's rows cannot be trained on; None if they can."""
    for row in rows:
        try:
            tokens = count_tokens(row, sizes, config, processor)
        except ModelError as error:
            return Problem(why=str(error).rstrip("."))
        if tokens > config.max_length:
            return Problem(why=f"{tokens} tokens exceed max_length of {config.max_length}", too_long=True)
    return None


def _key(example: Example, size: int) -> str | None:
    """Return a digest of all that the decoded frames depend on; None if they are rendered."""
    frames = [frame for frame in example.frames if isinstance(frame, VideoFrame)]
    if not frames:
        return None
    state = [size, *([frame.source, frame.time, *_state(frame.source)] for frame in frames)]
    return sha256(json.dumps(state).encode()).hexdigest()[:16]


def _state(path: str) -> tuple[int, int]:
    """Return what changes with a file's content: its size and modification time."""
    try:
        stat = os.stat(path)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _decode(example: Example, size: int) -> list[tuple[int, ...]] | str:
    """Return the height and width of each frame, or why one cannot be decoded."""
    try:
        return [frame.pixels(size).shape[:2] for frame in example.frames]
    except (MediaError, OSError) as error:
        return " ".join(str(error).split()).rstrip(".")
