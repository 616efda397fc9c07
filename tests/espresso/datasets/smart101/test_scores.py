import pytest

from espresso.datasets.smart101.scores import chosen, solved, wosa


def test_the_nearest_option_is_chosen_and_may_be_right_where_the_value_is_not():
    options = [(2,), (3,), (4,), (5,), (9,)]
    assert chosen(2, (8,), options) == 4
    assert chosen(2, (3,), options) == 1
    assert not solved((8,), (9,))
    assert solved((9,), (9,))


def test_of_two_options_as_near_the_first_is_chosen():
    assert chosen(2, (3,), [(4,), (2,), (9,), (11,), (12,)]) == 0


def test_of_a_sequence_only_the_same_one_is_chosen():
    options = [(1, 2), (2, 3), (3, 4), (3, 5), (4, 5)]
    assert chosen(16, (3, 5), options) == 3
    assert chosen(16, (3, 6), options) is None


def test_of_some_puzzles_the_prediction_is_the_index_of_the_option():
    options = [(17,), (11,), (10,), (13,), (14,)]
    assert chosen(32, (3,), options) == 3
    assert chosen(32, (17,), options) is None


def test_wosa_weighs_puzzles_by_difficulty_whatever_their_number_of_questions():
    assert wosa([1, 1, 1, 2], [True, True, False, False], {1: 1, 2: 3}) == pytest.approx((2 / 3) / 4)
    assert wosa([1, 2], [True, True], {1: 1, 2: 3}) == 1
