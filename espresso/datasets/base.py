"""What all datasets share: records of loaded data, training examples, and datasets in files.

A `FileDataset` is a function from a row of a public format to a `Question`, whose visuals are named
as in the row. Loading questions and examples, and reporting bad rows, is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from espresso.datasets.boxes import grounded
from espresso.datasets.frames import FrameReference, VideoFrame, frame_size, open_shared, uniform_frames
from espresso.datasets.rows import BadRow, RawRow, read_rows, reason
from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError, MediaError
from espresso.schema import Question, visual_names


@dataclass(frozen=True)
class DatasetFiles:
    """A user's copy of a dataset."""

    data: Path
    """The file of questions, as its authors publish it, or the folder if there are several."""

    videos: Path | None = None
    """The folder that contains the videos, at any depth. None is the folder of `data`."""

    @property
    def folder(self) -> Path:
        """The folder that contains the videos."""
        return self.videos or self.data.parent


@dataclass(frozen=True)
class LoadedQuestions:
    """Questions for evaluation."""

    questions: list[Question]
    """Questions with the paths of their visuals."""

    bad: tuple[BadRow, ...] = ()
    """Rows that could not be read."""

    missing: tuple[str, ...] = ()
    """Visuals that were not found, as named in the rows, without segments. Their questions are left
    out.

    If several files have the name, so that none can be chosen, they are listed after it.
    """

    notes: tuple[str, ...] = ()
    """Assumptions made while reading, one sentence each."""


@dataclass(frozen=True)
class Example:
    """A question to train on."""

    id: str

    question: str

    frames: tuple[FrameReference, ...]
    """Core frames or evenly spaced frames, in the order in which the prompt shows them."""

    evidence: str
    """What the frames show, with key items and boxes if the dataset has them, or ""."""

    answer: str

    options: tuple[str, ...] = ()
    """Empty for an open question. For measurements only: no training prompt shows them."""

    where: str = ""
    """File name and row number, as in `BadRow`; empty if the example is generated."""

    names: tuple[str, ...] = ()
    """What the prompt calls the visual of each frame (`espresso.schema.visual_names`). Empty if all
    are frames of one video."""


@dataclass(frozen=True)
class LoadedExamples:
    """Examples for training."""

    examples: tuple[Example, ...]

    bad: tuple[BadRow, ...] = ()
    """Rows that cannot be trained on."""

    notes: tuple[str, ...] = ()
    """Assumptions made while reading, one sentence each."""


class Dataset(Protocol):
    """A source of questions for evaluation. Most datasets are a `FileDataset`."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that `load` accepts."""
        ...

    @property
    def needs_files(self) -> bool:
        """Whether the user has to provide the files."""
        ...

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """Load questions.

        Args:
            split: one of `splits`.
            limit: number of questions, the first ones of the split; None is all.
            files: the user's copy, for a dataset that needs files.
            on_clip: called with (clips done, all clips) while clips are rendered.

        Raises:
            DataError: files are missing, not needed or unreadable, or contain no question.
        """
        ...


