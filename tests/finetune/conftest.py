"""Small configurations: two stages of LoRA, both trained once for all tests, and a tiny model from scratch."""

from pathlib import Path

import pytest

import espresso
from finetune.lora.config import FinetuneConfig
from finetune.tiny.config import TinyConfig

BASE = Path(espresso.__file__).parent / "profiles" / "tiny" / "vlm"


def small_config(output, **changes):
    settings = {
        "model": str(BASE),
        "output": output,
        "prompts": "tiny",
        "frame_size": 112,
        "data": [{"format": "world", "count": 16}],
        "held_out": [{"format": "world", "split": "val", "count": 8}],
        "evidence": {"learning_rate": 1e-3},
        "answer": {"learning_rate": 5e-4, "evidence": "mix"},
        "batch": 4,
        "device_batch": 4,
        "max_length": 1024,
        "workers": 0,
    }
    return FinetuneConfig.model_validate(settings | changes)


@pytest.fixture(scope="session")
def base():
    """Folder of the tiny base model."""
    return BASE


@pytest.fixture(scope="session")
def make_config():
    """Make a configuration from an output folder and changed values."""
    return small_config


@pytest.fixture(scope="session")
def two_stages(tmp_path_factory):
    """Train both stages for three steps each; return the configuration and both provenances."""
    from finetune.lora.stages import train_stage

    config = small_config(tmp_path_factory.mktemp("two-stages"))
    return config, *(train_stage(config, stage, steps=3)[0] for stage in ("evidence", "answer"))


SMALL = {
    "hidden": 64,
    "heads": 2,
    "kv_heads": 1,
    "layers": 2,
    "feed_forward": 64,
    "vision_width": 32,
    "vision_heads": 2,
    "vision_depth": 1,
}
BATCHES = {"caption_batch": 4, "text_batch": 4, "report_batch": 4, "selector_batch": 4, "judge_batch": 4}


def small_tiny_config(folder, role="vlm", **changes):
    settings = {
        "batches": 2,
        "learning_rate": 1e-3,
        "output": folder / "model",
        "checkpoints": folder / "checkpoints",
        "threads": 1,
    }
    return TinyConfig(role=role, **{**SMALL, **BATCHES, **settings, **changes})


@pytest.fixture(scope="session")
def make_tiny_config():
    """Make a configuration from a folder, a role and changed values."""
    return small_tiny_config
