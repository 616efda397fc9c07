"""Image files, animations and transparency."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from media_clips import number_of, numbered
from PIL import Image

from espresso import media


def test_image_is_a_video_of_one_upright_frame(tmp_path: Path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    picture = media.open(tmp_path / "photo.jpg")
    visual = picture.visual
    assert (visual.kind, visual.width, visual.height, visual.frame_count, visual.duration) == ("image", 40, 60, 1, 0)
    assert list(picture.times) == [0]
    sampled = media.sample(picture, media.adaptive(16), size=30)
    assert sampled.pixels.shape == (1, 30, 20, 3)
    assert sampled.pixels[0, :, 15:].mean() > 240
    assert sampled.pixels[0, :, :5].mean() < 20


def test_transparent_parts_become_white():
    buffer = BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(buffer, "PNG")
    assert media.open(buffer.getvalue()).decode([0]).min() == 255


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animated_image_is_a_video(tmp_path: Path, kind: str):
    frames = [Image.fromarray(frame) for frame in numbered(6)]
    frames[0].save(
        tmp_path / f"animation.{kind}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 100, 100, 100, 100],
        lossless=True,
    )
    clip = media.open(tmp_path / f"animation.{kind}")
    assert clip.visual.kind == "video"
    assert clip.times == pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6])
    assert [number_of(frame) for frame in clip.decode([5, 1])] == [5, 1]
