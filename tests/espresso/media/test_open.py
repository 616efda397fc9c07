import hashlib
import os
import shutil
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import mux, number_of, numbered
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


def test_exactly_the_frames_asked_for_come_in_the_order_asked(clip_path: Path):
    clip = media.open(clip_path)
    for wanted in ([149, 0, 75], [3], list(range(150)), [10, 10], list(range(0, 150, 2))):
        assert [number_of(frame) for frame in clip.decode(wanted)] == wanted


def test_a_size_is_the_longest_side_or_both(clip_path: Path):
    clip = media.open(clip_path)
    assert clip.decode([0], size=32).shape == (1, 24, 32, 3)
    assert clip.decode([0], size=(20, 40)).shape == (1, 40, 20, 3)
    assert clip.decode([0], size=1000).shape == (1, 48, 64, 3), "a small picture is not enlarged"
    assert clip.decode([]).shape == (0, 48, 64, 3)


@pytest.mark.parametrize("wrong", [-1, 150])
def test_a_frame_that_is_not_there_is_named(clip_path: Path, wrong: int):
    with pytest.raises(MediaError, match=rf"no frame {wrong} \(its frames are 0 to 149\)"):
        media.open(clip_path).decode([0, wrong])


def test_bytes_are_the_same_clip_as_their_file(clip_path: Path):
    from_bytes, from_file = media.open(clip_path.read_bytes()), media.open(clip_path)
    assert from_bytes.digest == from_file.digest
    assert number_of(from_bytes.decode([77])[0]) == 77


def test_variable_frame_rates_keep_their_times(tmp_path: Path):
    stamps = [0, 4, 8, 100, 104, 300, 301, 302]
    mux(tmp_path / "uneven.mp4", numbered(8), stamps)
    clip = media.open(tmp_path / "uneven.mp4")
    assert clip.times == pytest.approx(np.array(stamps) / 100)
    assert [number_of(frame) for frame in media.sample(clip, media.uniform(3)).pixels] == [2, 4, 5]


def test_a_clip_that_starts_late_starts_late(tmp_path: Path):
    mux(tmp_path / "late.mkv", numbered(5), [50, 54, 58, 62, 66])
    assert media.open(tmp_path / "late.mkv").times == pytest.approx([0.5, 0.54, 0.58, 0.62, 0.66])


def test_a_transport_stream_starts_at_zero_whatever_its_clock_says(tmp_path: Path):
    mux(tmp_path / "clip.ts", numbered(5), [900000, 900004, 900008, 900012, 900016])
    clip = media.open(tmp_path / "clip.ts")
    assert clip.times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert clip.end == pytest.approx(0.2, abs=0.05)


def test_what_an_edit_list_hides_is_not_shown(tmp_path: Path):
    mux(tmp_path / "cut.mp4", numbered(20), [4 * number for number in range(-8, 12)], options={"avoid_negative_ts": "disabled"})
    with av.open(str(tmp_path / "cut.mp4")) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    clip = media.open(tmp_path / "cut.mp4")
    assert [number_of(frame) for frame in clip.decode(range(len(clip.times)))] == shown
    assert clip.times[0] == pytest.approx(0)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_clips_come_out_upright_by_both_readers(tmp_path: Path, turn: int):
    top_left = np.zeros((48, 64, 3), np.uint8)
    top_left[:24, :32] = 255
    mux(tmp_path / "turned.mp4", [top_left] * 100, list(range(0, 400, 4)), turn=turn)
    clip = media.open(tmp_path / "turned.mp4")
    expected = np.rot90(top_left, turn // 90)
    few, many = clip.decode([5]), clip.decode(range(100))
    assert (clip.height, clip.width) == expected.shape[:2]
    for frame in (few[0], many[50]):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 3
    assert clip.decode([5], size=(24, 40)).shape == (1, 40, 24, 3)


def test_a_webm_without_duration_opens(tmp_path: Path):
    mux(tmp_path / "live.webm", numbered(10), list(range(0, 40, 4)), codec="libvpx", options={"live": "1"})
    with av.open(str(tmp_path / "live.webm")) as container:
        assert container.duration is None
    clip = media.open(tmp_path / "live.webm")
    assert len(clip.times) == 10
    assert clip.end == pytest.approx(0.4, abs=0.05)


def test_raw_streams_without_times_are_counted(tmp_path: Path):
    mux(tmp_path / "clip.h264", numbered(12), list(range(0, 48, 4)))
    clip = media.open(tmp_path / "clip.h264")
    assert [number_of(frame) for frame in clip.decode([11, 0, 5])] == [11, 0, 5]
    assert np.all(np.diff(clip.times) > 0)


def test_a_comment_is_given_back(tmp_path: Path):
    media.write_video(tmp_path / "tagged.mp4", numbered(2), 5, comment="espresso-world")
    assert media.open(tmp_path / "tagged.mp4").comment == "espresso-world"


def test_an_image_is_a_video_of_one_frame_and_stands_upright(tmp_path: Path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    picture = media.open(tmp_path / "photo.jpg")
    visual = picture.visual
    assert (visual.kind, visual.width, visual.height, visual.frame_count, visual.duration) == ("image", 40, 60, 1, 0)
    assert list(picture.times) == [0]
    sampled = media.sample(picture, media.adaptive(16), size=30)
    assert sampled.pixels.shape == (1, 30, 20, 3)
    assert sampled.pixels[0, :, 15:].mean() > 240
    assert sampled.pixels[0, :, :5].mean() < 20


def test_transparent_parts_are_white():
    buffer = BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(buffer, "PNG")
    assert media.open(buffer.getvalue()).decode([0]).min() == 255


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animated_images_are_videos(tmp_path: Path, kind: str):
    frames = [Image.fromarray(frame) for frame in numbered(6)]
    frames[0].save(
        tmp_path / f"moving.{kind}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 100, 100, 100, 100],
        lossless=True,
    )
    clip = media.open(tmp_path / f"moving.{kind}")
    assert clip.visual.kind == "video"
    assert clip.times == pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6])
    assert [number_of(frame) for frame in clip.decode([5, 1])] == [5, 1]


