"""The shipped configuration files of the tiny models are valid."""

from pathlib import Path

import pytest

from finetune.config import read_config
from finetune.tiny.config import TinyConfig

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs" / "tiny"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_contains_its_command(path):
    assert read_config(path, TinyConfig).batches > 0
    assert f"espresso finetune tiny finetune/configs/tiny/{path.name}" in path.read_text()
