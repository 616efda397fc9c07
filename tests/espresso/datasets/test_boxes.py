import pytest

from espresso.datasets.boxes import MarkedEvidence, grounded, without_marks


def item(*numbers, label="dog"):
    return f"<obj_start>{label}<obj_end><box_start>[{list(numbers)}]<box_end>"


CORNERS, DEGENERATE = item(16, 12, 32, 24), item(10, 10, 10, 20)
CENTRES = item(500, 500, 200, 100)


@pytest.fixture
def path(video):
    """A frame of 64 x 48 pixels."""
    return str(video)


@pytest.mark.parametrize("box", [(0, 0, 65, 10), (10, 10, 10, 20), (-1, 0, 5, 5)])
def test_a_box_outside_its_frame_is_refused(box):
    with pytest.raises(ValueError, match="not inside its frame of 64x48"):
        grounded("dog", box, 64, 48)


def test_a_degenerate_box_does_not_change_how_the_others_are_read(path):
    marked = MarkedEvidence([("CUVA", CORNERS), ("CUVA", CORNERS), ("CUVA", DEGENERATE)])
    assert marked.plain(CORNERS, "CUVA", path) == "dog [250, 250, 500, 500]"
    assert marked.plain(DEGENERATE, "CUVA", path) == "dog"
    assert marked.notes == ("CUVA: 3 boxes read as x1, y1, x2, y2 in pixels; dropped: 1",)


def test_each_source_has_its_own_convention(path):
    looks_like_corners = item(100, 100, 200, 200)
    marked = MarkedEvidence([("CUVA", CORNERS), ("YouCook", CENTRES + looks_like_corners), ("YouCook", CENTRES)])
    assert marked.plain(CORNERS, "CUVA", path) == "dog [250, 250, 500, 500]"
    assert marked.plain(CENTRES, "YouCook", path) == "dog [400, 450, 600, 550]"
    assert marked.plain(looks_like_corners, "YouCook", path) == "dog [0, 0, 200, 200]"
    assert marked.notes == (
        "CUVA: 1 boxes read as x1, y1, x2, y2 in pixels",
        "YouCook: 3 boxes read as centre x, centre y, width, height in thousandths",
    )


@pytest.mark.parametrize(
    ("box", "text", "what"),
    [
        ((32, 24, 80, 60), "dog [500, 500, 1000, 1000]", "clamped to the frame"),
        ((-5, 0, 32, 24), "dog [0, 0, 500, 500]", "clamped to the frame"),
        ((70, 0, 80, 24), "dog", "dropped"),
        ((0, 0, 9), "dog", "dropped"),
        ((), "dog", None),
    ],
)
def test_a_bad_box_is_clamped_or_dropped(path, box, text, what):
    evidence = f"A {item(*box)} runs."
    marked = MarkedEvidence([("CUVA", evidence)] + 3 * [("CUVA", CORNERS)])
    assert marked.plain(evidence, "CUVA", path) == f"A {text} runs."
    assert what is None or marked.notes[0].endswith(f"; {what}: 1")


def test_only_bad_boxes_of_an_item_are_dropped(path):
    evidence = "<obj_start>dog<obj_end><box_start>[[16, 12, 32, 24], [9, 9, 9, 9]]<box_end>"
    assert MarkedEvidence([("CUVA", evidence)]).plain(evidence, "CUVA", path) == "dog [250, 250, 500, 500]"


def test_marks_are_removed():
    assert without_marks(f"A {CORNERS} and a <obj_start>car<obj_end>.") == "A dog and a car."
