"""Config files: every shipped one is read, and a mistake in one is told with its place and, where there is one, the key meant."""

from pathlib import Path

import pytest

from espresso.errors import DataError
from finetune.config import LoraConfig, read

CONFIGS = Path(__file__).parents[3] / "finetune" / "configs"
GOOD = """
model: base
output: out
frame_size: 112
data: [{format: world, count: 8}]
evidence: {learning_rate: 2.0e-5}
answer: {learning_rate: 1.0e-5}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", ["paper", "qwen3-vl-8b", "laptop", "tiny"])
def test_every_shipped_recipe_is_read_and_says_how_it_is_run(name):
    path = CONFIGS / f"{name}.yaml"
    config = read(path, LoraConfig)
    head = path.read_text().split("\nmodel:")[0]
    if name != "tiny":  # whose rates were measured
        assert config.answer.learning_rate == pytest.approx(config.evidence.learning_rate / 2)
    assert f"espresso finetune evidence finetune/configs/{name}.yaml" in head
    assert "espresso finetune answer" in head


def test_the_paper_recipe_holds_the_numbers_of_table_8():
    paper = read(CONFIGS / "paper.yaml", LoraConfig)
    assert (paper.frame_size, paper.max_length, paper.batch, paper.warmup) == (224, 6144, 16, 0.03)
    assert (paper.evidence.learning_rate, paper.answer.learning_rate) == (2e-5, 1e-5)
    assert (paper.evidence.epochs, paper.answer.epochs, paper.weight_decay) == (1, 1, 0.02)


def test_an_override_reaches_into_a_part(file):
    config = read(file(GOOD), LoraConfig, output=Path("elsewhere"), **{"answer.evidence": "mix", "evidence.epochs": None})
    assert (config.output, config.answer.evidence, config.evidence.epochs) == (Path("elsewhere"), "mix", 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("frame_size: 112", "frame_sise: 112"), r"frame_sise: .*Did you mean 'frame_size'\?"),
        (("learning_rate: 2.0e-5", "learning_rat: 2.0e-5"), r"evidence\.learning_rat: .*Did you mean 'learning_rate'\?"),
        (("count: 8", "cuont: 8"), r"data\.0\.world\.cuont: .*Did you mean 'count'\?"),
        (("frame_size: 112", "frame_size: -1"), r"frame_size: .*greater than 0"),
        (("format: world", "format: worlds"), r"data\.0: .*'worlds'"),
        (("data: [{format: world, count: 8}]", "data: []"), r"data: .*at least 1 item"),
    ],
)
def test_a_mistake_is_told_with_its_place(file, change, said):
    with pytest.raises(DataError, match=said):
        read(file(GOOD.replace(*change)), LoraConfig)


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "not a readable YAML file"), ("just words", "not a config file"), ("", "not a config file")]
)
def test_what_is_no_config_is_told_so(file, text, said):
    with pytest.raises(DataError, match=said):
        read(file(text), LoraConfig)


def test_a_missing_config_names_where_the_shipped_ones_are(tmp_path):
    with pytest.raises(DataError, match=r"no such config file.*finetune/configs"):
        read(tmp_path / "none.yaml", LoraConfig)
