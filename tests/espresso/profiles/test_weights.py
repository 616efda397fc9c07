"""Adapters load only with the weights that they were trained on, which are hashed once."""

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from espresso.errors import ModelError
from espresso.models import Message, TransformersModel
from espresso.profiles import weights
from espresso.profiles.weights import cached_digest, check_base, weights_digest

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
