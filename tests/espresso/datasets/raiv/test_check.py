"""The check of a file of pairs finds what is broken."""

import pytest

from espresso.datasets.raiv import build, check, read_pairs
from espresso.errors import DataError


@pytest.fixture(scope="module")
def pairs(world_situations):
    return list(build("im-im", world_situations, 200, 0, common=1.0).pairs)


@pytest.fixture
def write(tmp_path):
    def write(pairs):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(f"{pair.model_dump_json()}\n" for pair in pairs))
        return path

    return write


def test_a_built_file_keeps_every_guarantee(pairs, write):
    path = write(pairs)
    result = check(path)
    assert list(read_pairs(path)) == pairs
    assert result.problems == ()
    assert result.instances == {"train": 140, "val": 20, "test": 40}
    assert result.true_share == result.text_accuracy == dict.fromkeys(("train", "val", "test"), 0.5)
    assert result.statements == len({pair.statement for pair in pairs})
    assert result.visuals == len({visual for pair in pairs for visual in pair.visuals})


def test_a_statement_without_its_twin_is_found(pairs, write):
    labels = check(write([pair for pair in pairs if pair.split != "test" or pair.label]))
    assert any(problem.startswith("test: 20 statements are not true as often as false") for problem in labels.problems)
    assert labels.text_accuracy["test"] == 1.0


def test_a_visual_in_two_splits_is_found(pairs, write):
    train = next(pair for pair in pairs if pair.split == "train")
    leak = pairs[-1].model_copy(update={"visuals": (train.visuals[0], pairs[-1].visuals[1])})
    assert any("visuals are in two splits" in problem for problem in check(write([*pairs[:-1], leak])).problems)


def test_a_statement_used_twice_in_test_is_found(pairs, write):
    again = [pair.model_copy(update={"id": f"{pair.id}-again"}) for pair in pairs if pair.split == "test"]
    assert any("used for more than two pairs" in problem for problem in check(write([*pairs, *again])).problems)


def test_wrong_sizes_equal_visuals_ids_and_reasons_are_found(pairs, write):
    explained = next(pair for pair in pairs if pair.reasons)
    broken = [
        pairs[0],
        explained.model_copy(update={"id": "a", "label": True}),
        explained.model_copy(update={"id": "b", "reason": None}),
        explained.model_copy(update={"id": "c", "visuals": (explained.visuals[0], explained.visuals[0])}),
    ]
    problems = " ".join(check(write([*pairs, *broken])).problems)
    assert f"The id {pairs[0].id} is there twice." in problems
    assert "a: its reasons are not three different ones" in problems
    assert "b: it has reasons without the right one" in problems
    assert "c: both visuals are of the file" in problems
    assert "not 1 tenths" in " ".join(check(write(pairs[:140])).problems)


def test_a_line_that_is_no_pair_is_named(pairs, write, tmp_path):
    path = write(pairs[:2])
    path.write_text(path.read_text() + '{"id": "x"}\n')
    with pytest.raises(DataError, match=r"pairs\.jsonl, line 3: not a pair"):
        check(path)
    with pytest.raises(DataError, match="contains no pair"):
        check(write([]))
    with pytest.raises(DataError, match="cannot be read"):
        check(tmp_path / "absent.jsonl")