@dataclass(frozen=True)
class FileDataset:
    """A dataset in files that the user provides."""

    name: str

    read: Callable[[RawRow], Question]
    """Converts a row to a question. Visuals are named as in the row.

    A KeyError means a missing field; a ValueError means an invalid value, or one that is missing
    (`espresso.datasets.fields`).
    """

    read_file: Callable[[Path, list[BadRow]], Iterator[tuple[str, RawRow]]] = read_rows
    """Reads the rows of the file, see `espresso.datasets.rows.read_rows`."""

    splits: tuple[str, ...] = ("test",)

    needs_files: bool = True

    folder: Callable[[Path], VideoFolder] = VideoFolder
    """Opens the folder in which the visuals of the rows are found."""

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """See `Dataset.load`. The file decides what is read; the split only names the run."""
        if files is None:
            raise DataError(f"the dataset {self.name} is read from your files. Give --data FILE and --videos FOLDER.")
        videos = self.folder(files.folder)
        questions, bad, missing = list[Question](), list[BadRow](), dict[str, None]()
        for _, question in self.read_questions(files.data, bad):
            paths = {visual: videos.find(visual) for visual in question.visuals}
            absent = [videos.absent(visual) for visual, path in paths.items() if path is None]
            missing |= dict.fromkeys(absent)
            if not absent:
                located = tuple(str(paths[visual]) for visual in question.visuals)
                questions.append(question.model_copy(update={"visuals": located}))
            if len(questions) == limit:
                break
        if not questions and not missing:
            raise DataError(_nothing(files.data, "question in it", bad))
        return LoadedQuestions(questions, tuple(bad), tuple(missing))

    def examples(
        self, files: DatasetFiles, *, limit: int | None = None, uniform: int | None = None, evidence: bool = True
    ) -> LoadedExamples:
        """Load training examples.

        Args:
            files: the user's copy.
            limit: number of examples, the first ones; None is all.
            uniform: number of evenly spaced frames to use instead of core frames. Required if the
                dataset has no core frames.
            evidence: whether rows without evidence are bad rows.

        Raises:
            DataError: the files are missing or unreadable, or contain no row to train on.
        """
        videos = self.folder(files.folder)
        examples, bad = list[Example](), list[BadRow]()
        for where, question in self.read_questions(files.data, bad):
            try:
                sources = [videos.get(visual) for visual in question.visuals]
                examples.append(replace(_example(question, sources, uniform, evidence), where=where))
            except (ValueError, MediaError) as error:
                bad.append(BadRow(where, reason(error)))
            if len(examples) == limit:
                break
        return examples_or_error(files.data, examples, bad)

    def read_questions(self, path: Path, bad: list[BadRow]) -> Iterator[tuple[str, Question]]:
        """Read the questions of a file, with visuals named as in the rows.

        Args:
            path: the file.
            bad: rows that cannot be read, and repeated questions, are appended to it.

        Yields:
            (where, question); `where` is as in `BadRow`.

        Raises:
            DataError: the file cannot be read.
        """
        seen = dict[str, tuple[str, Question]]()
        for where, row in self.read_file(path, bad):
            try:
                question = self.read(row)
            except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
                bad.append(BadRow(where, reason(error)))
                continue
            if question.id in seen:
                earlier, first = seen[question.id]
                same = f"the same question as in {earlier}"
                other = f"the id {question.id!r} is that of another question in {earlier}"
                bad.append(BadRow(where, same if question == first else other))
                continue
            seen[question.id] = where, question
            yield where, question


# Training examples


def examples_or_error(
    path: Path, examples: Sequence[Example], bad: Sequence[BadRow], notes: Sequence[str] = ()
) -> LoadedExamples:
    """Return what was read of a file. Raises DataError if there is no example."""
    if not examples:
        raise DataError(_nothing(path, "row to train on", bad))
    return LoadedExamples(tuple(examples), tuple(bad), tuple(notes))


def _nothing(path: Path, what: str, bad: Sequence[BadRow]) -> str:
    first = f" The first: {bad[0]}." if bad else ""
    return f"{path}: no {what} ({len(bad)} bad rows).{first}"


def _example(question: Question, sources: Sequence[str], uniform: int | None, evidence: bool) -> Example:
    """Convert a question to an example. Raises ValueError or MediaError if that is impossible."""
    truth = question.truth
    text = truth.evidence.strip() if truth else ""
    if evidence and not text:
        raise ValueError("no evidence")
    if not question.answer:
        raise ValueError("no answer")
    frames: tuple[VideoFrame, ...]
    if uniform:
        frames = uniform_frames(sources, uniform)
    elif truth and truth.spans:
        if max(span.visual for span in truth.spans) >= len(sources):
            raise ValueError(f"a core frame is in a visual that the question does not have (it has {len(sources)})")
        frames = tuple(VideoFrame(sources[span.visual], (span.start + span.end) / 2) for span in truth.spans)
    else:
        raise ValueError("no core frames; set `uniform` to train on evenly spaced frames")
    if truth and text:
        items = [grounded(item.label, item.box, *frame_size(sources[item.frame.visual])) for item in truth.key_items if item.box]
        text += f" Key items: {', '.join(items)}." if items else ""
    names = dict(zip(sources, visual_names([open_shared(source).visual.kind for source in sources]), strict=True))
    return Example(
        question.id,
        question.text,
        frames,
        text,
        question.answer,
        question.options or (),
        names=tuple(names[frame.source] for frame in frames),
    )
