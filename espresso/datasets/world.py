"""The procedural world: the fourteen tasks of VideoEspresso over generated clips with known facts.

The tasks are those of Han et al., "VideoEspresso: A Large-Scale Chain-of-Thought Dataset for
Fine-Grained Video Reasoning via Core Frame Selection", CVPR 2025; `espresso.world` makes the clips.
Questions have four options; chance, and the best that is possible without the clip, is 25 %.

For evaluation, clips are rendered into the cache folder when they are first needed. For training,
no clip is written: frames are rendered when a batch needs them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock
from PIL import Image

from espresso import world
from espresso.cache import default_folder
from espresso.datasets import records
from espresso.datasets.base import DatasetFiles, Example, LoadedExamples, LoadedQuestions
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Answer, Question, Task
from espresso.world import Split, Story

ALL = 1400
"""Questions of a split without a limit: one hundred per task."""

FRAME_SIZE = 224
"""Width and height of frames that are written as images, in pixels, as of the clips."""

ROUNDING_S = 0.05
"""Tolerance of times in evidence, which are rounded to tenths of a second."""

_FACT = re.compile(r"(\d+(?:\.\d+)?)s: ([^.]+)\.")


@dataclass(frozen=True)
class World:
    """The dataset."""

    name: str = "world"

    splits: tuple[str, ...] = world.SPLITS

    needs_files: bool = False

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None = None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """See `espresso.datasets.Dataset.load`. Raises DataError if files are given."""
        if files is not None:
            raise DataError(f"{files.data}: the dataset world is generated and reads no files. Leave out --data and --videos.")
        return LoadedQuestions(questions(split, limit, on_clip))

    def examples(
        self,
        split: Split,
        count: int,
        *,
        seed: int = 0,
        first: int = 0,
        spare: float = 0.25,
        missing: float = 0.04,
        uniform: int | None = None,
        tasks: Collection[Task] = tuple(Task),
    ) -> LoadedExamples:
        """Generate training examples, in the order of the stories.

        Args:
            split: "train" or "val".
            count: number of examples.
            seed: seed of the frame times.
            first: index of the first story.
            spare: probability of each of up to three additional frames that the question does not
                need, as a selector may add.
            missing: probability that a needed frame is left out, as a selector may miss it.
            uniform: number of evenly spaced frames to use instead of core frames.
            tasks: tasks to include.
        """
        examples = list[Example]()
        index = first
        while len(examples) < count:
            story = _story(split, index)
            rng = np.random.default_rng([seed, index])
            for number, (motif, needed) in enumerate(zip(story.motifs, story.needed, strict=True)):
                if motif.task not in tasks:
                    continue
                times = _uniform_times(story, uniform) if uniform else _core_times(story, needed, spare, missing, rng)
                frames = tuple(RenderedFrame(split, index, time) for time in times)
                evidence = _evidence(story, times, {story.beats[i].fact for i in needed})
                name = f"{split}-{index:05d}-{number}"
                examples.append(Example(name, motif.text, frames, evidence, motif.answer, tuple(motif.options)))
            index += 1
        return LoadedExamples(tuple(examples[:count]))


DATASET = World()


def questions(split: str, limit: int | None, on_clip: Callable[[int, int], None] | None = None) -> list[Question]:
    """Load questions of a split, and render the clips that are not in the cache folder yet.

    Args:
        split: one of `espresso.world.SPLITS`.
        limit: number of questions, the first ones; None is 1,400.
        on_clip: called with (clips done, all clips) while clips are rendered.

    Raises:
        DataError: the clips cannot be written.
    """
    count = limit or ALL
    with _locked(split) as folder:
        file = folder / "questions.jsonl"
        loaded = records.read(file) if file.is_file() else []
        if len(loaded) < count:
            loaded = world.make(cast(Split, split), count, folder, on_clip=on_clip)
    return loaded[:count]


def clips(split: Split, indices: Sequence[int], on_clip: Callable[[int, int], None] | None = None) -> dict[int, Path]:
    """Render the clips of stories that are not in the cache folder yet.

    Args:
        split: one of `espresso.world.SPLITS`.
        indices: different indices of stories.
        on_clip: called with (clips done, all clips) while clips are rendered.

    Returns:
        Index -> path of the clip.

    Raises:
        DataError: the clips cannot be written.
    """
    with _locked(split) as folder:
        return world.make_clips(split, indices, folder, on_clip=on_clip)


def frames(
    split: Split, wanted: Sequence[RenderedFrame], on_frame: Callable[[int, int], None] | None = None
) -> dict[RenderedFrame, Path]:
    """Render frames of stories as PNG files, unless they are in the cache folder already.

    Args:
        split: one of `espresso.world.SPLITS`.
        wanted: frames of the split, each once.
        on_frame: called with (frames done, all frames) while frames are rendered.

    Returns:
        Frame -> path of the image.

    Raises:
        DataError: the images cannot be written.
    """
    with _locked(split) as folder:
        pictures = folder.with_name(f"{split}-frames")
        pictures.mkdir(exist_ok=True)
        paths = {frame: pictures / f"{split}-{frame.index:05d}{frame.edit}-{frame.time:.3f}.png" for frame in wanted}
        for done, (frame, path) in enumerate(paths.items(), 1):
            if not path.is_file():
                content = io.BytesIO()
                Image.fromarray(frame.pixels(FRAME_SIZE)).save(content, "PNG")
                write_atomic(path, content.getvalue())
            if on_frame:
                on_frame(done, len(paths))
    return paths


@contextmanager
def _locked(split: str) -> Iterator[Path]:
    """Lock the cache folder of a split's clips, and yield it. Raises DataError for its errors."""
    folder = default_folder() / "world" / _version() / split
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            yield folder
    except OSError as error:
        raise DataError(
            f"{folder}: clips cannot be written ({error.strerror}). Set ESPRESSO_CACHE to a writable folder."
        ) from error


