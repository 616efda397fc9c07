"""The decoder: frame times, rotation, containers, truncated and damaged files.

Frames of real clips in many codecs are compared with a full decode by PyAV.
"""

import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import REAL, mux, number_of, numbered
from PIL import Image

from espresso import media

CLIPS = sorted(REAL.iterdir()) if REAL.is_dir() else []
SHORT = (
    "imageio_realshort.mp4",
    "internvid_example1.mp4",
    "mdn_flower.webm",
    "mmaction2_test.avi",
    "moviepy_fire2.mp4",
    "torchcodec_av1_video.mkv",
    "torchcodec_h265_video.mp4",
    "torchcodec_nasa_13013_rotated.mp4",
    "torchcodec_testsrc2_vp9.webm",
)
"""Intact clips of at most 200 frames, so that decord decodes a request for 100 frames."""


def test_variable_frame_rate_keeps_frame_times(tmp_path: Path):
    stamps = [0, 4, 8, 100, 104, 300, 301, 302]
    mux(tmp_path / "uneven.mp4", numbered(8), stamps)
    clip = media.open(tmp_path / "uneven.mp4")
    assert clip.times == pytest.approx(np.array(stamps) / 100)
    assert [number_of(frame) for frame in media.sample(clip, media.uniform(3)).pixels] == [2, 4, 5]


def test_first_frame_may_be_later_than_zero(tmp_path: Path):
    mux(tmp_path / "late.mkv", numbered(5), [50, 54, 58, 62, 66])
    assert media.open(tmp_path / "late.mkv").times == pytest.approx([0.5, 0.54, 0.58, 0.62, 0.66])


def test_transport_stream_starts_at_zero(tmp_path: Path):
    mux(tmp_path / "clip.ts", numbered(5), [900000, 900004, 900008, 900012, 900016])
    clip = media.open(tmp_path / "clip.ts")
    assert clip.times == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert clip.end == pytest.approx(0.2, abs=0.05)


def test_frames_hidden_by_an_edit_list_are_left_out(tmp_path: Path):
    mux(tmp_path / "cut.mp4", numbered(20), [4 * number for number in range(-8, 12)], options={"avoid_negative_ts": "disabled"})
    with av.open(str(tmp_path / "cut.mp4")) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    clip = media.open(tmp_path / "cut.mp4")
    assert [number_of(frame) for frame in clip.decode(range(len(clip.times)))] == shown
    assert clip.times[0] == pytest.approx(0)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_video_is_upright_with_both_readers(tmp_path: Path, turn: int):
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


def test_webm_without_duration_can_be_opened(tmp_path: Path):
    mux(tmp_path / "live.webm", numbered(10), list(range(0, 40, 4)), codec="libvpx", options={"live": "1"})
    with av.open(str(tmp_path / "live.webm")) as container:
        assert container.duration is None
    clip = media.open(tmp_path / "live.webm")
    assert len(clip.times) == 10
    assert clip.end == pytest.approx(0.4, abs=0.05)


def test_frames_of_raw_streams_are_counted(tmp_path: Path):
    mux(tmp_path / "clip.h264", numbered(12), list(range(0, 48, 4)))
    clip = media.open(tmp_path / "clip.h264")
    assert [number_of(frame) for frame in clip.decode([11, 0, 5])] == [11, 0, 5]
    assert np.all(np.diff(clip.times) > 0)


def test_truncated_file_gives_its_frames_and_a_warning(clip_path: Path):
    whole = clip_path.read_bytes()
    clip_path.write_bytes(whole[: int(len(whole) * 0.7)])
    with pytest.warns(UserWarning, match="truncated"):
        clip = media.open(clip_path)
    sampled = media.sample(clip, media.uniform(16))
    assert "of 150 frames are present" in (sampled.note or "")
    assert len(sampled.frames) == 16
    assert [number_of(pixels) for pixels in sampled.pixels] == [frame.index for frame in sampled.frames]
    assert clip.visual.frame_count == len(clip.times) < 150


def test_damaged_frames_are_left_out(tmp_path: Path):
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
    with pytest.warns(UserWarning, match="damaged: 197 of 200 frames can be decoded"):
        sampled = media.sample(clip, media.uniform(32))
    assert [number_of(pixels) for pixels in sampled.pixels] == [round(frame.time * 25) for frame in sampled.frames]


def decoded_by_pyav(path: Path, every: int) -> tuple[list[float], dict[int, np.ndarray]]:
    """Return the times of all frames before the first error, and every n-th frame at 64x64."""
    times, frames = [], {}
    with av.open(str(path)) as container:
        try:
            for number, frame in enumerate(container.decode(video=0)):
                times.append(float(frame.time))
                if number % every == 0:
                    upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    frames[number] = np.asarray(Image.fromarray(upright).resize((64, 64), Image.Resampling.BOX))
        except av.FFmpegError:
            pass
    return times, frames


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_frames_match_a_full_decode_with_pyav(real: Path, path: Path):
    times, frames = decoded_by_pyav(path, 23)
    clip = media.open(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampled = media.sample(clip, media.uniform(12))
    assert len(sampled.frames) == min(12, len(times))
    assert len(clip.times) == len(times)
    assert clip.times == pytest.approx(np.sort(times), abs=1e-6)
    pixels = clip.decode(sorted(frames), size=(64, 64))
    for ours, theirs in zip(pixels, frames.values(), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 3


@pytest.mark.parametrize("name", SHORT)
def test_decord_and_pyav_give_the_same_frames(real: Path, name: str):
    clip = media.open(real / name)
    count = min(len(clip.times), 100)
    assert len(clip.times) <= 2 * count
    many = clip.decode(range(count), size=(64, 64))
    few = clip.decode(range(0, count, 9), size=(64, 64))
    assert max(np.abs(many[::9].astype(int) - few).mean(axis=(1, 2, 3))) < 1


def test_damaged_clip_gives_the_frames_before_the_damage(real: Path):
    clip = media.open(real / "decord_corrupted.mp4")
    with pytest.warns(UserWarning, match="damaged: 28 of 50 frames can be decoded"):
        sampled = media.sample(clip, media.uniform(16))
    assert sampled.note == "damaged: 28 of 50 frames can be decoded"
    assert len(sampled.frames) == 16
    assert sampled.frames[-1].time <= 2.7
    assert clip.visual.frame_count == 28
