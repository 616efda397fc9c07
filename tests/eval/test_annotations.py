"""Constructed questions are scored by the record next to each clip."""

import json
from pathlib import Path

import pytest

from espresso import world
from espresso.datasets import records
from espresso.errors import DataError
from espresso.schema import Frame, KeyItem, Span
from eval.annotations import iou, score_annotations, score_boxes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The world's own questions about sixteen clips: what perfect construction gives."""
    folder = tmp_path_factory.mktemp("world")
    questions = world.make("val", 28, folder, size=112)
    with_items = []
    for question in questions:
        record = json.loads(Path(question.visuals[0]).with_suffix(".json").read_text())
        time = record["frames"][4]["time"]
        label, box = next(iter(record["frames"][4]["boxes"].items()), ("red star", [0, 0, 1, 1]))
        item = KeyItem(label=label, frame=Frame(index=12, time=time), box=tuple(box))
        with_items.append(question.model_copy(update={"truth": question.truth.model_copy(update={"key_items": (item,)})}))
    return with_items


def write(tmp_path, questions, rejected=()):
    records.write(tmp_path / "data.jsonl", questions)
    (tmp_path / "data.rejected.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rejected))
    return tmp_path / "data.jsonl"


def test_perfect_questions_have_perfect_scores(made, tmp_path):
    scores = score_annotations(write(tmp_path, made))
    assert (scores.questions, scores.true.value, scores.true.n) == (28, 1.0, 28)
    assert (scores.core_precision.value, scores.core_recall.value, scores.time_error) == (1.0, 1.0, 0.0)
    assert scores.false_options.value == 1.0
    assert scores.box_iou.value > 0.9  # some clips show nothing in that frame
    assert len(scores.tasks) == 14


def test_wrong_answers_frames_and_boxes_are_found(made, tmp_path):
    def spoil(question):
        wrong = next(option for option in question.options if option != question.answer)
        spans = tuple(Span(start=0.0, end=0.1) for _ in question.truth.spans)
        items = tuple(item.model_copy(update={"box": (0.0, 0.0, 5.0, 5.0)}) for item in question.truth.key_items)
        truth = question.truth.model_copy(update={"spans": spans, "key_items": items})
        return question.model_copy(update={"answer": wrong, "truth": truth})

    half = [spoil(question) if number % 2 else question for number, question in enumerate(made)]
    scores = score_annotations(write(tmp_path, half))
    assert scores.true.value == 0.5
    assert scores.true.low < 0.5 < scores.true.high
    assert scores.core_precision.value == 1.0  # of questions with a true answer
    assert scores.time_error > 0
    assert scores.false_options.value == pytest.approx(1 - 14 / 84)  # the true answer is now among the wrong options
    assert scores.box_iou.value < 0.6
    shifted = [question if question.answer == same.answer else same for question, same in zip(half, made, strict=True)]
    assert score_annotations(write(tmp_path, shifted)).true.value == 1.0


def test_rejected_pairs_are_scored_by_node(made, tmp_path):
    rows = [
        {
            "id": str(n),
            "visuals": [q.visuals[0]],
            "task": q.task,
            "text": q.text,
            "answer": q.answer,
            "node": node,
            "reason": "no",
        }
        for n, (q, node) in enumerate(zip(made[:3], ("filter", "filter", "check"), strict=True))
    ]
    rows[0]["answer"] = "nonsense"
    scores = score_annotations(write(tmp_path, made, rows))
    assert {node: (share.value, share.n) for node, share in scores.rejected.items()} == {"check": (1.0, 1), "filter": (0.5, 2)}


def test_other_clips_have_no_record(made, tmp_path):
    question = made[0].model_copy(update={"visuals": (str(tmp_path / "clip.mp4"),)})
    with pytest.raises(DataError, match=r"clip\.mp4: no record of what it shows next to it"):
        score_annotations(write(tmp_path, [question]))
    with pytest.raises(DataError, match="the file is empty"):
        score_annotations(write(tmp_path, []))


def test_intersection_over_union():
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (20, 20, 30, 30)) == 0.0


def test_boxes_are_right_from_half_overlap_and_found_where_the_thing_is_shown(made):
    items = [(item, question.visuals[0]) for question in made for item in question.truth.key_items]
    perfect = score_boxes(items)
    assert perfect.kept.value == perfect.found.value == 1.0
    assert perfect.right.n == len(items)

    unseen = [(item.model_copy(update={"label": "red unicorn"}), clip) for item, clip in items]
    lost = [(item.model_copy(update={"box": None}), clip) for item, clip in items]
    mixed = score_boxes([*items, *unseen, *lost])
    assert mixed.kept.value == pytest.approx(2 / 3)
    assert mixed.right.value == pytest.approx(perfect.right.value / 2)
    assert mixed.found.value == 0.5
    assert score_boxes([]).iou is None
