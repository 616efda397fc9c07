import numpy as np
import pytest

from agents.grounding import crop, labels_by_text, read_boxes, write_boxes

MARKED = "<obj_start>{}<obj_end><box_start>[{}]<box_end>"


def test_boxes_are_read_back_as_they_were_written():
    text = write_boxes([("red car", (10, 20, 50, 100)), ("dog", (0, 0, 200, 100))], width=200, height=100)
    assert text == "<obj_start>red car<obj_end><box_start>[50, 200, 250, 1000]<box_end> " + MARKED.format(
        "dog", "0, 0, 1000, 1000"
    )
    found = read_boxes(text, ["dog", "red car", "cat"], width=200, height=100)
    assert [(each.label, each.box) for each in found] == [("dog", (0, 0, 200, 100)), ("red car", (10, 20, 50, 100))]
    assert write_boxes([], 1, 1) == "none"
    assert read_boxes("none", ["dog"], 200, 100) == []


@pytest.mark.parametrize(
    "text",
    [
        MARKED.format("cat", "0, 0, 500, 500"),  # nobody asked for it
        MARKED.format("dog", "500, 0, 500, 500"),  # empty
        MARKED.format("dog", "1200, 0, 1500, 500"),  # outside
        MARKED.format("dog", "0, 0, 500"),
        MARKED.format("dog", "left"),
        "<obj_start>dog<obj_end>",
    ],
)
def test_what_is_no_box_of_a_label_is_ignored(text):
    assert read_boxes(text, ["dog"], 100, 100) == []


def test_a_box_over_the_edge_is_clamped_and_the_first_of_a_label_counts():
    text = MARKED.format("Dog", "-100, 500.5, 1200, 900") + MARKED.format("dog", "0, 0, 1, 1")
    (found,) = read_boxes(text, ["dog"], 100, 100)
    assert (found.label, found.box) == ("dog", (0, 50.05, 100, 90))


def test_a_crop_has_a_margin_and_stays_inside_the_frame():
    pixels = np.arange(100 * 100 * 3).reshape(100, 100, 3)
    assert crop(pixels, (20, 30, 40, 70)).shape == (48, 24, 3)
    assert crop(pixels, (0, 0, 100, 100)).shape == (100, 100, 3)
    assert crop(pixels, (99.9, 99.9, 100, 100)).shape == (1, 1, 3)


def test_a_key_item_is_looked_for_where_it_is_named_or_everywhere():
    labels = ["red car", "dog"]
    assert labels_by_text(labels, ["a Red car", "a tree"]) == [("red car", "dog"), ("dog",)]
    assert labels_by_text([], ["a tree"]) == [()]
