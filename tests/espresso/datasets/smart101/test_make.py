import json

import pytest
from PIL import Image

from espresso.datasets.smart101 import data, make
from espresso.datasets.smart101.puzzles import PUZZLES, instance
from espresso.errors import DataError


def test_a_built_folder_is_read_as_the_release_is(tmp_path):
    make.build(tmp_path / "out", list(PUZZLES), 20)
    for split, expected in (("test", 3 * len(PUZZLES)), ("ps-val", 3), ("train", 16 * len(PUZZLES))):
        loaded = data.read(tmp_path / "out", split)
        assert (loaded.bad, loaded.missing) == ((), ())
        assert len(loaded.rows) == expected
    for each in data.read(tmp_path / "out", "test").rows:
        one = instance(each.row.puzzle, each.row.number)
        assert each.row == make.row_of(each.row.puzzle, each.row.number)
        assert (each.row.question, each.row.answer) == (one.question, one.answer)
        assert Image.open(each.image).size == (224, 224)


def test_a_build_resumes_and_repairs_what_is_missing(tmp_path):
    make.build(tmp_path, [2, 7], 6)
    kept, lost = tmp_path / "2" / "img" / "puzzle_2_0001.png", tmp_path / "7" / "img" / "puzzle_7_0003.png"
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    calls = []
    make.build(tmp_path, [2, 7], 6, on_image=lambda done, total: calls.append((done, total)))
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content
    assert calls[-1] == (12, 12)


def test_further_puzzles_join_those_of_an_earlier_build(tmp_path):
    make.build(tmp_path, [2], 20)
    make.build(tmp_path, [7], 20)
    assert {each.row.puzzle for each in data.read(tmp_path, "test").rows} == {2, 7}


def test_another_seed_does_not_mix_with_an_earlier_build(tmp_path):
    make.build(tmp_path, [2], 2)
    with pytest.raises(DataError, match=r"another seed or version\. Give a new folder"):
        make.build(tmp_path, [2], 2, seed=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="it has other files"):
        make.build(tmp_path, [2], 2)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_puzzle_that_is_not_generated_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no generated puzzle 1; there are 2, 7"):
        make.build(tmp_path / "out", [1, 2], 2)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="puzzles cannot be written"):
        make.build(tmp_path / "file" / "out", [2], 2)


def test_seeds_give_different_folders(tmp_path):
    make.build(tmp_path / "a", [2], 2)
    make.build(tmp_path / "b", [2], 2, seed=1)
    name = "2/img/puzzle_2_0000.png"
    assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "b" / make.ABOUT).read_text())["seed"] == 1


def test_cached_images_are_those_of_a_build(tmp_path):
    make.build(tmp_path, [2], 3)
    path = make.cached_images([(2, 2)])[2, 2]
    assert path.read_bytes() == (tmp_path / "2" / "img" / "puzzle_2_0002.png").read_bytes()
