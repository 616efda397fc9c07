"""The shipped configuration files are valid, and the paper's file has the paper's numbers."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from espresso import profiles
from espresso.datasets.smart101.puzzles import PUZZLES
from finetune.config import read_config
from finetune.lora.config import AnswerStageConfig, FinetuneConfig, PlacesConfig, Puzzles

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs" / "lora"


@pytest.mark.parametrize("name", ["paper", "qwen3-vl-8b", "laptop", "tiny"])
def test_every_shipped_config_is_valid_and_starts_with_its_commands(name):
    path = CONFIGS / f"{name}.yaml"
    config = read_config(path, FinetuneConfig)
    head = path.read_text().split("\nmodel:")[0]
    if name != "tiny":  # its learning rates were tuned
        assert config.answer.learning_rate == pytest.approx(config.evidence.learning_rate / 2)
    assert f"espresso finetune evidence finetune/configs/lora/{name}.yaml" in head
    assert "espresso finetune answer" in head


@pytest.mark.parametrize("name", ["paper", "laptop", "tiny"])
def test_a_config_trains_on_what_its_profile_shows(name):
    config, profile = read_config(CONFIGS / f"{name}.yaml", FinetuneConfig), profiles.load(name)
    assert (config.frame_size, config.prompts) == (profile.frame_size, profile.prompts)


def test_the_paper_config_has_the_numbers_of_table_8():
    paper = read_config(CONFIGS / "paper.yaml", FinetuneConfig)
    assert (paper.frame_size, paper.max_length, paper.batch, paper.warmup) == (224, 6144, 16, 0.03)
    assert (paper.evidence.learning_rate, paper.answer.learning_rate) == (2e-5, 1e-5)
    assert (paper.evidence.epochs, paper.answer.epochs, paper.weight_decay) == (1, 1, 0.02)


@pytest.mark.parametrize(
    ("mode", "expected"), [("truth", True), ("predicted", True), ("mix", True), ("none", False), ("joint", False)]
)
def test_a_single_stage_has_no_first_stage(mode, expected):
    assert AnswerStageConfig(learning_rate=1e-3, evidence=mode).has_first_stage is expected


def test_a_puzzle_that_is_not_generated_is_refused():
    assert Puzzles(format="smart101").puzzles == PlacesConfig(learning_rate=1e-3, rows=1).puzzles == tuple(PUZZLES)
    with pytest.raises(ValidationError, match=r"not generated: 1, 3\. Generated are 2, 7, 16"):
        Puzzles(format="smart101", puzzles=(1, 2, 3))
    with pytest.raises(ValidationError, match="not generated: 3"):
        PlacesConfig(learning_rate=1e-3, rows=1, puzzles=(3,))


def test_published_puzzles_cannot_be_chosen():
    assert Puzzles(format="smart101", path="puzzles").puzzles == tuple(PUZZLES)
    with pytest.raises(ValidationError, match="'puzzles' chooses among generated puzzles"):
        Puzzles(format="smart101", path="puzzles", puzzles=(2,))
