"""The reasoning task: why a statement is false."""

from collections import Counter

import pytest

from espresso.datasets import DatasetFiles, get_dataset
from espresso.datasets.raiv import build
from espresso.datasets.raiv.reasons import reason_question


def test_questions_of_the_world_have_three_reasons_and_all_kinds():
    questions = get_dataset("raiv-reasons").load("val", 6, None).questions
    assert [each.task for each in questions] == ["Im-Im (T)", "Im-Vid (T)", "Vid-Vid (T)"] * 2
    for question in questions:
        assert len(question.options) == 3
        assert question.answer in question.options
        assert question.text.startswith("This statement about the two visuals is false: ")
        assert question.group is None


def test_only_false_statements_with_reasons_of_a_file_are_asked_about(world_situations, tmp_path):
    pairs = list(build("im-im", world_situations, 400, 0, common=1.0).pairs)
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{each.model_dump_json()}\n" for each in pairs))
    loaded = get_dataset("raiv-reasons").load("test", None, DatasetFiles(path))
    expected = [each for each in pairs if each.split == "test" and each.reasons]
    assert [each.id for each in loaded.questions] == [each.id for each in expected]
    assert not loaded.bad
    places = Counter(each.options.index(each.answer) for each in loaded.questions)
    assert set(places) == {0, 1, 2}
    with pytest.raises(ValueError, match="no three reasons"):
        reason_question(next(each for each in pairs if each.label))
