"""The numbers are those of the authors' data loader, worked out by hand."""

import numpy as np
import pytest

from espresso.datasets.smart101.rows import LETTERS, PuzzleFile, PuzzleRow
from espresso.datasets.smart101.splits import TEST, VAL, left_out, numbers_of, puzzles_of, rows_of
from espresso.datasets.smart101.values import SEQUENCES

ALL = list(range(1, 102))


def file_of(values, puzzle=2, size=None):
    rows = tuple(PuzzleRow(puzzle, number, "?", "x.png", LETTERS, value) for number, value in enumerate(values))
    return PuzzleFile(rows, size or len(rows))


def numbers(kind, part, file, puzzle=2):
    return [row.number for row in rows_of(kind, part, puzzle, file, lambda row: (row.answer,))]


def test_instances_are_split_80_5_15_in_file_order():
    ranges = [numbers_of("is", part, 2, 2000) for part in ("train", "val", "test")]
    assert ranges == [range(1600), range(1600, 1700), range(1700, 2000)]


def test_only_the_first_2000_rows_are_used_and_a_bad_row_does_not_shift_the_others():
    assert numbers_of("is", "test", 2, 2500) == range(1700, 2000)
    file = file_of([0] * 2000)
    gaps = PuzzleFile(tuple(row for row in file.rows if row.number not in (3, 1700)), 2000)
    assert numbers("is", "test", gaps) == list(range(1701, 2000))


def test_a_size_that_does_not_divide_loses_rows_between_parts_as_in_the_authors_code():
    ranges = [numbers_of("is", part, 2, 33) for part in ("train", "val", "test")]
    assert ranges == [range(26), range(27, 28), range(29, 33)]


def test_the_puzzle_split_has_3_and_21_puzzles_and_trains_on_71():
    assert puzzles_of("ps", "val", ALL) == [7, 43, 64] == list(VAL)
    assert sorted(puzzles_of("ps", "test", ALL)) == [
        61, 62, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 94, 95, 96, 97, 98, 99, 101,
    ]  # fmt: skip
    train = puzzles_of("ps", "train", ALL)
    assert len(train) == 101 - 3 - 21 - 6
    assert not set(train) & {*VAL, *TEST, *SEQUENCES}
    assert numbers_of("ps", "test", 94, 2000) == range(1700, 2000)


def test_few_shot_trains_on_80_of_the_first_100_rows_of_val_and_test_puzzles():
    assert puzzles_of("fs", "train", ALL) == ALL
    assert puzzles_of("fs", "test", ALL) == list(TEST)
    assert numbers_of("fs", "train", 94, 2000) == range(80)
    assert numbers_of("fs", "train", 2, 2000) == range(1600)
    assert numbers_of("fs", "val", 7, 2000) == range(100 + 1520, 100 + 1615)
    assert numbers_of("fs", "test", 94, 2000) == range(100 + 1615, 2000)


def test_few_shot_training_and_test_share_no_row():
    assert not set(numbers_of("fs", "train", 94, 2000)) & set(numbers_of("fs", "test", 94, 2000))


def test_the_answer_split_leaves_one_answer_out_of_training():
    values = [1] * 40 + [2] * 30 + [3] * 20 + [4] * 10
    file = file_of(np.random.default_rng(0).permutation(values))
    hidden = {number for number, row in enumerate(file.rows) if row.answer == 3}
    assert left_out(values) == 3  # 2 and 3 to 4 have 30 % each, the median
    train, val, test = (numbers("as", part, file) for part in ("train", "val", "test"))
    assert set(test) == hidden
    assert (len(train), len(val)) == (76, 4)  # 95 % of 80 rows, and the rest
    assert not hidden & {*train, *val}
    assert max(train) < min(val)


def by_the_authors_rule(values):
    """The steps of `split_data` for "exclude", one by one."""
    classes = np.arange(max(values) + 1)
    share = np.histogram(values, classes)[0].astype(float)
    share = share / share.sum()
    valid = np.where(share > 0.01)
    classes, share = classes[:-1][valid], share[valid]
    return classes[share <= np.median(share)][-1]


@pytest.mark.parametrize("seed", range(20))
def test_the_answer_left_out_is_that_of_the_authors_rule(seed):
    rng = np.random.default_rng(seed)
    values = rng.choice(rng.integers(0, 30, 8), 500, p=rng.dirichlet(np.ones(8))).tolist()
    assert left_out(values) == by_the_authors_rule(values)


def test_sequences_and_operators_are_split_by_rows_in_the_answer_split():
    for puzzle in (16, 58):
        assert numbers("as", "test", file_of([1] * 100, puzzle), puzzle) == list(range(85, 100))


@pytest.mark.parametrize("values", [[], [0, 0, 0]])
def test_a_puzzle_with_one_answer_has_no_test_in_the_answer_split(values):
    assert left_out(values) is None
    assert numbers("as", "test", file_of(values)) == []
