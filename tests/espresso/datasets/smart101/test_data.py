import csv

import pytest

from espresso.datasets.smart101 import data
from espresso.errors import DataError


def test_a_split_has_its_rows_with_skill_difficulty_and_image(puzzles, row):
    folder = puzzles({2: [row(n) for n in range(20)], 94: [row(n) for n in range(20)]}, {94: (3, "measure")})
    loaded = data.read(folder, "test")
    assert [each.row.id for each in loaded.rows] == ["2-0017", "94-0017", "2-0018", "94-0018", "2-0019", "94-0019"]
    one = loaded.rows[1]
    assert (one.skill, one.difficulty, one.image) == ("measure", 3, folder / "94" / "img" / "17.png")
    assert (loaded.bad, loaded.missing, loaded.notes) == ((), (), ())
    assert loaded.value(one.row) == (2,)


def test_a_limit_keeps_all_puzzles(puzzles, row):
    folder = puzzles({puzzle: [row(n) for n in range(20)] for puzzle in (2, 3, 4)})
    assert [each.row.puzzle for each in data.read(folder, "train", 3).rows] == [2, 3, 4]


def test_a_missing_image_is_named_and_its_row_left_out(puzzles, row):
    folder = puzzles({2: [row(n) for n in range(20)]})
    (folder / "2" / "img" / "18.png").unlink()
    loaded = data.read(folder, "test")
    assert [each.row.number for each in loaded.rows] == [17, 19]
    assert loaded.missing == ("2/img/18.png",)


def test_images_may_be_in_another_folder(puzzles, row):
    folder = puzzles({2: [row(n) for n in range(20)]})
    (folder / "2" / "img").rename(folder / "2" / "elsewhere")
    other = folder.parent / "images"
    (other / "2").mkdir(parents=True)
    (folder / "2" / "elsewhere").rename(other / "2" / "img")
    assert len(data.read(folder, "test").missing) == 3
    assert len(data.read(folder, "test", pictures=other).rows) == 3


def test_puzzles_that_the_split_needs_and_the_folder_lacks_are_noted(puzzles, row):
    folder = puzzles({2: [row(n) for n in range(20)], 7: [row(n) for n in range(20)], 64: [row(n) for n in range(20)]})
    (folder / "64").rename(folder / "other")
    loaded = data.read(folder, "ps-val")
    assert {each.row.puzzle for each in loaded.rows} == {7}
    assert loaded.notes == ("puzzles of the split ps-val without a folder: 1 (64)",)


def test_a_folder_that_the_index_lacks_is_noted(puzzles, row):
    folder = puzzles({2: [row(n) for n in range(20)]})
    (folder / "3").mkdir()
    assert data.read(folder, "test").notes == ("folders without a row in SMART_info_v2.csv are left out: 3",)


def test_an_answer_without_a_value_is_a_bad_row_only_where_values_decide(puzzles, row):
    rows = [row(n, answer="ABCDE"[n % 5]) for n in range(40)]
    rows[3] = ("What?", "3.png", ["one", "two", "three", "four", "five"], "A")
    folder = puzzles({2: rows})
    assert data.read(folder, "train").bad == ()
    loaded = data.read(folder, "as-train")
    assert [str(bad) for bad in loaded.bad] == ["2/puzzle_2.csv, row 4: the answer 'one' of puzzle 2 has no value"]
    hidden = {loaded.value(each.row) for each in data.read(folder, "as-test").rows}
    assert len(hidden) == 1
    assert not hidden & {loaded.value(each.row) for each in loaded.rows}


def test_the_names_of_icons_are_read_next_to_the_index(puzzles):
    names = ["cat", "dogs", "ants", "bees", "cows"]
    folder = puzzles({1: [("Who?", f"{n}.png", ["cat", "dog", "ant", "bee", "cow"], "B") for n in range(20)]}, {1: (2, "path")})
    (folder / "icon-classes.txt").write_text("\n".join(names) + "\n")
    loaded = data.read(folder, "test")
    assert loaded.value(loaded.rows[0].row) == (1,)


def test_nothing_to_ask_is_an_error_that_shows_the_first_bad_row(puzzles, row):
    folder = puzzles({2: [row(0)]})
    (folder / "2" / "puzzle_2.csv").write_text("")
    with pytest.raises(DataError, match=r"no question of the split test in it \(1 bad rows\).*the file is empty"):
        data.read(folder, "test")


@pytest.mark.parametrize(("split", "number"), [("test", 1700), ("val", 1600), ("train", 0), ("ps-test", 1700), ("fs-test", 1715)])
def test_generated_rows_are_those_of_the_split(split, number):
    loaded = data.generate(split, 6)
    assert len(loaded.rows) == 6
    assert min(each.row.number for each in loaded.rows) == number
    assert all(each.image.is_file() for each in loaded.rows)


def test_generated_answers_of_the_answer_split_are_not_trained_on():
    seen = {split: data.generate(split, 31 * 3).rows for split in ("as-train", "as-test")}
    options = {
        split: {(each.row.puzzle, each.row.options[each.row.answer]) for each in rows if each.row.puzzle not in (16, 18, 39, 100)}
        for split, rows in seen.items()
    }
    assert not options["as-train"] & options["as-test"]


def test_rows_with_the_images_of_the_official_index_are_read(real_index, tmp_path):
    """The questions of the index, as instances: text with quotes and commas, options of words, an answer "A "."""
    official = list(csv.DictReader(real_index.open(encoding="utf-8")))
    for each in official:
        folder = tmp_path / each["id"]
        (folder / "img").mkdir(parents=True)
        with (folder / f"puzzle_{'63' if each['id'] == '62' else each['id']}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Question", "image", *"ABCDE", "Answer"])
            for number in range(20):
                writer.writerow([each["Question"], f"{number}.png", *(each[letter] for letter in "ABCDE"), each["Answer option"]])
                (folder / "img" / f"{number}.png").write_bytes(b"")
    (tmp_path / "SMART_info_v2.csv").write_bytes(real_index.read_bytes())
    loaded = data.read(tmp_path, "test")
    assert loaded.bad == ()
    assert loaded.notes == ("62/puzzle_63.csv is read as puzzle_62.csv",)
    assert len(loaded.rows) == 101 * 3
    assert {each.row.puzzle for each in data.read(tmp_path, "ps-train").rows}.isdisjoint({16, 18, 35, 39, 63, 100, 7, 94})
