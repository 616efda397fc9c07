import pytest

from espresso.datasets.base import BadRow, FileDataset
from espresso.datasets.rows import VideoFolder, split_letters


def test_rows_are_counted_from_1_in_every_format(tmp_path, files):
    header, row = "id,visuals\n", "1,a.mp4\n"
    broken = FileDataset("broken", lambda row: row["absent"])
    for name, text in {"x.csv": header + row, "x.jsonl": "{}\n", "x.json": "[{}]", "y.json": '{"key": {}}'}.items():
        bad = []
        assert list(broken.read_questions(files(text, name).data, bad)) == []
        assert bad == [BadRow(f"{name}, row 1", "no field 'absent'")]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.mp4", "x/a.mp4"),
        ("a", "x/a.mp4"),
        ("a.avi", "x/a.mp4"),
        ("x/b.mp4", "x/b.mp4"),
        ("y/b.mp4", "deep/y/b.mp4"),
        ("all/x/a.mp4", "x/a.mp4"),
        ("y/a.mp4", None),
        ("y/d.mp4", "d.mp4"),
        ("b.mp4", None),
        ("c.mp4", None),
    ],
)
def test_a_video_is_found_by_as_much_of_its_path_as_the_row_has(tmp_path, name, path):
    for each in ("x/a.mp4", "x/b.mp4", "deep/y/b.mp4", "d.mp4"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).touch()
    assert VideoFolder(tmp_path).find(name) == (path and tmp_path / path)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["(A): red", "(B): blue"], ["red", "blue"]),
        (["A. red", "B) blue"], ["red", "blue"]),
        (["A red hat", "B side"], ["A red hat", "B side"]),
        (["U.S. flag", "B. blue"], ["U.S. flag", "B. blue"]),
    ],
)
def test_only_letters_of_options_are_removed(options, texts):
    assert split_letters(options) == dict(zip("AB", texts, strict=True))
