"""Files opened with limits: what is too large is refused, and only the decoder processes read it."""

import io
import os
import signal

import numpy as np
import pytest
from PIL import Image

from espresso import media
from espresso.errors import MediaError
from espresso.media import Limits
from espresso.media.process import decoder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.write_video(path, [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(20)], 10)
    return path


def encoded(kind, size=(64, 48), frames=1):
    file = io.BytesIO()
    images = [Image.new("RGB", size, (80 * number, 0, 200)) for number in range(frames)]
    images[0].save(file, kind, save_all=frames > 1, append_images=images[1:], duration=100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(max_bytes=100), "0.0 MB"),
        (Limits(max_pixels=64 * 48 - 1), "64x48 pixels"),
        (Limits(max_seconds=1.9), "2.0 s"),
        (Limits(max_frames=19), "20 frames"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(clip, limits, what):
    with pytest.raises(MediaError, match=f"upload.mp4: .*{what}.* more than the limit"):
        media.open(clip, limits=limits, name="upload.mp4")


@pytest.mark.parametrize(
    ("content", "limits", "what"),
    [
        (encoded("PNG"), Limits(max_bytes=10), "0.0 MB"),
        (encoded("PNG"), Limits(max_pixels=64 * 48 - 1), "64x48 pixels"),
        (encoded("GIF", frames=3), Limits(max_frames=2), "3 frames"),
        (encoded("WEBP", frames=3), Limits(max_seconds=0.2), "0.3 s"),
    ],
)
def test_a_picture_beyond_a_limit_is_refused(content, limits, what):
    with pytest.raises(MediaError, match=f"{what}.* more than the limit"):
        media.open(content, limits=limits)


def test_a_picture_of_too_many_pixels_is_not_decoded():
    header = encoded("PNG", (5_000, 5_000))[:100]  # nothing of its pixels is there
    with pytest.raises(MediaError, match="5000x5000 pixels"):
        media.open(header, limits=Limits())


@pytest.mark.parametrize("content", [encoded("PNG"), encoded("GIF", frames=3), encoded("AVIF"), encoded("TIFF")])
def test_pictures_with_limits_are_read_as_without(content):
    limited, free = media.open(content, limits=Limits()), media.open(content)
    assert limited.visual.model_copy(update={"source": ""}) == free.visual.model_copy(update={"source": ""})
    positions = range(len(free.times))
    assert (limited.decode(positions, size=32) == free.decode(positions, size=32)).all()


def test_a_video_with_limits_is_read_as_without(clip):
    limited, free = media.open(clip, limits=Limits()), media.open(clip)
    assert limited.visual == free.visual
    assert (limited.decode([0, 19]) == free.decode([0, 19])).all()


def test_decoding_that_takes_too_long_is_ended(clip):
    opened = media.open(clip, limits=Limits(decode_s=1))
    for pid in decoder.pids:
        os.kill(pid, signal.SIGSTOP)  # a decoder that hangs
    with pytest.raises(MediaError, match="longer than the limit of 1 s"):
        opened.decode([0])
    for pid in decoder.pids:
        os.kill(pid, signal.SIGCONT)
    assert len(media.open(clip, limits=Limits()).decode([0])) == 1


def test_a_picture_with_limits_is_not_decoded_in_this_process(monkeypatch):
    monkeypatch.setattr(Image, "open", None)  # a crash of the image library, in this process
    assert media.open(CONTENT, limits=Limits()).decode([0]).shape == (1, 48, 64, 3)


CONTENT = encoded("PNG")
