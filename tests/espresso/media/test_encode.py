"""Encoding of videos and `data:` URLs."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from media_clips import numbered
from PIL import Image

from espresso import media
from espresso.errors import MediaError


def test_interrupted_video_leaves_no_file(tmp_path: Path):
    def interrupted():
        yield from numbered(5)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        media.write_video(tmp_path / "clip.mp4", interrupted(), 10)
    assert not list(tmp_path.iterdir())


def test_index_is_at_the_front(tmp_path: Path):
    media.write_video(tmp_path / "clip.mp4", iter(numbered(20)), 10)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    "frames",
    [[], [np.zeros((5, 8, 3), np.uint8)], [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)]],
)
def test_invalid_frames_are_rejected(tmp_path: Path, frames: list[np.ndarray]):
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        media.write_video(tmp_path / "clip.mp4", frames, 10)
    assert not list(tmp_path.iterdir())


def test_data_url_is_lossless_for_drawings_and_jpeg_for_photographs():
    drawing = np.full((224, 224, 3), 200, np.uint8)
    drawing[50:90, 60:100] = (250, 20, 20)
    photograph = np.asarray(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)).resize((224, 224))
    )
    for pixels, kind, error in ((drawing, "png", 0), (photograph, "jpeg", 3)):
        head, data = media.data_url(pixels).split(",")
        assert head == f"data:image/{kind};base64"
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert np.abs(decoded.astype(int) - pixels).mean() <= error


def test_thumbnail_is_small_and_similar():
    photograph = np.asarray(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((160, 120))
    )
    head, data = media.thumbnail_url(photograph).split(",")
    assert head == "data:image/webp;base64"
    assert len(data) < len(media.data_url(photograph)) / 2
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert np.abs(decoded.astype(int) - photograph).mean() < 10
