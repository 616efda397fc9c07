"""Rows that are too long or have a damaged picture are left out before the first step, and counted."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from espresso.errors import DataError
from espresso.models.processor import ChatProcessor
from finetune.lora import checks
from finetune.lora.checks import Problem, RowCheck, check_frames, count_tokens
from finetune.lora.collate import ConversationCollator, TrainingRow
from finetune.lora.config import VideoEspresso, World
from finetune.lora.examples import load
from finetune.lora.stages import train_stage
from finetune.provenance import read_provenance

LONG = "the red circle hits the black star. " * 40


def row(number, **changes):
    return {
        "core_frames_paths": [f"{number}.jpg"],
        "question": f"What happens in number {number}?",
        "answer": "the star turns yellow",
        "evidence": "1.0s: red circle hits black star.",
        "video_path": "v/x.mp4",
        **changes,
    }


@pytest.fixture
def folder(tmp_path):
    """Eight rows with a picture each; that of row 3 is cut off, and row 6 is long."""
    rng = np.random.default_rng(0)
    for number in range(1, 9):
        Image.fromarray(rng.integers(0, 255, (40, 20 * number, 3), np.uint8)).save(tmp_path / f"{number}.jpg", quality=95)
    tear(tmp_path / "3.jpg")
    rows = [row(number) for number in range(1, 9)]
    rows[5]["evidence"] = LONG
    (tmp_path / "train.json").write_text(json.dumps(rows))
    return tmp_path


def tear(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def source(folder):
    return VideoEspresso(format="videoespresso", path=folder / "train.json", root=folder, rate=10)


@pytest.fixture
def config(make_config, folder, tmp_path):
    return make_config(tmp_path / "out", data=[source(folder)], held_out=[source(folder)], max_length=300, save_every=1)


@pytest.mark.parametrize("prompt_evidence", [None, "", "0.1s: red star hits blue circle."])
def test_the_count_is_that_of_the_batch(base, folder, make_config, prompt_evidence):
    config, processor = make_config(folder, max_length=9999), ChatProcessor(str(base), vision=True)
    collate = ConversationCollator(processor, style=config.prompts, size=config.frame_size, max_length=9999)
    examples = [*load(World(format="world", count=3)).examples, *load(source(folder)).examples]
    for example, sizes in zip(examples, check_frames(examples, 112, folder), strict=True):
        if not isinstance(sizes, Problem):
            training_row = TrainingRow(example, prompt_evidence)
            assert count_tokens(training_row, sizes, config, processor) == collate([{"row": training_row}])["input_ids"].shape[1]


def test_a_picture_is_checked_again_only_if_its_file_changed(folder, monkeypatch):
    examples = load(source(folder)).examples
    first = check_frames(examples, 112, folder)
    assert [isinstance(found, Problem) for found in first] == [number == 3 for number in range(1, 9)]
    assert "3.jpg" in first[2].why
    assert first[0] == ((40, 20),)
    decoded = []
    monkeypatch.setattr(checks, "_decode", lambda example, size: decoded.append(example.where) or [(1, 1)])
    assert check_frames(examples, 112, folder) == first
    Image.new("RGB", (50, 50)).save(folder / "3.jpg")
    assert check_frames(examples, 112, folder)[2] == ((1, 1),)
    assert decoded == ["train.json, row 3"]


def test_an_interrupted_check_continues(folder, monkeypatch):
    examples = load(source(folder)).examples
    whole = check_frames(examples, 112, folder)
    (file,) = folder.glob("frames.*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4]) + lines[4][:10])
    decode, decoded = checks._decode, []
    monkeypatch.setattr(checks, "_decode", lambda example, size: decoded.append(example.id) or decode(example, size))
    assert check_frames(examples, 112, folder) == whole
    assert len(decoded) == 4


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", None])
def test_a_file_that_is_no_picture_is_left_out(folder, content):
    examples = load(source(folder)).examples
    (folder / "5.jpg").unlink() if content is None else (folder / "5.jpg").write_bytes(content)
    found = zip(examples, check_frames(examples, 112, folder), strict=True)
    problems = {example.where for example, each in found if isinstance(each, Problem)}
    assert problems == {"train.json, row 3", "train.json, row 5"}


def test_a_picture_of_a_shape_that_the_model_rejects_is_left_out(base, config, folder):
    Image.new("RGB", (4000, 2)).save(folder / "1.jpg")
    config = config.model_copy(update={"frame_size": 448})
    config.output.mkdir()
    examples = load(source(folder)).examples
    check = RowCheck(config, str(base), examples)
    check.lengths(examples, lambda example: [TrainingRow(example)])
    assert examples[0] in check.problems


def test_a_stage_leaves_out_what_it_cannot_train_on_and_resumes_with_a_larger_max_length(config, folder):
    reported = []
    provenance, data = train_stage(config, "evidence", on_data=lambda *both: reported.extend(both))
    assert [len(each.examples) for each in reported] == [6, 6]
    where = [(bad.where, bad.why) for bad in data.bad]
    assert [place for place, _ in where] == ["train.json, row 3", "train.json, row 6"]
    assert "3.jpg" in where[0][1]
    assert "tokens exceed max_length of 300" in where[1][1]
    assert (provenance.rows, provenance.bad, provenance.unreadable, provenance.too_long) == (6, 2, 1, 1)
    assert read_provenance(config.output / "evidence") == provenance

    longer = config.model_copy(update={"max_length": 1024})
    resumed, data = train_stage(longer, "evidence")
    assert (resumed.data_digest, resumed.bad, resumed.too_long) == (provenance.data_digest, 2, 1)
    assert data.bad[1].why.endswith("max_length of 300 when this training started")

    tear(folder / "7.jpg")
    with pytest.raises(DataError, match=r"train.json, row 7 .*7.jpg.*were trained on this row. Restore its file to resume"):
        train_stage(config, "evidence")
    with pytest.raises(DataError, match=r"were trained on this row. Raise max_length to resume"):
        train_stage(config.model_copy(update={"max_length": 30}), "evidence")

    elsewhere = longer.model_copy(update={"output": folder / "other"})
    Image.new("RGB", (50, 50)).save(folder / "7.jpg")
    assert train_stage(elsewhere, "evidence")[0].too_long == 0


def test_a_first_stage_predicts_no_evidence_for_rows_that_are_left_out(config, base):
    first = shutil.copytree(base.parent / "evidence", config.output / "first")
    answer = config.answer.model_copy(update={"evidence": "predicted", "first": first})
    provenance, data = train_stage(config.model_copy(update={"answer": answer}), "answer")
    assert (provenance.rows, provenance.bad, provenance.too_long) == (7, 1, 0)  # the long evidence is not in the prompt
    (file,) = first.glob("predicted-*.jsonl")
    assert {json.loads(line)[0] for line in file.read_text().splitlines()} == {example.id for example in data.examples}


def test_without_a_row_left_the_first_reason_is_given(config):
    with pytest.raises(DataError, match=r"all 8 rows are left out.* The first: train.json, row 1: \d+ tokens"):
        train_stage(config.model_copy(update={"max_length": 5}), "evidence")
