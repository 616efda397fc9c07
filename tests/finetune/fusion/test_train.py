"""Training the fusion classifier: its stages build on each other, and a killed one resumes."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from espresso.errors import DataError
from espresso.fusion.model import FusionForPairs, FusionModel
from espresso.fusion.puzzles import PuzzleClassifier
from finetune.config import read_config
from finetune.fusion.config import FusionTraining
from finetune.fusion.train import train

SMALL = {
    "encoders": {"image_size": 32, "patch": 16, "vision_layers": 1, "text_layers": 1},
    "architecture": {"hidden": 16, "heads": 2, "feed_forward": 16, "layers": 1, "dropout": 0.0, "frames": 2},
    "frame_size": 32,
    "workers": 0,
    "pretrain": {"data": [{"format": "world", "stories": 4, "first": 50}], "epochs": 1, "batch": 8, "learning_rate": 1e-3},
    "tsp": {
        "data": [{"format": "world", "stories": 8, "first": 50}],
        "epochs": 1,
        "batch": 8,
        "visuals": 24,
        "learning_rate": 1e-3,
    },
    "pairs": {"data": [{"format": "world", "kind": "im-vid", "count": 42}], "epochs": 1, "batch": 8, "learning_rate": 1e-3},
}


def settings(folder, **changes):
    file = folder / "config.yaml"
    values = {name: value for name, value in {**SMALL, "output": str(folder / "out"), **changes}.items() if value is not None}
    file.write_text(yaml.safe_dump(values))
    return read_config(file, FusionTraining)


def test_each_stage_starts_from_the_one_before(tmp_path):
    config = settings(tmp_path)
    for stage in ("pretrain", "tsp", "pairs"):
        assert train(config, stage, steps=2).steps == 2
    pretrained = FusionModel.from_pretrained(config.output / "pretrain")
    mined = FusionForPairs.from_pretrained(config.output / "tsp")
    tuned = FusionForPairs.from_pretrained(config.output / "pairs")
    name = "vision_projection.weight"
    one, two, three = (each.state_dict()[name] for each in (pretrained, mined.fusion, tuned.fusion))
    assert 0 < (one - two).abs().max() < 0.01, "two steps from the weights of the stage before"
    assert 0 < (two - three).abs().max() < 0.01
    lineage = json.loads((config.output / "pairs" / "lineage.json").read_text())
    assert lineage["stage"] == "pairs"
    assert lineage["rows"] == 42
    assert lineage["start"]


def test_mixed_precision_trains_the_same_model_in_float32_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    trained = {}
    for bf16 in (False, True):
        config = settings(tmp_path, pretrain=None, tsp=None, bf16=bf16, output=str(tmp_path / str(bf16)))
        train(config, "pairs", steps=3)
        trained[bf16] = FusionForPairs.from_pretrained(config.output / "pairs").state_dict()
    assert {weight.dtype for weight in trained[True].values()} == {torch.float32}
    name = "fusion.vision_projection.weight"
    assert 0 < (trained[False][name] - trained[True][name]).abs().max() < 5e-3, "rounded otherwise, trained alike"


def test_a_stage_whose_predecessor_is_not_trained_is_refused(tmp_path):
    with pytest.raises(DataError, match="the stage 'pretrain' is not trained yet"):
        train(settings(tmp_path), "tsp", steps=1)


def test_without_earlier_stages_the_training_starts_from_new_weights(tmp_path):
    config = settings(tmp_path, pretrain=None, tsp=None)
    assert train(config, "pairs", steps=1).start is None
    with pytest.raises(DataError, match="no section 'tsp'"):
        train(config, "tsp")


def test_reasons_give_three_rows_per_false_statement(tmp_path):
    config = settings(tmp_path, pretrain=None, tsp=None, pairs={**SMALL["pairs"], "reasons": True})
    assert train(config, "pairs", steps=1).rows % 3 == 0


def test_the_classifier_of_puzzles_keeps_frozen_towers_and_trains_the_rest(tmp_path):
    puzzles = {"epochs": 1, "batch": 8, "learning_rate": 1e-3, "rows": 1, "align": "both"}
    changes = {"encoders": {**SMALL["encoders"], "words": "smart101"}, "tsp": None, "pairs": None}
    pretrain = {**SMALL["pretrain"], "data": [{"format": "smart101", "rows": 1}]}
    config = settings(tmp_path, **changes, pretrain=pretrain, puzzles=puzzles)
    assert train(config, "pretrain", steps=2).rows == 31
    lineage = train(config, "puzzles", steps=2)
    assert (lineage.rows, lineage.steps) == (31, 2)
    before = FusionModel.from_pretrained(config.output / "pretrain").state_dict()
    after = PuzzleClassifier.from_pretrained(config.output / "puzzles").fusion.state_dict()
    new = {name.split(".")[0] for name in after if name not in before}
    changed = {name.split(".")[0] for name, weight in after.items() if name in before and not torch.equal(weight, before[name])}
    assert new == {"visual_layers"}
    assert changed == {"text_layers", "text_norm", "visual_norm"}


def test_towers_that_are_not_frozen_are_trained_too(tmp_path):
    puzzles = {"epochs": 1, "batch": 8, "learning_rate": 1e-3, "rows": 1, "freeze": False, "head": "per-puzzle"}
    encoders = {**SMALL["encoders"], "words": "smart101"}
    config = settings(tmp_path, encoders=encoders, pretrain=None, tsp=None, pairs=None, puzzles=puzzles)
    for steps, name in ((1, "one"), (2, "two")):
        train(config.model_copy(update={"output": tmp_path / name}), "puzzles", steps=steps)
    one, two = (PuzzleClassifier.from_pretrained(tmp_path / name / "puzzles").state_dict() for name in ("one", "two"))
    name = "fusion.vision_projection.weight"
    assert not torch.equal(one[name], two[name])


def test_a_killed_training_resumes_and_ends_with_the_same_weights(tmp_path):
    """The second process is killed after its first checkpoint; the same command finishes the training."""
    weights = []
    for name, kill in (("whole", False), ("killed", True)):
        folder = tmp_path / name
        folder.mkdir()
        config = settings(folder, pretrain=None, tsp=None, save_every=2, seed=3)
        command = [
            sys.executable,
            "-c",
            "from espresso.cli import app; app()",
            "finetune",
            "fusion",
            "pairs",
            str(folder / "config.yaml"),
        ]
        command += ["--steps", "6"]
        if kill:
            running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not list((config.output / "pairs-checkpoints").glob("checkpoint-*")) and running.poll() is None:
                time.sleep(0.05)
            running.send_signal(signal.SIGKILL)
            running.wait()
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "6 steps" in result.stdout
        weights.append(FusionForPairs.from_pretrained(config.output / "pairs").state_dict())
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], msg=name)
