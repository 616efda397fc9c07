"""Folders are used as they are; hub models come from the local cache or the hub."""

from fnmatch import fnmatch
from functools import partial

import huggingface_hub
import pytest
import requests
from huggingface_hub.errors import RepositoryNotFoundError

from espresso.errors import ModelError
from espresso.models.hub import cached, fetch


def test_a_folder_is_returned_as_it_is(tmp_path):
    assert fetch(str(tmp_path)) == str(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one model of the given files; returns the names of the downloaded ones."""

    def publish(*files):
        downloaded = set()

        def snapshot_download(source, allow_patterns):
            for file in files:
                if any(fnmatch(file, pattern) for pattern in allow_patterns):
                    (tmp_path / file).touch()
                    downloaded.add(file)
            return str(tmp_path)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return downloaded

    return publish


def test_pickles_are_not_downloaded_if_there_are_safetensors(hub, tmp_path):
    downloaded = hub("config.json", "model.safetensors", "pytorch_model.bin", "training_args.bin", "model.onnx")
    assert fetch("somebody/model") == str(tmp_path)
    assert downloaded == {"config.json", "model.safetensors"}


def test_the_pickle_of_a_model_without_safetensors_is_downloaded(hub):
    downloaded = hub("config.json", "pytorch_model.bin", "training_args.bin", "colbert_linear.pt")
    fetch("BAAI/bge-m3")
    assert downloaded == {"config.json", "pytorch_model.bin"}


def test_a_model_without_weights_that_can_be_loaded_is_reported(hub):
    hub("config.json", "model.onnx")
    with pytest.raises(ModelError, match=r"somebody/model: no weights .*pytorch_model.bin.* choose another model"):
        fetch("somebody/model")


def test_the_cache_of_this_machine_is_enough_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", partial(huggingface_hub.snapshot_download, cache_dir=tmp_path))
    repository = tmp_path / "models--somebody--model"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    for folder in (snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(snapshot.name)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights on this machine"):
        fetch("somebody/model")
    assert cached("somebody/model") is None
    (snapshot / "pytorch_model.bin").touch()
    assert fetch("somebody/model") == str(cached("somebody/model")) == str(snapshot)
    assert cached("somebody/other") is None


def test_an_unreachable_hub_model_is_reported_with_its_size():
    with pytest.raises(ModelError, match=r"nobody/model-2B: this model \(4.3 GB to download\) .* `hf download nobody/model-2B`"):
        fetch("nobody/model-2B", "4.3 GB")


def test_a_model_that_the_hub_does_not_have_is_reported(monkeypatch):
    def missing(name, allow_patterns):
        raise RepositoryNotFoundError("404", response=requests.Response())

    monkeypatch.setattr(huggingface_hub, "snapshot_download", missing)
    with pytest.raises(ModelError, match=r"nobody/model: not found .* `hf auth login`"):
        fetch("nobody/model")
    with pytest.raises(ModelError, match="not a name: not found"):
        fetch("not a name")
