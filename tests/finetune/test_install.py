"""A trained model is installed on request only, and not under adapters of other weights."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from espresso import profiles
from espresso.cli import app
from espresso.errors import DataError
from finetune.config import read_config
from finetune.fusion.config import FusionTraining, RaivStudy, Smart101Study
from finetune.install import SHIPPED, install
from finetune.lora.config import FinetuneConfig
from finetune.lora.stages import train_stage
from finetune.selector.config import SelectorConfig
from finetune.tiny.config import TinyConfig
from finetune.tiny.train import train

CONFIGS = Path(__file__).parents[2] / "finetune" / "configs"
SHIPPED_CONFIGS = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "accelerate")


@pytest.fixture
def profile(tmp_path):
    """A copy of the profile `tiny` with the models of its own."""
    shutil.copytree(SHIPPED / "tiny", tmp_path / "tiny")
    shutil.copy(SHIPPED / "tiny.toml", tmp_path)
    return profiles.load(tmp_path / "tiny.toml")


@pytest.fixture
def other_base(tmp_path):
    """A model like `vlm` with other weights, as a training leaves it."""
    folder = tmp_path / "checkpoints" / "model"
    shutil.copytree(SHIPPED / "tiny" / "vlm", folder, ignore=shutil.ignore_patterns("README.md"))
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight * 1.01 for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def weights_of(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_model_that_the_adapters_do_not_belong_to_is_refused(profile, other_base, tmp_path):
    target = tmp_path / "tiny" / "vlm"
    before = weights_of(target)
    with pytest.raises(DataError, match=r"evidence and answer and ground in .*tiny were trained on other weights.*--force"):
        install(other_base, "vlm", profile)
    assert weights_of(target) == before


def test_with_force_it_replaces_the_model_and_keeps_the_card(profile, other_base, tmp_path):
    target = tmp_path / "tiny" / "vlm"
    card = (target / "README.md").read_text()
    (other_base / "loss.png").write_bytes(b"")
    assert install(other_base, "vlm", profile, force=True) == target
    assert weights_of(target) == weights_of(other_base)
    assert (target / "README.md").read_text() == card
    assert not (target / "loss.png").exists()


def test_a_model_without_adapters_is_installed(profile, tmp_path):
    other = tmp_path / "selector"
    shutil.copytree(tmp_path / "tiny" / "selector", other)
    (other / "generation_config.json").write_text("{}")
    assert (install(other, "selector", profile) / "generation_config.json").read_text() == "{}"


@pytest.mark.parametrize(("name", "model", "folder"), [("raiv", "classifier", "raiv"), ("laptop", "nextgqa", ".")])
def test_a_classifier_and_the_head_of_a_ranker_are_installed(tmp_path, name, model, folder):
    shutil.copytree(SHIPPED / folder / model, tmp_path / folder / model)
    shutil.copy(SHIPPED / f"{name}.toml", tmp_path)
    trained = shutil.copytree(SHIPPED / folder / model, tmp_path / "trained")
    (tmp_path / folder / model / "model.safetensors").unlink()
    target = install(trained, model, profiles.load(tmp_path / f"{name}.toml"))
    assert target == tmp_path / folder / model
    assert weights_of(target) == weights_of(trained)


def test_an_adapter_of_another_base_model_is_refused(profile, other_base, tmp_path):
    install(other_base, "vlm", profile, force=True)
    with pytest.raises(DataError, match=r"this adapter was trained on other weights than those in .*vlm\. Train it on them"):
        install(SHIPPED / "tiny" / "evidence", "evidence", profile)


def test_an_adapter_of_this_base_model_is_installed(profile, tmp_path):
    other = tmp_path / "trained"
    shutil.copytree(tmp_path / "tiny" / "evidence", other)
    (other / "predicted-0.jsonl").write_text("")
    shutil.rmtree(tmp_path / "tiny" / "evidence")
    assert not (install(other, "evidence", profile) / "predicted-0.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "model",
            r"no model or adapter folder named 'model' \(available: vlm, selector, .*, verifier, evidence, answer, ground\)",
        ),
        ("judge", r"not a trained model \(config\.json or the weights are missing\)"),
        ("answer", r"not a trained adapter \(adapter_config\.json or the weights are missing\)"),
    ],
)
def test_what_cannot_be_installed_is_named(profile, tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        install(tmp_path, name, profile)


def test_the_command_installs_in_a_profile_file(profile, tmp_path):
    other = shutil.copytree(tmp_path / "tiny" / "judge", tmp_path / "trained")
    arguments = ["finetune", "install", str(other), "judge", "--profile", str(tmp_path / "tiny.toml")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"is installed in {tmp_path / 'tiny' / 'judge'}" in result.stdout


def test_a_tiny_model_is_not_trained_over_a_shipped_one(tmp_path):
    config = TinyConfig(role="vlm", output=SHIPPED / "tiny" / "vlm", checkpoints=tmp_path, batches=1, learning_rate=1e-3)
    with pytest.raises(DataError, match=r"belongs to the shipped profiles.*espresso finetune install"):
        train(config)


def test_an_adapter_is_not_trained_over_a_shipped_one(make_config):
    with pytest.raises(DataError, match=r"belongs to the shipped profiles.*espresso finetune install"):
        train_stage(make_config(SHIPPED / "tiny"), "evidence", steps=1)


@pytest.mark.parametrize("path", SHIPPED_CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_config_trains_into_checkpoints(path):
    kinds = {
        "lora": FinetuneConfig, "tiny": TinyConfig, "selector": SelectorConfig, "fusion": FusionTraining,
        "fusion/raiv-study": RaivStudy, "fusion/smart101-study": Smart101Study,
    }  # fmt: skip
    kind = kinds.get(f"{path.parent.name}/{path.stem}", kinds[path.parent.name])
    assert read_config(path, kind).output.parts[0] == "checkpoints"
