"""Adapters load only with the weights that they were trained on, which are hashed once."""

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from espresso.errors import ModelError
from espresso.models import Message, TransformersModel
from espresso.profiles import weights
from espresso.profiles.weights import cached_digest, check_base, identity, weights_digest

SHIPPED = Path(weights.__file__).parent / "tiny"
HELLO = [Message("user", ("Hello",))]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def other_base(tmp_path):
    """A copy of the shipped base model with other weights of the same size."""
    folder = shutil.copytree(SHIPPED / "vlm", tmp_path / "vlm")
    scaled = {name: weight * 1.01 for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(scaled, folder / "model.safetensors", {"format": "pt"})
    return folder


async def test_an_adapter_of_other_weights_is_refused_when_the_model_loads(other_base):
    model = TransformersModel(other_base, adapters={"evidence": SHIPPED / "evidence"})
    with pytest.raises(ModelError, match=r"'evidence': .*evidence was trained .* of .*vlm have .*train the adapter again"):
        await model.chat(HELLO, choices=["a", "b"], adapter="evidence")


async def test_an_adapter_without_provenance_loads(other_base, tmp_path):
    adapter = shutil.copytree(SHIPPED / "evidence", tmp_path / "evidence", ignore=shutil.ignore_patterns("lineage.json"))
    model = TransformersModel(other_base, adapters={"evidence": adapter})
    assert (await model.chat(HELLO, choices=["a", "b"], adapter="evidence")).text in ("a", "b")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"base_digest": null}'])
def test_provenance_without_a_base_digest_is_ignored(tmp_path, other_base, content):
    (tmp_path / "lineage.json").write_text(content)
    check_base("evidence", tmp_path, other_base)


@pytest.mark.parametrize("name", ["evidence", "answer"])
def test_the_shipped_adapters_belong_to_the_shipped_base_model(name):
    check_base(name, SHIPPED / name, SHIPPED / "vlm")


def test_unchanged_weights_are_hashed_once(other_base, monkeypatch):
    digest = cached_digest(other_base)
    monkeypatch.setattr(weights, "weights_digest", lambda folder: pytest.fail("hashed again"))
    assert cached_digest(other_base) == digest == weights_digest(other_base)


def test_changed_weights_of_the_same_size_are_hashed_again(other_base):
    digest, file = cached_digest(other_base), other_base / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert digest != cached_digest(other_base) == weights_digest(other_base)


@pytest.mark.parametrize("damage", ["folder", "content"])
def test_a_cache_that_cannot_be_used_changes_no_digest(other_base, cache_folder, damage):
    if damage == "folder":
        cache_folder.write_text("a file")
    else:
        cached_digest(other_base)
        (entry,) = (cache_folder / "digests").iterdir()
        entry.write_text('{"files": ')
    assert cached_digest(other_base) == weights_digest(other_base)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "pytorch_model-00002-of-00002.bin", "adapter_model.bin"]
)
@pytest.mark.parametrize("position", [0, 3 << 20, -1])
def test_the_name_of_a_model_changes_with_any_of_its_weights(tmp_path, name, position):
    folder = tmp_path / "vlm"
    folder.mkdir()
    content = bytearray(4 << 20)
    (folder / name).write_bytes(content)
    first = identity(folder)
    assert identity(folder) == first
    content[position] = 1
    (folder / name).write_bytes(content)
    os.utime(folder / name, ns=(1, 1))
    assert identity(folder) != first
    assert identity(folder).startswith("vlm@")


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_the_name_of_a_model_changes_with_its_config(other_base, name):
    first = identity(other_base)
    (other_base / name).write_text('{"lora_alpha": 32}')
    assert identity(other_base) != first


def test_optimizer_states_are_no_weights(other_base):
    first = identity(other_base), weights_digest(other_base)
    for name in ("optimizer.pt", "training_args.bin", "pytorch_model.bin"):  # safetensors are loaded if there are any
        (other_base / name).write_bytes(b"state")
    assert (identity(other_base), weights_digest(other_base)) == first


def test_a_relative_folder_has_a_name_of_its_own_and_a_hub_name_is_kept(other_base, monkeypatch):
    monkeypatch.chdir(other_base.parent)
    assert identity("vlm") == identity(other_base)
    assert identity("Qwen/Qwen3-VL-2B-Instruct") == "Qwen/Qwen3-VL-2B-Instruct"


def test_a_copy_of_a_model_has_the_same_name(other_base, tmp_path):
    assert identity(shutil.copytree(other_base, tmp_path / "copy" / "vlm")) == identity(other_base)
