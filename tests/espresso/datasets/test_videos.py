"""The videos that rows name, in folders as people have them."""

import os
import unicodedata
from pathlib import Path

import pytest

from espresso.datasets.videos import VideoFolder
from espresso.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Create empty files, and return the folder that holds them."""

    def create(*names):
        for name in names:
            (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "videos" / name).touch()
        return tmp_path / "videos"

    return create


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.mp4", "x/a.mp4"),
        ("a", "x/a.mp4"),
        ("a.avi", "x/a.mp4"),
        ("a.MP4", "x/a.mp4"),
        ("x/b.mp4", "x/b.mp4"),
        ("x\\b.mp4", "x/b.mp4"),
        ("./x/b", "x/b.mp4"),
        ("y/b.mp4", "deep/y/b.mp4"),
        ("all/x/a.mp4", "x/a.mp4"),
        ("y/a.mp4", None),
        ("y/d.mp4", "d.mp4"),
        ("b.mp4", None),
        ("c.mp4", None),
        ("e.f", "x/e.f.mkv"),
        ("n" * 300, None),
        ("x", None),
    ],
)
def test_a_video_is_found_by_as_much_of_its_path_as_the_row_has(folder, name, path):
    root = folder("x/a.mp4", "x/b.mp4", "deep/y/b.mp4", "d.mp4", "x/e.f.mkv")
    assert VideoFolder(root).find(name) == (path and root / path)


@pytest.mark.parametrize(
    "suffix", ["MP4", "MoV", "ts", "mts", "m4v", "mpg", "mpeg", "wmv", "flv", "3gp", "ogv", "vob", "gif", "mkv"]
)
def test_a_video_may_have_any_ending_that_can_be_decoded(folder, suffix):
    root = folder(f"part/a.{suffix}", "part/a.json", "part/a.srt", "part/a.jpg")
    assert VideoFolder(root).find("a") == VideoFolder(root).find("a.mp4") == root / f"part/a.{suffix}"


def test_the_segment_of_a_part_of_a_video_stays_at_the_end_of_its_path(folder):
    root = folder("x/a.mp4", "y/odd#t=1.mp4", "y/odd#t=4,6", "z/b.mp4", "w/b.mp4")
    videos = VideoFolder(root)
    assert videos.find("a.avi#t=4,6") == root / "x/a.mp4#t=4,6"
    assert videos.get("a#t=,6") == f"{root}/x/a.mp4#t=,6"
    assert videos.find("odd#t=1") == root / "y/odd#t=1.mp4"
    assert videos.find("y/odd#t=4,6") == root / "y/odd#t=4,6"
    assert videos.find("gone.mp4#t=4,6") is None
    assert videos.absent("gone.mp4#t=4,6") == "gone.mp4"
    assert videos.absent("b.mp4#t=4,6").startswith("b.mp4 (2 files have this name: ")
    with pytest.raises(ValueError, match=r"^gone\.mp4 is not in "):
        videos.get("gone.mp4#t=4,6")


def test_linked_folders_are_searched_and_circles_end(folder, tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "a.mp4").touch()
    root = folder("b.mp4")
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "again").symlink_to(root)
    (root / "b-too.mp4").symlink_to(root / "b.mp4")
    videos = VideoFolder(root)
    assert videos.find("a") == root / "linked" / "deep" / "a.mp4"
    assert videos.find("b") == root / "b.mp4"
    assert videos.find("b-too") == root / "b-too.mp4"


def test_a_broken_link_and_a_folder_of_the_name_are_missing(folder):
    root = folder("x/b.mp4")
    (root / "x" / "a.mp4").symlink_to(root / "gone.mp4")
    (root / "c.mp4").mkdir()
    (root / "x" / "b.mov").mkdir()
    videos = VideoFolder(root)
    assert [videos.find(name) for name in ("a", "a.mp4", "x/a.mp4", "c", "c.mp4")] == [None] * 5
    assert videos.find("b") == root / "x" / "b.mp4"


def test_two_files_of_one_name_are_reported_as_that(folder):
    videos = VideoFolder(folder("x/a.mp4", "y/a.mp4", "x/b.mp4", "x/b.mkv"))
    assert videos.find("a") is None
    assert videos.absent("a") == "a (2 files have this name: x/a.mp4, y/a.mp4; keep one)"
    assert videos.absent("c") == "c"
    with pytest.raises(ValueError, match=r"b \(2 files have this name: x/b\.mkv, x/b\.mp4; keep one\)"):
        videos.get("b")
    with pytest.raises(ValueError, match="c is not in"):
        videos.get("c")
    assert videos.find("b.mkv").name == "b.mkv"
    assert videos.find("y/a").parent.name == "y"


def test_one_file_under_two_names_is_one_file(folder):
    root = folder("x/a.mp4")
    (root / "y").mkdir()
    (root / "y" / "a.mp4").symlink_to(root / "x" / "a.mp4")
    assert VideoFolder(root).find("a") == root / "x" / "a.mp4"


def test_images_are_found_and_do_not_stand_for_videos(folder):
    root = folder("x/a.JPG", "x/b.png", "x/b.mp4")
    videos = VideoFolder(root)
    assert videos.find("a.jpg") == root / "x" / "a.JPG"
    assert videos.find("a") is None
    assert videos.find("b") == root / "x" / "b.mp4"


def test_accents_may_be_written_in_two_ways(folder):
    root = folder("x/" + unicodedata.normalize("NFD", "café.mp4"))
    assert VideoFolder(root).find(unicodedata.normalize("NFC", "café.mp4")) is not None


def test_a_folder_whose_name_is_not_utf8_is_searched(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    (root / "x").mkdir(parents=True)
    (root / "x" / "a.mp4").touch()
    assert VideoFolder(root).find("a") == root / "x" / "a.mp4"


def test_a_file_is_not_a_folder(folder):
    root = folder("a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: it is a file"):
        VideoFolder(root / "a.mp4")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        VideoFolder(root / "nowhere")
