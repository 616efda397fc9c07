"""An invalid configuration file is reported with the key, and a suggestion for it."""

from pathlib import Path

import pytest

from espresso.errors import DataError
from finetune.config import read_config
from finetune.lora.config import FinetuneConfig
from finetune.tiny.config import TinyConfig

VALID = """
model: base
output: out
frame_size: 112
data: [{format: world, count: 8}]
evidence: {learning_rate: 2.0e-5}
answer: {learning_rate: 1.0e-5}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def test_overrides_replace_values_of_sections_and_none_keeps_the_file_s_value(write):
    overrides = {"answer.evidence": "mix", "evidence.epochs": None}
    config = read_config(write(VALID), FinetuneConfig, output=Path("elsewhere"), **overrides)
    assert (config.output, config.answer.evidence, config.evidence.epochs) == (Path("elsewhere"), "mix", 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("frame_size: 112", "frame_sise: 112"), r"frame_sise: .*Did you mean 'frame_size'\?"),
        (("learning_rate: 2.0e-5", "learning_rat: 2.0e-5"), r"evidence\.learning_rat: .*Did you mean 'learning_rate'\?"),
        (("count: 8", "cuont: 8"), r"data\.0\.world\.cuont: .*Did you mean 'count'\?"),
        (("frame_size: 112", "frame_size: -1"), r"frame_size: .*greater than 0"),
        (("format: world", "format: worlds"), r"data\.0: .*'worlds'"),
        (("data: [{format: world, count: 8}]", "data: []"), r"data: .*at least 1 item"),
    ],
)
def test_an_invalid_value_is_reported_with_its_key(write, change, message):
    with pytest.raises(DataError, match=message):
        read_config(write(VALID.replace(*change)), FinetuneConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("role: vlm\nlerning_rate: 1", "Did you mean 'learning_rate'"),
        ("role: vlm\noutput: o\ncheckpoints: c\nbatches: many\nlearning_rate: 1", "batches"),
    ],
)
def test_an_invalid_tiny_config_is_reported_with_its_key(write, text, message):
    with pytest.raises(DataError, match=message):
        read_config(write(text), TinyConfig)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not a readable YAML file"), ("just words", "not a config file"), ("", "not a config file")]
)
def test_a_file_that_is_not_a_config_is_refused(write, text, message):
    with pytest.raises(DataError, match=message):
        read_config(write(text), FinetuneConfig)


def test_a_missing_file_is_reported_with_the_folder_of_the_shipped_ones(tmp_path):
    with pytest.raises(DataError, match=r"no such config file.*finetune/configs"):
        read_config(tmp_path / "none.yaml", FinetuneConfig)
