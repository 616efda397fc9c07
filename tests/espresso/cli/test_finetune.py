"""The finetune command on the tiny model: one step, as a script would run it."""

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from espresso.cli import app
from finetune.config import read_config
from finetune.lora.config import FinetuneConfig

ROOT = Path(__file__).parents[3]
TINY = ROOT / "finetune" / "configs" / "lora" / "tiny.yaml"
BASE = ROOT / "espresso" / "profiles" / "tiny" / "vlm"


def test_json_is_the_only_output(tmp_path):
    """The trainer's own log lines go to stderr."""
    file = tmp_path / "small.yaml"
    small = {
        "model": str(BASE),
        "output": str(tmp_path / "out"),
        "data": [{"format": "world", "count": 12}],
        "held_out": [],
        "batch": 4,
        "device_batch": 4,
        "workers": 0,
        "evidence": {"learning_rate": 0.01},
    }
    file.write_text(yaml.safe_dump(read_config(TINY, FinetuneConfig).model_dump(mode="json") | small))
    done = CliRunner().invoke(app, ["finetune", "evidence", str(file), "--steps", "3", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == 3
    assert "train_runtime" in done.stderr


def test_the_stage_before_the_first_one_says_what_it_reads(tmp_path):
    file = tmp_path / "places.yaml"
    small = {
        "model": str(BASE),
        "output": str(tmp_path / "out"),
        "data": [{"format": "smart101", "count": 12}],
        "held_out": [],
        "lora": {"rank": 4, "vision": True},
        "places": {"learning_rate": 0.01, "rows": 1, "held_out": 1},
        "batch": 4,
        "device_batch": 4,
        "workers": 0,
    }
    file.write_text(yaml.safe_dump(read_config(TINY, FinetuneConfig).model_dump(mode="json") | small))
    done = CliRunner().invoke(app, ["finetune", "places", str(file), "--steps", "1"])
    assert done.exit_code == 0, done.output
    assert "out/places: 31 pictures, 1 steps, reads " in done.stdout
    assert "% of values in held-out pictures" in done.stdout
