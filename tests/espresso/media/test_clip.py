"""Opening and decoding: what `media.open` accepts, what `Media` returns, and its errors."""

import hashlib
import os
import shutil
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, numbered
from PIL import Image

from espresso import media
from espresso.errors import MediaError


def one_sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.endswith(".")
    return text


def test_a_clip_is_probed(clip_path: Path):
    visual = media.open(clip_path).visual
    assert (visual.kind, visual.width, visual.height, visual.frame_count) == ("video", 64, 48, 150)
    assert visual.duration == pytest.approx(10)
    assert visual.fps == pytest.approx(15)
    assert visual.digest == hashlib.sha256(clip_path.read_bytes()).hexdigest()


def test_decode_returns_frames_in_the_requested_order(clip_path: Path):
    clip = media.open(clip_path)
    for wanted in ([149, 0, 75], [3], list(range(150)), [10, 10], list(range(0, 150, 2))):
        assert [number_of(frame) for frame in clip.decode(wanted)] == wanted


def test_size_is_longest_side_or_width_and_height(clip_path: Path):
    clip = media.open(clip_path)
    assert clip.decode([0], size=32).shape == (1, 24, 32, 3)
    assert clip.decode([0], size=(20, 40)).shape == (1, 40, 20, 3)
    assert clip.decode([0], size=1000).shape == (1, 48, 64, 3), "small pictures are not enlarged"
    assert clip.decode([]).shape == (0, 48, 64, 3)


@pytest.mark.parametrize("wrong", [-1, 150])
def test_index_out_of_range_is_an_error(clip_path: Path, wrong: int):
    with pytest.raises(MediaError, match=rf"no frame {wrong} \(its frames are 0 to 149\)"):
        media.open(clip_path).decode([0, wrong])


def test_bytes_open_like_their_file(clip_path: Path):
    from_bytes, from_file = media.open(clip_path.read_bytes()), media.open(clip_path)
    assert from_bytes.digest == from_file.digest
    assert number_of(from_bytes.decode([77])[0]) == 77


def test_comment_tag_is_read(tmp_path: Path):
    media.write_video(tmp_path / "tagged.mp4", numbered(2), 5, comment="espresso-world")
    assert media.open(tmp_path / "tagged.mp4").comment == "espresso-world"


def test_arrays_and_pil_images_can_be_opened():
    stack = np.stack(numbered(30))
    clip = media.open(stack, fps=10)
    assert (clip.visual.duration, clip.visual.frame_count, clip.visual.source) == (3, 30, "array 30x48x64x3")
    assert number_of(clip.decode([29])[0]) == 29
    assert media.open(stack[0]).visual.kind == "image"
    assert np.array_equal(media.open(Image.fromarray(stack[3])).decode([0])[0], stack[3])
    assert media.open(stack, fps=10).digest != media.open(stack, fps=5).digest


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)],
)
def test_arrays_of_invalid_shape_or_type_are_rejected(pixels: np.ndarray):
    with pytest.raises(MediaError) as error:
        media.open(pixels)
    assert one_sentence(error).startswith("array")


def bad_files(folder: Path) -> dict[str, Path]:
    media.write_video(folder / "good.mp4", numbered(60), 30)
    good = (folder / "good.mp4").read_bytes()
    files = {
        "empty.mp4": b"",
        "text.mp4": b"hello, this is text\n" * 50,
        "notes.txt": b"hello, this is text\n" * 50,
        "headless.mp4": good[-2000:],
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/clip.ts\n",
        "broken.png": b"\x89PNG\r\n\x1a\n" + b"junk" * 30,
        "noise.bin": np.random.default_rng(0).bytes(5000),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    with av.open(str(folder / "sound.mp3"), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="flt", layout="mono")
        frame.sample_rate = 44100
        for resampled in av.AudioResampler("s16p", "mono", 44100, 1152).resample(frame):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode())
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    (folder / "half.jpg").write_bytes(buffer.getvalue()[:1500])
    return {path.name: path for path in folder.iterdir() if path.name != "good.mp4"} | {"missing.mp4": folder / "missing.mp4"}


def test_error_for_an_invalid_file_names_it(tmp_path: Path):
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(MediaError) as error:
            media.open(path)
        assert name in one_sentence(error)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "the file is empty"),
        ("folder.mp4", "a directory"),
        ("pipe.mp4", "not a regular file"),
        ("text.mp4", "not a video"),
        ("sound.mp3", "no video stream (found: 1 audio stream)"),
        ("half.jpg", "the image is damaged"),
    ],
)
def test_error_states_why_a_file_is_invalid(tmp_path: Path, name: str, words: str):
    with pytest.raises(MediaError) as error:
        media.open(bad_files(tmp_path)[name])
    assert words in str(error.value)


def test_unreadable_file_is_an_error(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(MediaError, match="permission denied") as error:
        media.open(clip_path)
    one_sentence(error)


def test_invalid_path_is_an_error(tmp_path: Path):
    for path in ("x" * 100_000, "nul\0l.mp4"):
        with pytest.raises(MediaError) as error:
            media.open(path)
        assert len(one_sentence(error)) < 400


def test_file_name_with_ffmpeg_syntax_is_a_plain_file(clip_path: Path):
    odd = clip_path.with_name("concat:a|b %03d.mp4")
    shutil.copy(clip_path, odd)
    assert len(media.open(odd).times) == 150
