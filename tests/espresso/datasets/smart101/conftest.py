"""A folder of puzzles in the published layout, and the official index."""

import csv
from pathlib import Path

import pytest
from PIL import Image

REAL = Path(__file__).parents[5] / "shared" / "data" / "smart101" / "SMART_info_v2.csv"
HEADER = ["id", "Question", "image", "A", "B", "C", "D", "E", "Answer"]


@pytest.fixture
def real_index():
    if not REAL.is_file():
        pytest.skip("the official index is not next to the project")
    return REAL


@pytest.fixture
def puzzles(tmp_path):
    """Write rows of puzzles, (question, image, five options, answer) each, with their images and an index."""

    def write(rows_of, types=(), name="data"):
        folder = tmp_path / name
        folder.mkdir()
        for puzzle, rows in rows_of.items():
            (folder / str(puzzle) / "img").mkdir(parents=True)
            with (folder / str(puzzle) / f"puzzle_{puzzle}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([HEADER, *([n + 1, q, i, *(o or [""] * 5), a] for n, (q, i, o, a) in enumerate(rows))])
            for _, image, _, _ in rows:
                Image.new("RGB", (8, 8)).save(folder / str(puzzle) / "img" / image)
        index = [["id", "Question", "image", *"ABCDE", "Answer option", "difficulty", "type", "level", "source", "note"]]
        kinds = dict(types)
        index += [[p, "?", "x.png", *"12345", "A ", *kinds.get(p, (1, "counting")), 1, "test", "a, b"] for p in rows_of]
        with (folder / "SMART_info_v2.csv").open("w", newline="") as file:
            csv.writer(file).writerows(index)
        return folder

    return write


@pytest.fixture
def row():
    """Return the function that makes a row with the options 1 to 5."""
    return lambda n, answer="B", options="12345", question=None: (question or f"Question {n}?", f"{n}.png", list(options), answer)
