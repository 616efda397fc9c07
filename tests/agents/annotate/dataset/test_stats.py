"""Statistics of datasets about clips of the world, and the picture of them."""

import json

import pytest
from PIL import Image

from agents.annotate.dataset.output import rejected_file
from agents.annotate.dataset.stats import Statistics, statistics, write_statistics
from agents.annotate.records import RejectedPair
from espresso import world
from espresso.datasets import records
from espresso.errors import DataError
from espresso.schema import Frame, KeyItem, Question, Span, Task, Truth

REASONS = [
    ("filter", "not objective: it asks for an opinion"),
    ("filter", "not objective: it depends"),
    ("filter", "not consistent"),
    ("check", "the distractor 'to the left' may be correct"),
    ("check", 'the distractor "it\'s red" may be correct'),
    ("guess", "the answer is known without the video (probability 0.71)"),
    ("guess", "the answer is known without the video (probability 0.90)"),
]


def question(number, **changes):
    frame = Frame(index=10, time=1.0)
    values = {
        "id": str(number),
        "visuals": (f"cooking/{number}.mp4",),
        "text": "Where does it go now?",
        "options": ("to the right", "left", "up and down", "nowhere"),
        "task": Task.EVENT,
        "answer": "to the right",
        "truth": Truth(
            spans=(Span(start=0, end=2), Span(start=3, end=4), Span(start=8, end=9)),
            facts=("a", "b", "c"),
            evidence="It goes.",
            key_items=(
                KeyItem(label="dog", frame=frame, box=(1, 2, 3, 4)),
                KeyItem(label="dog", frame=Frame(index=35, time=3.5)),
                KeyItem(label="cat", frame=frame),
                KeyItem(label="cow", frame=frame),
            ),
        ),
    }
    return Question(**values | changes)


@pytest.fixture
def data(tmp_path):
    """Three questions, and rejected pairs for all reasons."""
    path = tmp_path / "data.jsonl"
    other = question(2, visuals=("driving/2.mp4",), task=Task.TRAFFIC, options=("far to the right", "left"), answer="left")
    records.write(path, [question(0), question(1, visuals=("cooking/0.mp4",)), other])
    pairs = [
        RejectedPair(
            id=f"r{n}", visuals=("cooking/0.mp4",), task=Task.THEME, text="Is it nice?", answer="yes", node=node, reason=why
        )
        for n, (node, why) in enumerate(REASONS)
    ]
    rejected_file(path).write_text("".join(pair.model_dump_json() + "\n" for pair in pairs))
    return path


def test_questions_videos_tasks_and_sources_are_counted(data):
    found = statistics(data)
    assert (found.questions, found.videos) == (3, 2)
    assert found.tasks == {"Event Process": 2, "Traffic Analysis": 1}
    assert found.sources == {"cooking": 1, "driving": 1}


def test_distances_are_between_the_middles_of_neighbouring_core_frames(data):
    found = statistics(data)
    assert (found.distances.count, found.distances.minimum, found.distances.maximum) == (6, 2.5, 5.0)
    assert found.distances.mean == 3.75
    assert set(found.distances_by_task) == {"Event Process", "Traffic Analysis"}
    assert found.distances_by_task["Traffic Analysis"].count == 2
    assert found.core_frames.median == 3


def test_core_frames_in_different_visuals_have_no_distance(tmp_path):
    spans = (Span(start=0, end=2), Span(start=3, end=4, visual=1))
    truth = Truth(spans=spans, facts=("a", "b"), evidence="")
    records.write(tmp_path / "data.jsonl", [question(0, visuals=("a.mp4", "b.mp4"), truth=truth)])
    assert statistics(tmp_path / "data.jsonl").distances is None


def test_a_key_item_in_two_core_frames_counts_once_and_each_box_counts(data):
    found = statistics(data)
    assert (found.key_items.minimum, found.key_items.maximum) == (3, 3)
    assert found.boxes == 0.25


