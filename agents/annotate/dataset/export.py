"""Export a constructed dataset: splits without shared videos, in one of three formats.

`espresso annotate export data.jsonl --out dataset --format datasets --test-share 0.1` writes a
folder with a dataset card, `README.md`, and:

- `records`: `train.jsonl` and `test.jsonl` in this project's format. Videos stay where they are.
- `videoespresso`: `train.json` and `test.json` in VideoEspresso's layout, and the videos below
  `all_video`. Training rows are open questions, test rows have options. A core frame is named by
  its native frame index, and a key item is marked in the evidence with its boxes, in pixels.
- `datasets`: Parquet files for Hugging Face `datasets`, and the videos below `videos`. A table in
  the card describes the columns.

The split of a video depends only on its content and `test_share`: a later export with more
questions or videos moves no video from one split to the other.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agents.annotate.dataset.bias import MIN_QUESTIONS, word_bias
from agents.annotate.dataset.layouts import ExportRow, flat_row, parquet_file, test_row, train_row
from agents.annotate.dataset.output import read
from agents.annotate.dataset.page import read_decisions
from agents.annotate.records import RejectedPair
from agents.annotate.work import AnnotateConfig
from espresso import media
from espresso.datasets import records
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.log import LogHeader, read_header
from espresso.media import Media
from espresso.schema import KeyItem, Question, Record, Task

Format = Literal["records", "videoespresso", "datasets"]

MANIFEST = "export.json"
"""The file that lists what an export wrote."""

_UNUSABLE = re.compile('[<>:"|?*\\\\\x00-\x1f\ud800-\udfff]')
"""Characters that some file systems, or UTF-8, do not allow in a file name."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Most questions -> the hub's name for a dataset of this size."""


class SplitSummary(Record):
    """The size of a split."""

    questions: int

    videos: int
    """Videos with different content."""


class ExportSummary(Record):
    """What an export wrote."""

    out: str
    """The folder."""

    format: Format

    splits: dict[str, SplitSummary]
    """`train`, and `test` if a test share was given."""

    dropped: int
    """Questions left out because a reviewer dropped them."""

    ignored: int
    """Rejected pairs that a reviewer marked to keep. They lack evidence, so they are not added."""

    unknown: int
    """Decisions about ids that are neither a question nor a rejected pair."""

    files: tuple[str, ...]
    """Files in the folder, without copied videos."""

    copied_videos: int
    """Videos in the folder."""


class Manifest(Record):
    """What the exports to a folder wrote."""

    files: tuple[str, ...]
    """Paths relative to the folder."""


