"""Write generated puzzles: to a folder in the published layout, or single images to the cache."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from espresso.cache import default_folder
from espresso.datasets.smart101.index import INDEX
from espresso.datasets.smart101.puzzles import PUZZLES, Instance, instance, rendered
from espresso.datasets.smart101.rows import LETTERS, PuzzleRow
from espresso.errors import DataError
from espresso.files import write_atomic

ABOUT = "generated.json"
"""Seed and version of the puzzles in a folder, so that a build resumes only its own."""

HEADER = ("id", "Question", "image", *LETTERS, "Answer")
INDEX_HEADER = ("id", "Question", "image", *LETTERS, "Answer option", "difficulty", "type", "level", "source", "note")


def build(
    folder: Path, ids: Sequence[int], count: int, seed: int = 0, on_image: Callable[[int, int], None] | None = None
) -> None:
    """Write puzzles as published: `<id>/puzzle_<id>.csv`, `<id>/img/*.png`, and the index.

    Images that an interrupted build wrote are kept.

    Args:
        folder: the folder to write; it may exist if a build of the same seed made it.
        ids: generated puzzles, of `PUZZLES`.
        count: instances of each.
        seed: see `instance`.
        on_image: called with (images done, all images).

    Raises:
        DataError: a puzzle is not generated, the folder has other files, or cannot be written.
    """
    if unknown := [str(puzzle) for puzzle in ids if puzzle not in PUZZLES]:
        raise DataError(f"no generated puzzle {', '.join(unknown)}; there are {', '.join(map(str, PUZZLES))}.")
    about = json.dumps({"seed": seed, "version": version()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check(folder, about)
        write_atomic(folder / ABOUT, about)
        done = 0
        for puzzle in ids:
            pictures = folder / str(puzzle) / "img"
            pictures.mkdir(parents=True, exist_ok=True)
            rows = list[tuple[str, ...]]()
            for number in range(count):
                one = instance(puzzle, number, seed)
                _draw(pictures / image_name(puzzle, number), one)
                rows.append(_cells(puzzle, number, one))
                done += 1
                if on_image:
                    on_image(done, count * len(ids))
            write_atomic(pictures.parent / f"puzzle_{puzzle}.csv", _table(HEADER, rows))
        write_atomic(folder / INDEX, _table(INDEX_HEADER, [_index_row(puzzle, seed) for puzzle in _written(folder)]))
    except OSError as error:
        raise DataError(f"{folder}: puzzles cannot be written ({error.strerror}). Give a folder that can be written.") from error


def cached_images(
    wanted: Sequence[tuple[int, int]], on_image: Callable[[int, int], None] | None = None
) -> dict[tuple[int, int], Path]:
    """Draw images of instances of seed 0 that are not in the cache folder yet.

    Args:
        wanted: puzzle and number of each instance.
        on_image: called with (images done, all images).

    Returns:
        Puzzle and number -> path.

    Raises:
        DataError: the images cannot be written.
    """
    folder = default_folder() / "smart101" / version()
    paths = {(puzzle, number): folder / str(puzzle) / "img" / image_name(puzzle, number) for puzzle, number in wanted}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            for done, ((puzzle, number), path) in enumerate(paths.items(), 1):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.is_file():
                    _draw(path, instance(puzzle, number))
                if on_image:
                    on_image(done, len(paths))
    except OSError as error:
        raise DataError(
            f"{folder}: images cannot be written ({error.strerror}). Set ESPRESSO_CACHE to a writable folder."
        ) from error
    return paths


def row_of(puzzle: int, number: int) -> PuzzleRow:
    """Return an instance of seed 0 as the row that is read of a built folder."""
    one = instance(puzzle, number)
    return PuzzleRow(puzzle, number, one.question, image_name(puzzle, number), one.options or LETTERS, one.answer)


def image_name(puzzle: int, number: int) -> str:
    """Return the name of the image of an instance."""
    return f"puzzle_{puzzle}_{number:04d}.png"


@cache
def version() -> str:
    """Return eight hex digits of the source code of the puzzles: other versions are not used."""
    sources = sorted((Path(__file__).parent / "puzzles").glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def _check(folder: Path, about: str) -> None:
    """Raise DataError if a folder has something else than a build of these settings."""
    if (folder / ABOUT).is_file():
        if (folder / ABOUT).read_text(encoding="utf-8") != about:
            raise DataError(f"{folder}: it has puzzles of another seed or version. Give a new folder.")
    elif any(folder.iterdir()):
        raise DataError(f"{folder}: it has other files. Give a new folder.")


def _draw(path: Path, one: Instance) -> None:
    if not path.is_file():
        content = io.BytesIO()
        rendered(one.picture).save(content, "PNG")
        write_atomic(path, content.getvalue())


def _cells(puzzle: int, number: int, one: Instance) -> tuple[str, ...]:
    return (str(number + 1), one.question, image_name(puzzle, number), *(one.options or [""] * 5), LETTERS[one.answer])


def _index_row(puzzle: int, seed: int) -> tuple[str, ...]:
    """Return the row of the index: its example is the first instance, as in the official one."""
    root, (_, *cells) = PUZZLES[puzzle], _cells(puzzle, 0, instance(puzzle, 0, seed))
    return (str(puzzle), *cells, str(root.difficulty), root.skill, "1", "espresso", "generated")


def _written(folder: Path) -> list[int]:
    return [puzzle for puzzle in PUZZLES if (folder / str(puzzle) / f"puzzle_{puzzle}.csv").is_file()]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()