def test_arrays_and_pil_images_open():
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
def test_arrays_that_are_not_pixels_are_refused(pixels: np.ndarray):
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


def test_bad_files_are_told_in_one_sentence_that_names_them(tmp_path: Path):
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(MediaError) as error:
            media.open(path)
        assert name in one_sentence(error)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "empty file"),
        ("folder.mp4", "a directory"),
        ("pipe.mp4", "not a regular file"),
        ("text.mp4", "not a video"),
        ("sound.mp3", "no video stream (found: 1 audio stream)"),
        ("half.jpg", "damaged image"),
    ],
)
def test_each_bad_file_has_its_own_reason(tmp_path: Path, name: str, words: str):
    with pytest.raises(MediaError) as error:
        media.open(bad_files(tmp_path)[name])
    assert words in str(error.value)


def test_a_file_one_may_not_read_is_told(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(MediaError, match="permission denied") as error:
        media.open(clip_path)
    one_sentence(error)


def test_paths_that_no_system_knows_are_told(tmp_path: Path):
    for path in ("x" * 100_000, "nul\0l.mp4"):
        with pytest.raises(MediaError) as error:
            media.open(path)
        assert len(one_sentence(error)) < 400


def test_a_name_that_ffmpeg_would_take_for_something_else_is_a_file(clip_path: Path):
    odd = clip_path.with_name("concat:a|b %03d.mp4")
    shutil.copy(clip_path, odd)
    assert len(media.open(odd).times) == 150


def test_a_file_cut_short_gives_the_frames_it_has_with_a_warning(clip_path: Path):
    whole = clip_path.read_bytes()
    clip_path.write_bytes(whole[: int(len(whole) * 0.7)])
    with pytest.warns(UserWarning, match="cut short"):
        clip = media.open(clip_path)
    sampled = media.sample(clip, media.uniform(16))
    assert "of its 150 frames are there" in (sampled.note or "")
    assert len(sampled.frames) == 16
    assert [number_of(pixels) for pixels in sampled.pixels] == [frame.index for frame in sampled.frames]
    assert clip.visual.frame_count == len(clip.times) < 150


def test_frames_lost_to_damage_are_left_out_and_the_rest_keep_their_times(tmp_path: Path):
    frames = numbered(200)
    with av.open(str(tmp_path / "damaged.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 64, 48, "yuv420p", 20
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "damaged.mp4")) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray((tmp_path / "damaged.mp4").read_bytes())
    data[places[45][0] : places[45][0] + places[45][1]] = b"\0" * places[45][1]
    (tmp_path / "damaged.mp4").write_bytes(data)
    clip = media.open(tmp_path / "damaged.mp4")
    pixels = clip.decode(range(40))
    assert [number_of(frame) for frame in pixels] == list(range(40))
    sampled = media.sample(clip, media.uniform(32))
    assert [number_of(pixels) for pixels in sampled.pixels] == [round(frame.time * 25) for frame in sampled.frames]