def export(
    data: Path,
    out: Path,
    *,
    format: Format = "records",
    test_share: float = 0.0,
    decisions: Path | None = None,
) -> ExportSummary:
    """Export the questions of a dataset.

    A second export to the same folder replaces the first one.

    Args:
        data: the questions that `annotate` wrote; the rejected pairs and the work folder are beside
            it.
        out: a new or empty folder, or one that an export wrote.
        format: see the module's description.
        test_share: expected share of the videos in the split `test`, 0 up to 1. Equal files under
            several names are one video. 0 gives the split `train` alone.
        decisions: the decisions of the review page. None is `<data>.decisions.json` if it exists.

    Raises:
        DataError: a file cannot be read or written, an argument is invalid, a question is not as
            `annotate` writes it, a split is empty, or the folder has other content.
        MediaError: a video cannot be opened.
    """
    if not 0 <= test_share < 1:
        raise DataError(f"a test share of {test_share:g} is not a share of the videos. Give --test-share from 0 up to 1.")
    questions, rejected = read(data)
    if not questions:
        raise DataError(f"{data}: no question to export: all pairs were rejected. Run `espresso annotate` on more videos.")
    decided = decisions or data.with_suffix(".decisions.json")
    decision_of = read_decisions(decided) if decisions or decided.exists() else {}
    kept = [question for question in questions if decision_of.get(question.id) != "drop"]
    if not kept:
        raise DataError(f"{decided}: all {len(questions)} questions are dropped. Keep some on the review page.")
    rows = _rows(data, kept, test_share)
    if format == "videoespresso" and (other := next((row for row in rows if not isinstance(row.question.task, Task)), None)):
        raise DataError(f"{data}: question {other.question.id} has none of VideoEspresso's tasks. Use another --format.")
    for path in (data, *(Path(row.clip.source) for row in rows)):
        if path.resolve().is_relative_to(out.resolve()):
            raise DataError(f"{out}: contains {path}, which is read. Give another --out.")
    rejected_ids, question_ids = {pair.id for pair in rejected}, {question.id for question in questions}
    splits = {name: [row for row in rows if row.split == name] for name in (("train", "test") if test_share else ("train",))}
    places = {} if format == "records" else _places(rows, "all_video" if format == "videoespresso" else "videos")
    summary = ExportSummary(
        out=str(out),
        format=format,
        splits={
            name: SplitSummary(questions=len(own), videos=len({row.clip.digest for row in own})) for name, own in splits.items()
        },
        dropped=len(questions) - len(kept),
        ignored=sum(decision == "keep" and name in rejected_ids for name, decision in decision_of.items()),
        unknown=sum(name not in rejected_ids | question_ids for name in decision_of),
        files=(*(_file(format, name) for name in splits), "README.md", MANIFEST),
        copied_videos=len(places),
    )
    card = _card(data, summary, splits, rejected)
    try:
        earlier = _claim(out, (*summary.files, *places.values()))
        _copy_videos({row.clip.digest: Path(row.clip.source) for row in reversed(rows)}, places, out)
        for name, own in splits.items():
            _write(out / _file(format, name), own, places, format)
        write_atomic(out / "README.md", card)
        _remove(out, set(earlier) - {*summary.files, *places.values()})
        write_atomic(out / MANIFEST, Manifest(files=(*summary.files, *places.values())).model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}). Free some space or give another --out.") from error
    return summary


# Questions and splits


def _rows(data: Path, questions: Sequence[Question], test_share: float) -> list[ExportRow]:
    """Open the videos and assign the splits. Raises DataError and MediaError."""
    for question in questions:
        if len(question.visuals) != 1 or question.truth is None or not question.answer:
            what = "ground truth" if question.truth is None else "answer" if not question.answer else "single video"
            raise DataError(f"{data}: question {question.id} has no {what}. Give the file that `espresso annotate` wrote.")
    sources = list(dict.fromkeys(question.visuals[0] for question in questions))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        clips = dict(zip(sources, threads.map(_open, sources), strict=True))
    split_of = {source: "test" if _draw(clip.digest) < test_share else "train" for source, clip in clips.items()}
    videos = {clip.digest for clip in clips.values()}
    if test_share and (empty := {"train", "test"} - set(split_of.values())):
        raise DataError(
            f"the split {empty.pop()} is empty: chance puts none of the {len(videos)} videos in it with a test share of "
            f"{test_share:g}. Give another --test-share, or annotate more videos."
        )
    return [
        ExportRow(question, question.truth, question.answer, clips[question.visuals[0]], split_of[question.visuals[0]])
        for question in questions
        if question.truth and question.answer
    ]


def _open(source: str) -> Media:
    """Open a video and compute its digest. Raises DataError for a part of a video."""
    if media.split_segment(source)[1] and not os.path.exists(source):
        raise DataError(f"{source}: is a part of a video, which cannot be copied. Cut it out to a file, and annotate that.")
    clip = media.open(source)
    assert clip.digest
    return clip


def _draw(digest: str) -> float:
    """Return a number from 0 to 1 that is random, but always the same for a digest."""
    return int(sha256(digest.encode()).hexdigest()[:13], 16) / 16**13


def _places(rows: Sequence[ExportRow], folder: str) -> dict[str, str]:
    """Return where each video is copied to: its digest -> `<folder>/<source>/<name>`.

    The source is the folder that contains the video. Of different videos with the same name and
    source, the later ones have a part of the digest in their names.
    """
    places = dict[str, str]()
    taken = set[str]()  # in lower case, because some file systems do not distinguish cases
    for row in rows:
        if row.clip.digest in places:
            continue
        path = Path(row.clip.source).absolute()
        source, name = _UNUSABLE.sub("_", path.parent.name) or "videos", _UNUSABLE.sub("_", path.name)
        place = f"{folder}/{source}/{name}"
        if place.casefold() in taken:
            place = f"{folder}/{source}/{PurePosixPath(name).stem}-{row.clip.digest[:12]}{PurePosixPath(name).suffix}"
        taken.add(place.casefold())
        places[row.clip.digest] = place
    return places


