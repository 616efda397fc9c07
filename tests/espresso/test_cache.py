"""The cache: entries persist, keys are exact, and an unusable cache never raises."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import diskcache
import pytest

from espresso.cache import Cache, CachedCaption, CaptionKey, ReplyKey, SamplingKey, default_folder

KEY = CaptionKey(digest="d" * 64, frame=7, size=224, model="tiny@1", prompt="abc")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_captions_persist(folder):
    Cache(folder).put_captions({KEY: CachedCaption("a red square", 27, 5, 16)})
    assert Cache(folder).captions([KEY]) == {KEY: CachedCaption("a red square", 27, 5, 16)}


@pytest.mark.parametrize(
    "change", [{"digest": "e"}, {"frame": 8}, {"size": 448}, {"model": "tiny@2"}, {"prompt": "abd"}, {"view": '{"crop": false}'}]
)
def test_every_part_of_the_key_matters(folder, change):
    cache = Cache(folder)
    cache.put_captions({KEY: CachedCaption("a red square", 27, 5, 16)})
    assert cache.captions([KEY._replace(**change)]) == {}


def test_unknown_captions_are_left_out(folder):
    cache, other = Cache(folder), KEY._replace(frame=8)
    cache.put_captions({KEY: CachedCaption("a red square", 27, 5, 16)})
    assert list(cache.captions([KEY, other])) == [KEY]


def test_sampling_is_returned_unchanged(folder):
    key = SamplingKey("d", "adaptive-16", 224)
    Cache(folder).put_sampling(key, {"frames": [[0, 0.0], [12, 0.5]], "note": None})
    assert Cache(folder).sampling(key) == {"frames": [[0, 0.0], [12, 0.5]], "note": None}
    assert Cache(folder).sampling(key._replace(plan="uniform-8")) is None


@pytest.mark.parametrize(
    "value",
    [
        ["<think>\nThe user asks", 27, 5, 16],
        ["A ball?</think>a red ball", 27, 9, 16],
        ["", 27, 5, 16],
        ["a red square on a", 27, 128, 16],  # cut off
        ["a red square on a", 27, 0, 0],  # by a server that reports no usage
        ["a red square on a blue square on a", 27, 3, 16],  # by one whose usage is made up
    ],
)
def test_captions_of_earlier_versions_that_were_not_complete_are_ignored(folder, value):
    with diskcache.Cache(str(folder), disk=diskcache.JSONDisk) as store:
        store.set(["captioned", *KEY[:-1]], value)
    cache = Cache(folder)
    assert cache.captions([KEY]) == {}
    cache.put_captions({KEY: CachedCaption(*value)})  # today's callers cache complete replies only
    assert cache.captions([KEY]) == {KEY: CachedCaption(*value)}


def _put_many(folder, writer):
    Cache(folder).put_captions({KEY._replace(frame=index): CachedCaption(f"{writer}") for index in range(50)})


def test_processes_can_write_concurrently(folder):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_many, args=(folder, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(Cache(folder).captions([KEY._replace(frame=index) for index in range(50)])) == 50


def test_unusable_folder_is_an_empty_cache_with_a_note(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    cache = Cache(tmp_path / "file")
    cache.put_captions({KEY: CachedCaption("a red square", 27, 5, 16)})
    assert cache.captions([KEY]) == {}
    assert "ESPRESSO_CACHE" in cache.error_note


def test_damaged_database_is_an_empty_cache_with_a_note(folder):
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"this is not SQLite" * 100)
    cache = Cache(folder)
    assert cache.captions([KEY]) == {}
    assert cache.error_note


def test_folder_can_be_set_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path))
    assert default_folder() == tmp_path


def test_reply_persists_per_seed(folder):
    key = ReplyKey("judge@1", "p" * 64, 0.2, 0)
    Cache(folder).put_reply(key, "7")
    assert Cache(folder).reply(key) == "7"
    assert Cache(folder).reply(key._replace(seed=1)) is None


def test_entries_of_earlier_versions_are_read(folder):
    """Their captions have no view."""
    with diskcache.Cache(str(folder), disk=diskcache.JSONDisk) as store:
        store.set(["captioned", *KEY[:-1]], ["a red square", 27, 5, 16])
        store.set(["sampling", "d", "adaptive-16", 224], {"frames": [[0, 0.0]], "note": None})
        store.set(["reply", "judge@1", "p", 0.2, 0], "7")
    cache = Cache(folder)
    assert cache.captions([KEY]) == {KEY: CachedCaption("a red square", 27, 5, 16)}
    assert cache.sampling(SamplingKey("d", "adaptive-16", 224)) == {"frames": [[0, 0.0]], "note": None}
    assert cache.reply(ReplyKey("judge@1", "p", 0.2, 0)) == "7"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders exist on Linux only")
def test_default_folder_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("ESPRESSO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path.home() / ".cache" / "espresso"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "espresso"


def test_without_a_home_the_default_folder_is_a_temporary_one(monkeypatch):
    for name in ("ESPRESSO_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: (_ for _ in ()).throw(KeyError(user)))
    assert default_folder() == Path(tempfile.gettempdir()) / f"espresso-{os.getuid()}"
    monkeypatch.setenv("ESPRESSO_CACHE", "~/cache")
    assert default_folder() == Path("~/cache")
