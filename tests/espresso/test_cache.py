"""Captions outlive the process that made them, belong to exactly one frame, model and prompt, and never stand in the way."""

import multiprocessing
import sys
from pathlib import Path

import pytest

from espresso.cache import Cache, CaptionKey, Kept, SamplingKey, default_folder

KEY = CaptionKey(digest="d" * 64, frame=7, size=224, model="tiny@1", prompt="abc")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_a_caption_is_there_for_whoever_opens_the_folder_next(folder):
    Cache(folder).keep_captions({KEY: Kept("a red square", 27, 5, 16)})
    assert Cache(folder).captions([KEY]) == {KEY: Kept("a red square", 27, 5, 16)}


@pytest.mark.parametrize("change", [{"digest": "e"}, {"frame": 8}, {"size": 448}, {"model": "tiny@2"}, {"prompt": "abd"}])
def test_another_frame_size_model_or_prompt_is_another_caption(folder, change):
    cache = Cache(folder)
    cache.keep_captions({KEY: Kept("a red square", 27, 5, 16)})
    assert cache.captions([KEY._replace(**change)]) == {}


def test_only_the_known_captions_come_back(folder):
    cache, other = Cache(folder), KEY._replace(frame=8)
    cache.keep_captions({KEY: Kept("a red square", 27, 5, 16)})
    assert list(cache.captions([KEY, other])) == [KEY]


def test_a_sampling_comes_back_as_it_was(folder):
    key = SamplingKey("d", "adaptive-16", 224)
    Cache(folder).keep_sampling(key, {"frames": [[0, 0.0], [12, 0.5]], "note": None})
    assert Cache(folder).sampling(key) == {"frames": [[0, 0.0], [12, 0.5]], "note": None}
    assert Cache(folder).sampling(key._replace(plan="uniform-8")) is None


def _keep_many(folder, writer):
    Cache(folder).keep_captions({KEY._replace(frame=index): Kept(f"{writer}") for index in range(50)})


def test_processes_write_at_the_same_time(folder):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_keep_many, args=(folder, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(Cache(folder).captions([KEY._replace(frame=index) for index in range(50)])) == 50


def test_a_folder_that_cannot_be_used_is_an_empty_cache_that_says_why(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.keep_captions({KEY: Kept("a red square", 27, 5, 16)})
    assert cache.captions([KEY]) == {}
    assert "ESPRESSO_CACHE" in cache.trouble


def test_a_damaged_store_is_an_empty_cache_that_says_why(folder):
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"this is not SQLite" * 100)
    cache = Cache(folder)
    assert cache.captions([KEY]) == {}
    assert cache.trouble


def test_the_environment_chooses_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path))
    assert default_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is for Linux")
def test_without_it_the_users_cache_folder_is_taken(monkeypatch):
    monkeypatch.delenv("ESPRESSO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path.home() / ".cache" / "espresso"