# Files


def _file(format: Format, split: str) -> str:
    """Return the path of a split's file in the folder."""
    names = {"records": f"{split}.jsonl", "videoespresso": f"{split}.json"}
    return names.get(format, f"data/{split}-00000-of-00001.parquet")


def _claim(out: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Record which files will be written to a folder; return those that earlier exports wrote.

    Raises DataError if the folder has content that no export wrote.
    """
    manifest, earlier = out / MANIFEST, tuple[str, ...]()
    if manifest.is_file():
        try:
            earlier = Manifest.model_validate_json(manifest.read_bytes()).files
        except ValueError:
            raise DataError(f"{manifest}: is not the list of files of an export. Give another --out.") from None
        if any(PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts for file in earlier):
            raise DataError(f"{manifest}: lists files outside its folder. Give another --out.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and was not written by an export. Give a new or empty folder as --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(manifest, Manifest(files=tuple(dict.fromkeys((*earlier, *files)))).model_dump_json(indent=1) + "\n")
    return earlier


def _copy_videos(sources: dict[str, Path], places: dict[str, str], out: Path) -> None:
    """Copy videos to their places. Raises DataError if another file is there."""
    for digest, place in places.items():
        source, target = sources[digest], out / place
        if target.exists():
            if not target.is_file() or not filecmp.cmp(source, target):
                raise DataError(f"{target}: is another file than {source}. Remove it or give another --out.")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{digest[:32]}.partial")
        try:
            shutil.copy2(source, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _remove(out: Path, files: set[str]) -> None:
    """Remove files of an earlier export, and the folders that are empty then."""
    for file in sorted(files):
        (out / file).unlink(missing_ok=True)
        for folder in list(PurePosixPath(file).parents)[:-1]:
            with suppress(OSError):
                (out / folder).rmdir()


def _write(path: Path, rows: Sequence[ExportRow], places: dict[str, str], format: Format) -> None:
    """Write the questions of a split."""
    path.parent.mkdir(exist_ok=True)
    if format == "records":
        records.write(path, [row.question for row in rows])
    elif format == "videoespresso":
        layout = train_row if path.stem == "train" else test_row
        content = [layout(row, places[row.clip.digest]) for row in rows]
        write_atomic(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    else:
        write_atomic(path, parquet_file([flat_row(row, places[row.clip.digest]) for row in rows]))


# The card


def _card(data: Path, summary: ExportSummary, splits: dict[str, list[ExportRow]], rejected: Sequence[RejectedPair]) -> str:
    """Return the dataset card, `README.md`."""
    header_file = data.with_suffix(".annotate") / "annotate.json"
    header: LogHeader[AnnotateConfig] | None = read_header(header_file, AnnotateConfig) if header_file.is_file() else None
    rows = [row for own in splits.values() for row in own]
    tasks = {name: Counter(str(row.question.task or "none") for row in own) for name, own in splits.items()}
    closed = [row.question for row in rows if row.question.options]
    items: list[KeyItem] = [item for row in rows for item in row.truth.key_items]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("card.md.jinja").render(
        name=Path(summary.out).absolute().name,
        summary=summary,
        files={name: _file(summary.format, name) for name in splits},
        size=next((name for most, name in _SIZES if len(rows) < most), "n>1M"),
        tasks=[
            (task, *(tasks[name][task] for name in splits)) for task in sorted({task for each in tasks.values() for task in each})
        ],
        closed=len(closed),
        items=len(items),
        boxed=sum(item.box is not None for item in items),
        config=header.configuration if header else None,
        models={role: Path(name).name if Path(name).is_absolute() else name for role, name in header.configuration.models.items()}
        if header
        else {},
        version=header.environments[-1].get("videoespresso") if header else None,
        kept=len(rows),
        written=len(rows) + summary.dropped + len(rejected),
        rejected=Counter(pair.node for pair in rejected),
        bias=word_bias(closed) if len(closed) >= MIN_QUESTIONS else None,
    )