# Ground truth


def true_caption(visual: str, time: float) -> str:
    """Return what a clip shows at a time, in the captioner's words.

    Args:
        visual: path of a clip that `espresso.world` made.
        time: seconds.

    Raises:
        DataError: the visual has no ground truth.
    """
    return next((act["fact"] for act in _acts(visual) if act["start"] <= time <= act["end"]), world.NOTHING)


def true_facts(question: Question, answer: Answer) -> list[bool]:
    """Return whether each fact in an answer's evidence is true: the clip shows it at that time.

    A fact has the form "2.5s: red square hits blue circle.".

    Args:
        question: a question about a clip that `espresso.world` made.
        answer: an answer to it.

    Returns:
        One value per fact; empty if the evidence has no facts of this form.

    Raises:
        DataError: the clip has no ground truth.
    """
    acts = _acts(question.visuals[0])
    return [
        any(act["fact"] == fact and act["start"] - ROUNDING_S <= float(time) <= act["end"] + ROUNDING_S for act in acts)
        for time, fact in _FACT.findall(answer.evidence.text)
    ]


@lru_cache(maxsize=64)
def _acts(visual: str) -> list[dict[str, Any]]:
    """Read the acts of a clip from the JSON file next to it."""
    try:
        acts: list[dict[str, Any]] = json.loads(Path(visual).with_suffix(".json").read_bytes())["acts"]
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{visual}: no ground truth; the file is not a clip of espresso's world.") from None
    return acts


@cache
def _version() -> str:
    """Return eight hex digits of the world's source code: clips of another version are not used."""
    sources = sorted(Path(world.__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


# Training examples


@dataclass(frozen=True)
class RenderedFrame:
    """A frame of a story that is rendered when it is needed."""

    split: Split

    index: int
    """Index of the story in its split."""

    time: float
    """Seconds."""

    edit: str = ""
    """How the story is edited, see `espresso.world.edits`; "" is the story itself."""

    def pixels(self, size: int) -> np.ndarray:
        """Render the frame at twice the size and average it down, as in clips.

        See `espresso.datasets.FrameReference.pixels`.
        """
        return np.array(Image.fromarray(world.render(_story(self.split, self.index, self.edit), self.time, 2 * size)).reduce(2))


@lru_cache(maxsize=256)
def _story(split: Split, index: int, edit: str = "") -> Story:
    return world.edited(_story(split, index), edit) if edit else world.story(split, index)


def _uniform_times(story: Story, count: int) -> list[float]:
    return [round((number + 0.5) * story.duration / count, 3) for number in range(count)]


def _core_times(story: Story, needed: Iterable[int], spare: float, missing: float, rng: np.random.Generator) -> list[float]:
    """Draw one time in each needed act, without some of them, and some additional times."""
    acts = [story.beats[i] for i in needed]
    times = [rng.uniform(act.start, act.end) for act in acts if rng.random() >= missing]
    times += [rng.uniform(0, story.duration) for _ in range(3) if rng.random() < spare]
    return sorted(round(float(time), 3) for time in times)


def _evidence(story: Story, times: Sequence[float], facts: set[str]) -> str:
    """Return the evidence of frames at these times: the facts among `facts` that they show."""
    captions = [(time, story.caption(time)) for time in times]
    return " ".join(f"{time:.1f}s: {fact}." for time, fact in captions if fact in facts) or "nothing seen."
