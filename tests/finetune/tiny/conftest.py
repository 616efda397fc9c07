"""A small configuration of the tiny models and a tokenizer for all tests."""

import pytest

from finetune.tiny.config import TinyConfig

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


def small_config(folder, role="vlm", **changes):
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
    return small_config


@pytest.fixture(scope="session")
def processor(tmp_path_factory):
    from finetune.tiny import build

    return build.build_processor(small_config(tmp_path_factory.mktemp("build")))
