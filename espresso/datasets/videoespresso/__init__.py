"""VideoEspresso: fourteen tasks whose evidence is in a few core frames.

Han et al., "VideoEspresso: A Large-Scale Chain-of-Thought Dataset for Fine-Grained Video Reasoning
via Core Frame Selection", CVPR 2025.

Test files (`bench_hard.json`, `bench_final.json`): four options that start with their letters;
task names of the paper or of the leaderboard. Train file (`videoespresso_train_video.json`, and the
older multi-image version): open-ended questions. Both serve evaluation and training.

`espresso.datasets.videoespresso.frame_names` finds the core frames by their file names. For
evaluation they are the spans of the ground truth, and the evidence, without the marks around key
items, is kept for `--given-evidence`. For training the evidence has the boxes of the key items, and
a core frame is an image file or a frame of the video.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from espresso.datasets.base import DatasetFiles, Example, FileDataset, LoadedExamples, LoadedQuestions, examples_or_error
from espresso.datasets.boxes import MarkedEvidence, without_marks
from espresso.datasets.fields import by_letter, is_missing, optional_text, split_letters, text, texts
from espresso.datasets.frames import VideoFrame, uniform_frames
from espresso.datasets.rows import BadRow, RawRow, read_rows, reason
from espresso.datasets.videoespresso.frame_names import FrameNames, source_of
from espresso.datasets.videos import VideoFolder
from espresso.errors import MediaError
from espresso.schema import Question, Span, Task, Truth

TOLERANCE_S = 0.5
"""Seconds before and after a core frame in which a frame counts as the same one, for the metrics of
core frames: half the step of 1 frame per second, the lowest rate at which the authors sample
(section 3.1). A span at the start of the clip is narrower, so that its middle is the core frame."""


def _read(row: RawRow) -> Question:
    evidence = without_marks(optional_text(row, "evidence"))
    closed = not (is_missing(row.get("correct_answer")) and is_missing(row.get("options")))
    options = split_letters(texts(row, "options")) if closed else None
    written = optional_text(row, "answer") or None if options else None
    return Question(
        id=_question_id(row),
        visuals=(text(row, "video_path"),),
        text=text(row, "question"),
        options=tuple(options.values()) if options else None,
        task=Task.parse(text(row, "task")),
        answer=by_letter(options, row, "correct_answer") if options else text(row, "answer"),
        truth=Truth(spans=(), facts=(), evidence=evidence, answer=written) if evidence or written else None,
    )


def _question_id(row: RawRow) -> str:
    return sha256(f"{row['video_path']}\n{row['question']}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class VideoEspresso(FileDataset):
    """The dataset; questions and training examples have the authors' core frames."""

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """Load questions with their core frames as spans. See `Dataset.load`.

        A question whose core frames cannot be found in its clip has no spans; a note counts them.
        """
        loaded = super().load(split, limit, files, on_clip)
        assert files
        rows = dict[str, RawRow]()
        for _, row in read_rows(files.data, []):
            with suppress(KeyError):
                rows.setdefault(_question_id(row), row)
        names, questions, unknown = FrameNames(), list[Question](), list[str]()
        for question in loaded.questions:
            try:
                times = {time for _, time in names.resolve(rows[question.id], Path(question.visuals[0]))}
                questions.append(_with_spans(question, sorted(times)))
            except (ValueError, MediaError) as error:
                questions.append(question)
                unknown.append(reason(error))
        notes = [f"core frames are not known for {len(unknown)} questions; the first: {unknown[0]}"] if unknown else []
        return replace(loaded, questions=questions, notes=(*names.notes, *notes))

    def examples(
        self,
        files: DatasetFiles,
        *,
        limit: int | None = None,
        uniform: int | None = None,
        evidence: bool = True,
        rate: float | None = None,
    ) -> LoadedExamples:
        """Load training examples. See `FileDataset.examples`.

        Args:
            files: the authors' file, and the folder that paths in the file are relative to.
            limit: number of examples, the first ones; None is all.
            uniform: number of evenly spaced frames of the video to use instead of core frames.
            evidence: whether rows without evidence are bad rows.
            rate: frames per second at which the numbers in frame names count if the video is
                absent and core frames are image files. A video that is there decides for itself.

        Raises:
            DataError: the files are missing or unreadable, or contain no row to train on.
        """
        examples, bad = list[Example](), list[BadRow]()
        rows, videos = list(read_rows(files.data, bad)), VideoFolder(files.folder)
        marked = MarkedEvidence((source_of(row), row["evidence"]) for _, row in rows if isinstance(row.get("evidence"), str))
        names = FrameNames(rate)
        for place, (where, row) in enumerate(rows):
            if len(examples) == limit:
                break
            try:
                question, answer = text(row, "question"), text(row, "answer")
                written = text(row, "evidence") if evidence else optional_text(row, "evidence")
                frames = _uniform_frames(row, videos, uniform) if uniform else _core_frames(row, videos, names)
                written = marked.plain(written, source_of(row), frames[0].source)
                examples.append(Example(f"{files.data.stem}-{place}", question, frames, written, answer, where=where))
            except (KeyError, ValueError, MediaError) as error:
                bad.append(BadRow(where, reason(error)))
        return examples_or_error(files.data, examples, bad, [*names.notes, *marked.notes])


DATASET = VideoEspresso("videoespresso", _read, splits=("test", "train"))


def _with_spans(question: Question, times: list[float]) -> Question:
    """Return a question with a span of ground truth around each of the times."""
    truth = question.truth or Truth(spans=(), facts=(), evidence="")
    margins = [min(TOLERANCE_S, time) for time in times]
    spans = tuple(Span(start=time - margin, end=time + margin) for time, margin in zip(times, margins, strict=True))
    return question.model_copy(update={"truth": truth.model_copy(update={"spans": spans})})


def _uniform_frames(row: RawRow, videos: VideoFolder, count: int) -> tuple[VideoFrame, ...]:
    """Return evenly spaced frames of the row's video."""
    return uniform_frames([videos.get(text(row, "video_path"))], count)


def _core_frames(row: RawRow, videos: VideoFolder, names: FrameNames) -> tuple[VideoFrame, ...]:
    """Return the core frames: image files if they exist, else frames of the video."""
    video = optional_text(row, "video_path")
    clip = videos.find(video) if video else None
    frames = list[VideoFrame]()
    for name, time in names.resolve(row, clip):
        image = videos.path / name
        if not image.is_file() and clip is None:
            raise ValueError(f"{image} is missing" + (f", and so is {videos.path / videos.absent(video)}" if video else ""))
        frames.append(VideoFrame(str(image if image.is_file() else clip), time))
    return tuple(frames)
