"""What a file is, by its content: documents are named, and no still image is read as a video."""

import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from media_clips import quadrants
from PIL import Image

from espresso import media
from espresso.errors import MediaError


def image(kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(quadrants()).save(buffer, kind, **options)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("word/media/image1.jpeg", image("JPEG"))
    return buffer.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4) + kind + content


OTHERS = {
    "an HTML page": b"<!DOCTYPE html><html><title>Sign in</title></html>",
    "an HTML page ": b"\xef\xbb\xbf\n<!-- saved page -->\n<HTML lang=en><head>",
    "an HTML page  ": "<html><body>moved</body></html>".encode("utf-16"),
    "an HTML or XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a git-annex pointer": b"/annex/objects/SHA256E-s1--4d7a.mp4\n",
    "an SVG drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "an SVG drawing ": b'<?xml version="1.0"?><!-- drawn --><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg/>',
    "a JSON document": json.dumps({"error": "not found"}).encode(),
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nclip.ts\n",
    "a list of addresses (MPEG-DASH)": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
    "a subtitle file": b"1\n00:00:01,000 --> 00:00:02,000\nHello.\n",
    "a text file": b"P6 is a camera, BM a brand of cars\n",
    "a Targa (TGA) image": image("TGA"),
    "a Targa (TGA) image ": image("TGA", compression="tga_rle"),
    "a PCX image": image("PCX"),
    "an SGI image": image("SGI"),
    "a DirectDraw texture": image("DDS"),
    "a Photoshop image": b"8BPS\0\1" + bytes(100),
    "a JPEG XL image": b"\xff\x0a" + bytes(100),
    "a JPEG XL image ": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
    "a PostScript document": image("EPS"),
    "a PDF document": image("PDF"),
    "a PDF document ": b"junk before it\n" + image("PDF"),
    "a ZIP archive or an Office document": archive(),
    "a gzip archive": gzip.compress(image("JPEG")),
    "a raw photograph (Canon CR3)": box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", bytes(100)),
    "a raw photograph (Canon CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
    "a raw photograph (Fujifilm)": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "a raw photograph": image("TIFF", tiffinfo={50706: b"\1\4\0\0"}),  # DNG: the version
    "a raw photograph ": image("TIFF", tiffinfo={254: 1, 330: 8}),  # NEF, ARW: a thumbnail and sub-IFDs
}
"""Files by what they are. Several are the same kind: their names end in spaces."""


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ending", ["mp4", "jpg"])
def test_a_file_that_is_neither_image_nor_video_is_named(tmp_path: Path, name: str, ending: str):
    (tmp_path / f"file.{ending}").write_bytes(OTHERS[name])
    for source in (tmp_path / f"file.{ending}", OTHERS[name]):
        with pytest.raises(MediaError) as error:
            media.open(source)
        assert f"it is {name.strip()}, not a video or a supported image. " in str(error.value)
        assert str(error.value).count("\n") == 0


def test_an_unknown_document_with_a_photograph_is_no_video():
    with pytest.raises(MediaError, match="not a video"):
        media.open(b"\x11\x22\x33\x44" * 64 + image("JPEG") * 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "JPEG2000"])
def test_an_image_that_pillow_cannot_read_is_no_video(kind: str):
    with pytest.raises(MediaError, match="damaged"):
        media.open(image(kind)[:40] + b"junk" * 200)


def test_images_and_videos_with_a_header_of_text_are_read():
    assert media.open(b"P3\n# white\n2 1\n255\n255 255 255  255 255 255\n").decode([0]).min() == 255
    video = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + b"A" * 64 * 48 * 3 // 2 if False else b"")
    assert video


def test_an_ending_says_nothing(tmp_path: Path):
    (tmp_path / "photo.mp4").write_bytes(image("PNG"))
    assert media.open(tmp_path / "photo.mp4").visual.kind == "image"
    media.write_video(tmp_path / "clip.mp4", [quadrants()] * 3, 5)
    (tmp_path / "clip.jpg").write_bytes((tmp_path / "clip.mp4").read_bytes())
    assert media.open(tmp_path / "clip.jpg").visual.kind == "video"


def test_motion_jpeg_is_a_video_and_a_photograph_with_data_behind_it_is_not():
    shades = [Image.fromarray(np.full((48, 64, 3), 40 * number, np.uint8)) for number in range(6)]
    data = []
    for shade in shades:
        buffer = BytesIO()
        shade.save(buffer, "JPEG")
        data.append(buffer.getvalue())
    clip = media.open(b"".join(data))
    assert [round(float(frame.mean()) / 40) for frame in clip.decode(range(6))] == [0, 1, 2, 3, 4, 5]
    assert media.open(data[0] + b"ftyp" * 1000).visual.kind == "image"
    assert media.open(data[0] + data[1]).visual.kind == "image"
