"""Edited images of the world."""

from collections import Counter

import numpy as np
import pytest

from espresso import media
from espresso.datasets.raiv import edited, files, world_edits
from espresso.datasets.raiv.media import name_of, render


@pytest.fixture(scope="module")
def edits():
    return world_edits.read({"train": 12, "test": 6}).edits


def test_an_image_has_two_different_edits_of_things_that_it_shows(edits):
    images = Counter(edit.before for edit in edits)
    assert set(images.values()) <= {1, 2}
    assert max(images.values()) == 2
    for edit in edits:
        before, after = (set(caption.split(", ")) for caption in (edit.caption, edit.edited_caption))
        assert len(before - after) == len(after - before) == 1
        assert (before - after).pop().split(" ", 1)[1] in edit.edit
        assert edit.after.span == edit.before.span


def test_statements_are_true_of_an_edit_and_false_of_the_other_edit_of_the_image(edits):
    pairs = list(edited.build_split(edits, "test", 1000, 0))
    assert {pair.split for pair in pairs} == {"test"}
    by_images = {(edit.before, edit.after): edit for edit in edits}
    for pair in pairs:
        assert (f"{by_images[pair.visuals].edit}" in pair.statement) is pair.label
    same = [one.visuals[0] == other.visuals[0] for one, other in zip(pairs[::2], pairs[1::2], strict=True)]
    assert np.mean(same) > 0.9
    labels = Counter((pair.statement, pair.label) for pair in pairs)
    assert all(labels[statement, True] == labels[statement, False] == 1 for statement, _ in labels)


def test_edited_images_are_files_that_differ_in_the_thing(edits):
    pair = next(edited.build_split(edits, "test", 2, 0))
    before, after = (render([name_of(visual)])[name_of(visual)] for visual in pair.visuals)
    one, other = (media.open(path).decode([0])[0].astype(int) for path in (before, after))
    assert 0 < (np.abs(one - other).sum(2) > 60).mean() < 0.15


def test_annotations_of_pairs_are_found_again(edits):
    pairs = list(edited.build_split(edits, "test", 20, 0))
    assert {edit.id for edit in files.load_edits(pairs, None).values()} >= {
        edit.id for edit in edits if (edit.before, edit.after) in {pair.visuals for pair in pairs}
    }
