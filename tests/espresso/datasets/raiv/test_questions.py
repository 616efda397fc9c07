"""RAIV as questions: from the world, and from a file of pairs."""

from collections import Counter

import pytest

from espresso import media
from espresso.datasets import DatasetFiles, get_dataset
from espresso.datasets.raiv import RaivPair, VisualReference, build
from espresso.datasets.raiv.questions import in_turn, statement_question, world_pairs
from espresso.errors import DataError


@pytest.fixture(scope="module")
def pairs(world_situations):
    return list(build("im-vid", world_situations, 60, 0, common=1.0).pairs)


def pair(name, split="test", kind="im-vid", first="a.jpg", label=True, **more):
    visuals = (VisualReference(path=first, kind="image"), VisualReference(path="b.mp4", kind="video", span=(0, 2)))
    values = {"statement": "The image shows a dog.", "template": "object-both", "noun": "dog", **more}
    return RaivPair(id=name, split=split, kind=kind, visuals=visuals, label=label, **values)


@pytest.fixture
def write(tmp_path):
    def write(pairs):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(f"{each.model_dump_json()}\n" for each in pairs))
        return path

    return write


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_small_limit_has_all_kinds_and_both_labels_and_opens(split):
    done = []
    loaded = get_dataset("raiv").load(split, 6, None, lambda *numbers: done.append(numbers))
    questions = loaded.questions
    assert [each.task for each in questions] == ["Im-Im (T)", "Im-Vid (T)", "Vid-Vid (T)"] * 2
    assert [each.answer for each in questions] == ["True", "False", "True", "False", "True", "False"]
    assert all(each.options == ("True", "False") and each.categories for each in questions)
    assert len({each.group for each in questions}) == 3  # each statement once true and once false
    kinds = [tuple(media.open(visual).visual.kind for visual in each.visuals) for each in questions[:3]]
    assert kinds == [("image", "image"), ("image", "video"), ("video", "video")]
    assert done[-1][0] == done[-1][1] == len({visual.split("#")[0] for each in questions for visual in each.visuals})
    assert get_dataset("raiv").load(split, 3, None).questions == questions[:3]


def test_pairs_of_the_world_are_those_that_the_command_builds(world_situations):
    built = [each for each in build("im-vid", world_situations, 3000, 0, common=1.0).pairs if each.split == "test"]
    assert list(world_pairs("im-vid", "test")) == built


def test_questions_of_a_split_are_half_true_and_kinds_take_turns():
    kinds = [list(world_pairs(kind, "val")) for kind in ("im-im", "im-vid", "vid-vid")]
    ordered = list(in_turn(kinds))
    assert sorted(each.id for each in ordered) == sorted(each.id for kind in kinds for each in kind)
    assert Counter((each.kind, each.label) for each in ordered[:60]) == dict.fromkeys(
        [(kind, label) for kind in ("im-im", "im-vid", "vid-vid") for label in (True, False)], 10
    )


def test_pairs_of_unequal_number_are_all_there():
    one, two = [pair("1"), pair("2", label=False), pair("3")], [pair("4")]
    assert sorted(each.id for each in in_turn([one, two])) == ["1", "2", "3", "4"]


def test_a_file_gives_the_questions_of_the_split(write, pairs):
    loaded = get_dataset("raiv").load("val", None, DatasetFiles(write(pairs)))
    assert [each.id for each in loaded.questions] == [each.id for each in pairs if each.split == "val"]
    assert not loaded.bad
    assert all(media.open(visual).visual.frame_count for each in loaded.questions[:2] for visual in each.visuals)


def test_media_are_found_in_the_folder_and_missing_ones_are_reported(write, tmp_path):
    (tmp_path / "media").mkdir()
    for name in ("a.jpg", "b.mp4"):
        (tmp_path / "media" / name).touch()
    path = write([pair("1"), pair("2", label=False), pair("3", first="gone.jpg"), pair("4", split="train")])
    loaded = get_dataset("raiv").load("test", None, DatasetFiles(path, tmp_path / "media"))
    assert [each.id for each in loaded.questions] == ["1", "2"]
    assert loaded.questions[0].visuals == (str(tmp_path / "media" / "a.jpg"), f"{tmp_path / 'media' / 'b.mp4'}#t=0,2")
    assert loaded.missing == ("gone.jpg",)


def test_a_row_that_is_no_pair_is_a_bad_row(write, pairs):
    path = write(pairs[-2:])
    path.write_text(path.read_text() + '{"id": "x", "split": "test"}\n')
    loaded = get_dataset("raiv").load("test", None, DatasetFiles(path))
    assert len(loaded.questions) == 2
    assert loaded.bad[0].where == "pairs.jsonl, row 3"


def test_a_file_without_the_split_is_refused(write, pairs):
    with pytest.raises(DataError, match="no question in it"):
        get_dataset("raiv").load("val", None, DatasetFiles(write(pairs[-2:])))


def test_statements_are_grouped_within_their_split_and_kind():
    questions = [
        statement_question(each) for each in (pair("1"), pair("2", label=False), pair("3", kind="im-im"), pair("4", "val"))
    ]
    groups = [each.group for each in questions]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    assert questions[0].categories == ("object existence",)


@pytest.mark.parametrize(
    ("more", "name"),
    [({}, "Im-Vid (T)"), ({"writer": "vicuna", "template": "written"}, "Im-Vid (G)"),
     ({"template": "edit", "kind": "im-im"}, "IP2P (T)"), ({"template": "edit", "writer": "vicuna"}, "IP2P (G)")],
)  # fmt: skip
def test_accuracy_is_reported_by_the_datasets_of_the_paper(more, name):
    question = statement_question(pair("1", **more))
    assert question.task == name
    assert bool(question.categories) == ("template" not in more)


def test_pairs_are_training_examples_with_evenly_spaced_frames(write, pairs):
    loaded = get_dataset("raiv").examples(DatasetFiles(write(pairs)), limit=3, uniform=4, evidence=False)
    assert [each.id for each in loaded.examples] == [each.id for each in pairs if each.split == "train"][:3]
    assert all(each.answer in each.options and len(each.frames) == 3 for each in loaded.examples)  # an image has one frame
    assert loaded.examples[0].frames[1].pixels(56).shape == (56, 56, 3)
