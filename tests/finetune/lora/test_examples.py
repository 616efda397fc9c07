import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from espresso import media
from espresso.datasets import DatasetFiles, records, videoespresso, world
from espresso.errors import DataError
from espresso.schema import Question, Span, Truth
from finetune.lora.collate import TrainingRow
from finetune.lora.config import DataSource, World
from finetune.lora.examples import load
from finetune.provenance import data_digest

NEXTQA = "video,question,answer,qid,type,a0,a1,a2,a3,a4\nclip,why?,2,6,CW,a,b,c,d,e\n"


def source(**settings):
    return TypeAdapter(DataSource).validate_python(settings)


@pytest.fixture
def folder(tmp_path):
    """A folder of a video, and the same question in several formats."""
    media.write_video(tmp_path / "clip.mp4", (np.full((48, 64, 3), 8 * number, np.uint8) for number in range(30)), 10)
    truth = Truth(spans=(Span(start=0.4, end=0.6),), facts=("a",), evidence="A dog.")
    question = Question(id="q", visuals=("clip.mp4",), text="Why?", answer="c", truth=truth)
    without = question.model_copy(update={"id": "r", "truth": None})
    (tmp_path / "records.jsonl").write_text(f"{question.model_dump_json()}\n{without.model_dump_json()}\n")
    row = {"question": "Why?", "answer": "c", "evidence": "A dog.", "video_path": "clip.mp4", "keyframe_path": "10.jpg"}
    (tmp_path / "train.json").write_text(json.dumps([row]))
    (tmp_path / "val.csv").write_text(NEXTQA)
    return tmp_path


def test_records(folder):
    files = DatasetFiles(folder / "records.jsonl")
    loaded = load(source(format="records", path=files.data))
    assert loaded == records.DATASET.examples(files)
    assert [example.id for example in loaded.examples] == ["q"]
    assert loaded.bad[0].why == "no evidence"


def test_records_without_evidence_can_train_an_answer_stage(folder):
    loaded = load(source(format="records", path=folder / "records.jsonl", uniform=4), evidence=False)
    assert [(example.id, len(example.frames), example.evidence) for example in loaded.examples] == [
        ("q", 4, "A dog."),
        ("r", 4, ""),
    ]


def test_records_in_another_folder_than_their_videos(folder, tmp_path_factory):
    elsewhere = shutil.copy(folder / "records.jsonl", tmp_path_factory.mktemp("elsewhere"))
    loaded = load(source(format="records", path=elsewhere, videos=folder))
    assert loaded.examples[0].frames[0].source == str(folder / "clip.mp4")


def test_videoespresso(folder):
    loaded = load(source(format="videoespresso", path=folder / "train.json", root=folder, rate=5))
    assert loaded == videoespresso.DATASET.examples(DatasetFiles(folder / "train.json", folder), rate=5)
    assert loaded.examples[0].frames[0].time == 1.0  # frame 10 at 10 fps: the rate is for videos that are absent


def test_a_multiple_choice_dataset_trains_an_answer_stage_on_evenly_spaced_frames(folder):
    settings = source(format="nextqa", path=folder / "val.csv", videos=folder, uniform=4)
    (example,) = load(settings, evidence=False).examples
    assert (example.id, example.answer, len(example.frames)) == ("clip-6", "c", 4)
    with pytest.raises(DataError, match="no evidence"):
        load(settings)


def test_statements_about_pairs_train_an_answer_stage(folder):
    for side in (0, 1):
        Image.new("RGB", (8, 8)).save(folder / f"dev-1-0-img{side}.png")
    (folder / "dev.json").write_text(json.dumps({"identifier": "dev-1-0-0", "sentence": "Two dogs.", "label": "True"}))
    (example,) = load(source(format="nlvr2", path=folder / "dev.json", videos=folder, uniform=2), evidence=False).examples
    assert (example.answer, example.options, len(example.frames)) == ("True", ("True", "False"), 2)

    visuals = [{"path": f"dev-1-0-img{side}.png", "kind": "image"} for side in (0, 1)]
    pair = {"kind": "im-im", "visuals": visuals, "statement": "Both show a dog.", "label": False, "template": "object-both"}
    reasons = {"reasons": ["One.", "Two.", "Three."], "reason": 1}
    rows = [
        pair | {"id": "a", "split": "train"},
        pair | reasons | {"id": "b", "split": "train"},
        pair | {"id": "c", "split": "test"},
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"path": folder / "pairs.jsonl", "videos": folder, "uniform": 2}
    loaded = load(source(format="raiv", **settings), evidence=False)
    assert [(each.id, each.answer) for each in loaded.examples] == [("a", "False"), ("b", "False")]
    loaded = load(source(format="raiv-reasons", **settings), evidence=False)
    assert [(each.id, each.answer) for each in loaded.examples] == [("b", "Two.")]


def test_the_world(folder):
    settings = source(format="world", count=40, spare=0.5, missing=0.2, first=3)
    loaded = load(settings, seed=1)
    assert loaded == world.DATASET.examples("train", 40, seed=1, spare=0.5, missing=0.2, first=3)
    assert load(settings, seed=1, needed=5).examples == loaded.examples[:5]


@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        ({}, "e34cf52561f1ba9b"),
        ({"uniform": 16}, "f666f1c93cbfb535"),
        ({"spare": 0.5, "missing": 0.2}, "f648c6298a328492"),
        ({"split": "val"}, "5be35244c609db52"),
    ],
)
def test_the_training_data_of_the_shipped_adapters_does_not_change(settings, digest):
    examples = load(World(format="world", count=200, **settings)).examples
    assert data_digest([TrainingRow(example) for example in examples]) == digest


def test_puzzles_are_generated_with_evidence_or_read_without():
    loaded = load(source(format="smart101", count=40), needed=31)
    assert len(loaded.examples) == 31
    assert all(each.evidence for each in loaded.examples)
    with pytest.raises(DataError, match="have no evidence"):
        load(source(format="smart101", path="puzzles"))
