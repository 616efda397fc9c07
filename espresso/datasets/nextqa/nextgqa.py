"""NExT-GQA with captions: questions about videos, human-labelled evidence spans, stored captions.

Xiao, Yao, Li, Chua, "Can I Trust Your Answer? Visually Grounded Video Question Answering", CVPR
2024, with one caption per second from a vision-language model. No pixels are needed: a frame
selector reads captions, and the spans say which frames it should find.

A folder holds `questions.jsonl`, one question per line, and `captions_1fps.zip`, in which
`<video>.json` maps "0", "1", ... to the caption of that second. The questions of `load` are not
asked, so this is no `Dataset`; `eval.selection` measures selectors on them.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espresso.datasets.fields import text, texts
from espresso.datasets.rows import BadRow, RawRow, read_rows, reason
from espresso.errors import DataError
from espresso.schema import Record

QUESTIONS = "questions.jsonl"
CAPTIONS = "captions_1fps.zip"


class CaptionedQuestion(Record):
    """A question about captioned frames, with the frames that answer it."""

    id: str

    video: str
    """Name of the video. Questions about one video are a cluster in every interval."""

    kind: str
    """Type of the question, such as CW (causal, why) or TN (temporal, next)."""

    question: str

    options: tuple[str, ...]
    """The answers to choose from; empty for an open question."""

    times: tuple[float, ...]
    """Seconds of the captioned frames."""

    captions: tuple[str, ...]
    """One per time."""

    spans: tuple[tuple[int, ...], ...]
    """Positions of the captions inside each true span; a span between two frames has none."""

    @property
    def relevant(self) -> frozenset[int]:
        """Positions of all captions inside a true span."""
        return frozenset(position for span in self.spans for position in span)


@dataclass(frozen=True)
class CaptionedQuestions:
    """Questions, and what could not be read."""

    questions: list[CaptionedQuestion]

    bad: tuple[BadRow, ...] = ()
    """Rows without captions, without spans or with an invalid value."""


def load(folder: Path, limit: int | None = None) -> CaptionedQuestions:
    """Load the questions of a folder.

    Args:
        folder: a folder with `questions.jsonl` and `captions_1fps.zip`.
        limit: number of questions, the first ones; None is all.

    Raises:
        DataError: a file is missing or cannot be read, or no row can be used.
    """
    for name in (QUESTIONS, CAPTIONS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: has no {name}. Give the folder with {QUESTIONS} and {CAPTIONS} as --data.")
    questions, bad, seen = list[CaptionedQuestion](), list[BadRow](), set[str]()
    captions = _Captions(folder / CAPTIONS)
    for where, row in read_rows(folder / QUESTIONS, bad):
        try:
            question = _question(row, captions)
            if question.id in seen:
                raise ValueError(f"the id {question.id!r} was used by an earlier row")
        except (KeyError, ValueError, TypeError) as error:
            bad.append(BadRow(where, reason(error)))
            continue
        seen.add(question.id)
        questions.append(question)
        if len(questions) == limit:
            break
    if not questions:
        first = f" The first: {bad[0]}." if bad else ""
        raise DataError(f"{folder / QUESTIONS}: no question in it ({len(bad)} bad rows).{first}")
    return CaptionedQuestions(questions, tuple(bad))


def _question(row: RawRow, captions: _Captions) -> CaptionedQuestion:
    video = text(row, "video")
    read = captions.of(video)
    return CaptionedQuestion(
        id=f"{video}-{text(row, 'qid')}",
        video=video,
        kind=text(row, "type"),
        question=text(row, "question"),
        options=texts(row, "options"),
        times=tuple(float(second) for second in range(len(read))),
        captions=read,
        spans=tuple(_inside(span, len(read)) for span in _spans(row)),
    )


def _spans(row: RawRow) -> Iterator[tuple[float, float]]:
    """Yield (start, end) of the true spans in seconds. Raises KeyError or ValueError."""
    spans = row["gt_spans_s"]
    if not isinstance(spans, list) or not spans:
        raise ValueError("the field 'gt_spans_s' has no span")
    for span in spans:
        start, end = span
        if not (0 <= float(start) <= float(end) and math.isfinite(end)):
            raise ValueError(f"the field 'gt_spans_s' has an invalid span {span}")
        yield float(start), float(end)


def _inside(span: tuple[float, float], captions: int) -> tuple[int, ...]:
    """Return the positions of the captions within half a second of a span."""
    return tuple(range(math.ceil(span[0] - 0.5), min(math.floor(span[1] + 0.5) + 1, captions)))


class _Captions:
    """Captions by video, from a ZIP archive; each video is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = dict[str, tuple[str, ...]]()
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read ({error}). Give the archive as it was downloaded.") from None
        self._names = {Path(name).stem: name for name in self._archive.namelist() if name.endswith(".json")}

    def of(self, video: str) -> tuple[str, ...]:
        """Return the captions of a video. Raises ValueError if there are none."""
        if video not in self._read:
            if video not in self._names:
                raise ValueError(f"no captions of the video {video!r} in {self._path.name}")
            try:
                by_second: Any = json.loads(self._archive.read(self._names[video]))
                self._read[video] = tuple(str(by_second[str(second)]) for second in range(len(by_second)))
            except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._names[video]} in {self._path.name} is not a map from seconds to captions") from error
            if not self._read[video]:
                raise ValueError(f"no captions of the video {video!r} in {self._path.name}")
        return self._read[video]
