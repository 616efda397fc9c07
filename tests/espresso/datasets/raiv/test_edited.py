"""Pairs of edited images."""

import json
from collections import Counter, defaultdict

import pytest

from espresso.datasets.raiv import edited
from espresso.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder of 60 prompts in the layout of InstructPix2Pix, with two images each."""
    seeds = []
    for number in range(60):
        name = f"{number:07d}"
        (tmp_path / name).mkdir()
        prompt = {
            "edit": f"make it season {number}",
            "input": f"a field {number}",
            "output": f"a field {number} in season {number}",
        }
        (tmp_path / name / "prompt.json").write_text(json.dumps(prompt))
        for seed in ("42", "7"):
            for after in (0, 1):
                (tmp_path / name / f"{seed}_{after}.jpg").touch()
        seeds.append([name, ["42", "7"]])
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    return tmp_path


def test_images_and_captions_are_read(folder):
    loaded = edited.read(folder)
    assert len(loaded.edits) == 120
    first = loaded.edits[0]
    assert (first.before.path, first.after.path) == ("0000000/42_0.jpg", "0000000/42_1.jpg")
    assert (first.caption, first.edit, first.edited_caption) == ("a field 0", "make it season 0", "a field 0 in season 0")


def test_other_names_of_the_captions_are_accepted(folder):
    prompt = {"edit": "make it night", "caption": "a lake", "edited_caption": "a lake at night"}
    (folder / "0000000" / "prompt.json").write_text(json.dumps(prompt))
    assert edited.read(folder).edits[0].edited_caption == "a lake at night"


def test_faults_and_missing_images_are_counted(folder):
    (folder / "0000001" / "prompt.json").write_text('{"input": "a field"}')
    (folder / "0000002" / "prompt.json").unlink()
    (folder / "0000003" / "7_1.jpg").unlink()
    loaded = edited.read(folder)
    assert [each.where for each in loaded.bad] == ["seeds.json, row 2", "seeds.json, row 3"]
    assert loaded.missing == ("0000003/7_1.jpg",)
    assert len(loaded.edits) == 115


def test_each_edit_is_true_of_its_images_and_false_of_others(folder):
    edits = edited.read(folder).edits
    pairs = list(edited.build(edits, 60, 0).pairs)
    by_image = {edit.before: edit for edit in edits}
    for pair in pairs:
        edit = by_image[pair.visuals[0]]
        assert pair.visuals[1] == edit.after
        assert (edit.edit in pair.statement.rstrip('."').split(": ")[-1].split('"')) is pair.label
    labels = defaultdict(Counter)
    for pair in pairs:
        labels[pair.split, pair.statement][pair.label] += 1
    assert all(counts[True] == counts[False] for counts in labels.values())


def test_images_of_a_prompt_are_in_one_split(folder):
    splits = defaultdict(set)
    for pair in edited.build(edited.read(folder).edits, 60, 0).pairs:
        splits[pair.visuals[0].path.partition("/")[0]].add(pair.split)
    assert all(len(each) == 1 for each in splits.values())


def test_a_folder_without_seeds_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"seeds\.json: cannot be read"):
        edited.read(tmp_path)
