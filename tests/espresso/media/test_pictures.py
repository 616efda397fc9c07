"""Image files: orientation, HEIC, colour depth, pages, animations and transparency."""

import hashlib
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, numbered, quadrants
from PIL import Image

from espresso import media
from espresso.errors import MediaError

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda picture: picture,
    2: np.fliplr,
    3: lambda picture: np.rot90(picture, 2),
    4: np.flipud,
    5: lambda picture: picture.swapaxes(0, 1),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: np.rot90(picture.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""How to make a picture upright, by its EXIF orientation."""


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "heif", "avif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_is_upright(tmp_path: Path, kind: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if kind == "tiff" else {"exif": exif.tobytes()}
    Image.fromarray(quadrants(128, 96)).save(tmp_path / "photo", kind, quality=95, **options)
    picture = media.open(tmp_path / "photo")
    expected = UPRIGHT[orientation](quadrants(128, 96))
    assert (picture.visual.kind, picture.height, picture.width) == ("image", *expected.shape[:2])
    assert np.abs(picture.decode([0])[0].astype(int) - expected).mean() < 4


def save_heic(path: Path, size: tuple[int, int] = (640, 480), **options: object) -> Path:
    Image.fromarray(quadrants(*size)).save(path, "HEIF", **options)
    return path


@pytest.mark.parametrize("brand", [None, b"mif1", b"heix", b"hevc", b"msf1"])
def test_a_tiled_photograph_is_read_fully(tmp_path: Path, brand: bytes | None):
    path = save_heic(tmp_path / "photo.heic", tile_size=128)
    data = bytearray(path.read_bytes())
    assert b"grid" in data
    data[8:12] = brand or data[8:12]
    for source in (path, bytes(data)):
        picture = media.open(source)
        assert (picture.visual.kind, picture.width, picture.height) == ("image", 640, 480)
        assert np.abs(picture.decode([0])[0].astype(int) - quadrants(640, 480)).mean() < 4
    assert media.open(path).digest != hashlib.sha256(path.read_bytes()).hexdigest(), "its cached captions were of one tile"


@pytest.mark.parametrize("brand", ["miaf", "avci", "heic"])
def test_a_photograph_that_cannot_be_read_is_refused_by_brand(tmp_path: Path, brand: str):
    data = bytearray(save_heic(tmp_path / "photo.heic", tile_size=128).read_bytes())
    data[8:12] = brand.encode()
    if brand == "heic":
        data = data.replace(b"pitm", b"junk")
    with pytest.raises(MediaError, match=rf"HEIF or AVIF image \(brand '{brand}'\)"):
        media.open(bytes(data))


def test_half_a_photograph_is_damaged(tmp_path: Path):
    data = save_heic(tmp_path / "photo.heic", tile_size=128).read_bytes()
    for share in (0.3, 0.6, 0.99):
        with pytest.raises(MediaError, match="damaged"):
            media.open(data[: int(share * len(data))])


def test_the_primary_picture_of_several_is_read(tmp_path: Path):
    shades = [Image.new("RGB", (64, 48), colour) for colour in ("black", "grey", "white")]
    shades[0].save(tmp_path / "burst.heic", "HEIF", save_all=True, append_images=shades[1:], primary_index=2)
    with pytest.warns(UserWarning, match="it holds 3 pictures; the primary one is read"):
        picture = media.open(tmp_path / "burst.heic")
    assert picture.decode([0]).min() > 250
    assert picture.decode([0], size=10).min() > 250


def test_an_image_sequence_in_heic_is_a_video(tmp_path: Path):
    with av.open(str(tmp_path / "burst.mp4"), "w") as container:
        stream = container.add_stream("libx265", rate=10, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for pixels in numbered(6, height=64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray((tmp_path / "burst.mp4").read_bytes().replace(b"vide", b"pict"))
    data[8:12] = b"hevc"
    clip = media.open(bytes(data))
    assert clip.visual.kind == "video"
    assert [number_of(frame) for frame in clip.decode([5, 0])] == [5, 0]


GREY = np.linspace(8000, 24000, 64 * 48).reshape(48, 64)
"""Values of 16 bits in a dark, narrow range."""


def grey_images() -> dict[str, tuple[Image.Image, str, dict[str, object]]]:
    deep = Image.fromarray(GREY.astype(np.uint16))
    return {
        "PNG": (deep, "PNG", {}),
        "PNG with a transparent value": (deep, "PNG", {"transparency": 1}),
        "TIFF": (deep, "TIFF", {}),
        "white is zero": (Image.fromarray((65535 - GREY).astype(np.uint16)), "TIFF", {"tiffinfo": {262: 0}}),
        "PGM": (deep, "PPM", {}),
        "JPEG 2000": (deep, "JPEG2000", {}),
        "32 bits": (Image.fromarray(GREY.astype(np.int32)), "TIFF", {}),
        "floats up to 1": (Image.fromarray((GREY / 65535).astype(np.float32)), "TIFF", {}),
        "floats of 16 bits": (Image.fromarray(GREY.astype(np.float32)), "TIFF", {}),
    }


@pytest.mark.parametrize("name", grey_images())
def test_more_than_8_bits_keep_their_absolute_range(name: str):
    image, kind, options = grey_images()[name]
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    pixels = media.open(buffer.getvalue()).decode([0])[0]
    assert np.abs(pixels.astype(float) - GREY[:, :, None] / 257).max() <= 1.5


def test_an_open_image_of_16_bits_keeps_its_absolute_range():
    pixels = media.open(Image.fromarray(GREY.astype(np.uint16))).decode([0])[0]
    assert np.abs(pixels.astype(float) - GREY[:, :, None] / 257).max() <= 1.5


def test_values_without_a_defined_range_are_stretched_with_a_note():
    buffer = BytesIO()
    Image.fromarray(np.linspace(-500, 3000, 64, dtype=np.float32).reshape(8, 8)).save(buffer, "TIFF")
    with pytest.warns(UserWarning, match="its values have no defined range"):
        pixels = media.open(buffer.getvalue()).decode([0])
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_nan_in_an_image_is_black():
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0] = np.nan
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    pixels = media.open(buffer.getvalue()).decode([0])[0]
    assert (pixels[0, 0].max(), pixels[1, 1].max()) == (0, 128)


def test_16_bit_colours_cmyk_and_transparent_palettes_are_read(tmp_path: Path):
    picture = Image.fromarray(quadrants())
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    picture.convert("CMYK").save(tmp_path / "cmyk.tiff")
    picture.quantize(8).save(tmp_path / "palette.png")
    deep = b"P6 64 48 65535\n" + (quadrants().astype(">u2") * 257).tobytes()
    for source in (tmp_path / "cmyk.jpg", tmp_path / "cmyk.tiff", tmp_path / "palette.png", deep):
        assert np.abs(media.open(source).decode([0])[0].astype(int) - quadrants()).mean() < 4
    palette = picture.quantize(8)
    palette.save(tmp_path / "alpha.png", transparency=bytes(8))
    assert media.open(tmp_path / "alpha.png").decode([0]).min() == 255


def test_the_first_full_page_of_a_tiff_is_read(tmp_path: Path):
    thumbnail = Image.new("RGB", (8, 8))
    pages = [Image.new("RGB", (64, 48), "white"), Image.new("RGB", (64, 48), "red")]
    for each, kind in ((thumbnail, 1), (pages[0], 0), (pages[1], 2)):
        each.encoderinfo = {"tiffinfo": {254: kind}}
    thumbnail.save(tmp_path / "scan.tiff", save_all=True, append_images=pages, tiffinfo={254: 1})
    with pytest.warns(UserWarning, match="it has 2 pages; the first one is read"):
        scan = media.open(tmp_path / "scan.tiff")
    assert (scan.width, scan.height) == (64, 48)
    assert scan.decode([0]).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"junk", b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40, b""])
def test_damaged_exif_data_is_ignored(kind: str, exif: bytes):
    buffer = BytesIO()
    Image.fromarray(quadrants()).save(buffer, kind, exif=b"Exif\0\0" + exif)
    assert media.open(buffer.getvalue()).decode([0]).shape == (1, 48, 64, 3)


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


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_animated_image_is_a_video(tmp_path: Path, kind: str):
    frames = [Image.fromarray(frame) for frame in numbered(6)]
    frames[0].save(
        tmp_path / f"animation.{kind}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 100, 100, 100, 100],
        **{"avif": {"quality": 100}}.get(kind, {"lossless": True}),
    )
    clip = media.open(tmp_path / f"animation.{kind}")
    assert clip.visual.kind == "video"
    assert clip.times == pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6])
    assert [number_of(frame) for frame in clip.decode([5, 1])] == [5, 1]


def test_the_picture_before_an_animation_is_not_part_of_it(tmp_path: Path):
    frames = [Image.fromarray(frame) for frame in numbered(4)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=100, default_image=True)
    clip = media.open(tmp_path / "a.png")
    assert clip.times == pytest.approx([0, 0.1, 0.2])
    assert [number_of(frame) for frame in clip.decode([0, 2])] == [1, 3]


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_half_an_animation_is_damaged(tmp_path: Path, kind: str):
    noise = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)
    frames = [Image.fromarray(frame) for frame in noise]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
    data = (tmp_path / f"a.{kind}").read_bytes()
    with pytest.raises(MediaError, match="damaged"):
        media.open(data[: len(data) * 3 // 5])


def test_an_animation_that_ends_between_two_frames_has_a_note():
    frames, buffer = [Image.fromarray(frame) for frame in numbered(6)], BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    data = buffer.getvalue()
    assert media.open(data).note is None
    fourth = [place for place in range(len(data)) if data.startswith(b"\x21\xf9\x04", place)][3]  # its control block
    with pytest.warns(UserWarning, match="truncated"):
        clip = media.open(data[:fourth])
    assert len(clip.times) == 3


def test_an_image_is_read_after_the_working_folder_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_heic(tmp_path / "photo.heic")
    monkeypatch.chdir(tmp_path)
    picture = media.open("photo.heic")
    shutil.copytree(tmp_path, tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    (tmp_path / "other" / "photo.heic").unlink()
    assert picture.decode([0]).shape == (1, 480, 640, 3)