def test_lengths_are_in_words(data):
    found = statistics(data)
    assert (found.question_words.mean, found.answer_words.maximum) == (5, 3)
    assert (found.length_difference.minimum, found.length_difference.maximum) == (-3, 0)
    assert found.length_difference.histogram == (1, 0, 0, 2)
    assert found.length_difference.edges == (-3.5, -2.5, -1.5, -0.5, 0.5)
    assert found.positions == {"A": 2, "B": 1}


def test_rejected_pairs_are_counted_by_node_and_by_reason_without_details(data):
    found = statistics(data)
    assert {node: each.pairs for node, each in found.rejected.items()} == {"filter": 3, "check": 2, "guess": 2}
    assert found.rejected["filter"].reasons == {"not objective": 2, "not consistent": 1}
    assert found.rejected["check"].reasons == {"the distractor ... may be correct": 2}
    assert found.rejected["guess"].reasons == {"the answer is known without the video (probability N)": 2}
    assert found.kept == 0.3


def test_few_questions_have_no_bias_and_many_have(data, tmp_path):
    assert statistics(data).word_bias is None
    records.write(tmp_path / "many.jsonl", [question(n) for n in range(100)])
    bias = statistics(tmp_path / "many.jsonl").word_bias
    assert (bias.questions, bias.accuracy, bias.chance) == (100, 1.0, 0.25)
    assert 0.95 < bias.low < 1


def test_statistics_are_written_as_json_and_drawn(data, tmp_path):
    found = write_statistics(data, tmp_path / "new/statistics")
    assert Statistics.model_validate_json((tmp_path / "new/statistics/statistics.json").read_bytes()) == found
    with Image.open(tmp_path / "new/statistics/statistics.png") as picture:
        assert min(picture.size) > 1000
        assert len(set(picture.convert("L").resize((50, 50)).getdata())) > 10  # something is drawn


def test_clips_of_the_world_have_statistics(tmp_path):
    questions = world.make("test", 6, tmp_path / "world", workers=1)
    found = write_statistics(tmp_path / "world/questions.jsonl", tmp_path / "statistics")
    assert found.sources == {"clips": len({each.visuals for each in questions})}
    assert sum(found.tasks.values()) == sum(found.positions.values()) == 6
    assert sum(found.distances.histogram) == found.distances.count == sum(len(each.truth.spans) - 1 for each in questions)
    assert found.rejected == {}
    assert found.kept == 1
    assert found.boxes is None


def test_a_dataset_whose_pairs_were_all_rejected_is_drawn(data, tmp_path):
    data.write_text("")
    found = write_statistics(data, tmp_path / "statistics")
    assert (found.questions, found.kept, found.distances) == (0, 0, None)


def test_open_questions_without_truth_are_drawn(tmp_path):
    records.write(tmp_path / "data.jsonl", [question(0, options=None, truth=None, task=None)])
    found = write_statistics(tmp_path / "data.jsonl", tmp_path / "statistics")
    assert found.tasks == {"none": 1}
    assert found.length_difference is None


def test_names_that_look_like_formulas_or_are_not_utf_8_are_drawn(tmp_path):
    folder = tmp_path / "$x^{$_caf\udce9_and_a_very_long_name_of_a_folder"
    data = tmp_path / "data.jsonl"
    records.write(data, [question(n, visuals=(f"{folder}{n}/{n}.mp4",), task="a $ b ^{") for n in range(20)])
    found = write_statistics(data, tmp_path / "statistics")
    assert len(found.sources) == 20
    assert json.loads((tmp_path / "statistics/statistics.json").read_text())["videos"] == 20


def test_problems_are_one_sentence_with_the_file(data, tmp_path):
    with pytest.raises(DataError, match=r"missing\.jsonl: cannot be read"):
        statistics(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl: no question and no rejected pair"):
        statistics(tmp_path / "empty.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written"):
        write_statistics(data, tmp_path / "file")
