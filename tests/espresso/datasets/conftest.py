"""A small video, the files of a dataset around it, and a cache folder for clips of the world."""

import json
import shutil

import numpy as np
import pytest

from espresso import media
from espresso.datasets import DatasetFiles


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def environment(cache_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(cache_folder))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A video of 30 frames at 10 fps, 64 x 48; frame n has the grey value 8 n."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    media.write_video(path, (np.full((48, 64, 3), 8 * number, np.uint8) for number in range(30)), 10)
    return path


@pytest.fixture
def files(tmp_path, video):
    """Write the file of a dataset, and copies of the video under the given names in the folder `videos`."""

    def write(content, name, *videos):
        folder = tmp_path / "videos"
        folder.mkdir(exist_ok=True)
        for each in videos:
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, folder / each)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return DatasetFiles(tmp_path / name, folder)

    return write


@pytest.fixture
def frame_number():
    """Return the function that tells which frame of `video` a frame reference decodes to."""
    return lambda frame: round(float(frame.pixels(64).mean()) / 8)
