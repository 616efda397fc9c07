"""The decoder: frame times, orientation, frame sizes, containers, truncated and damaged files.

Frames of real clips in many codecs are compared with a full decode by PyAV.
"""

import hashlib
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import REAL, mux, number_of, numbered, quadrants, set_matrix
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


ONE = 65536
ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "upright": ((ONE, 0, 0, ONE), lambda picture: picture),
    "mirrored": ((-ONE, 0, 0, ONE), np.fliplr),
    "upside down, mirrored": ((ONE, 0, 0, -ONE), np.flipud),
    "upside down": ((-ONE, 0, 0, -ONE), lambda picture: np.rot90(picture, 2)),
    "clockwise": ((0, ONE, -ONE, 0), lambda picture: np.rot90(picture, -1)),
    "counter-clockwise": ((0, -ONE, ONE, 0), np.rot90),
    "transposed": ((0, ONE, ONE, 0), lambda picture: picture.swapaxes(0, 1)),
    "transposed, upside down": ((0, -ONE, -ONE, 0), lambda picture: np.rot90(picture.swapaxes(0, 1), 2)),
    "twice the size": ((2 * ONE, 0, 0, 2 * ONE), lambda picture: picture),
    "all zero": ((0, 0, 0, 0), lambda picture: picture),
    "no height": ((ONE, 0, 0, 0), lambda picture: picture),
    "no width": ((0, ONE, 0, 0), lambda picture: picture),
}
"""Display matrices and what the ffmpeg program (5.1) shows."""


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_display_matrix_is_applied_by_both_readers(tmp_path: Path, name: str):
    matrix, upright = ORIENTATIONS[name]
    media.write_video(tmp_path / "clip.mp4", [quadrants()] * 80, 25)
    set_matrix(tmp_path / "clip.mp4", *matrix)
    clip = media.open(tmp_path / "clip.mp4")
    expected = upright(quadrants())
    assert (clip.height, clip.width) == expected.shape[:2]
    for frame in (clip.decode([3])[0], clip.decode(range(80))[3]):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 3
    small = clip.decode([3], size=(expected.shape[1] // 2, expected.shape[0] // 2))[0]
    assert np.abs(small.astype(int) - expected[::2, ::2]).mean() < 5


def test_a_matrix_that_turns_by_45_degrees_keeps_the_frame_size(tmp_path: Path):
    media.write_video(tmp_path / "clip.mp4", [quadrants()] * 3, 25)
    set_matrix(tmp_path / "clip.mp4", 46341, 46341, -46341, 46341)
    frame = media.open(tmp_path / "clip.mp4").decode([0])[0]
    assert frame.shape == (48, 64, 3)
    assert frame[4, 32].min() > 200, "the white quarter is on top"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("aspect", "size"), [(Fraction(2), (128, 48)), (Fraction(1, 2), (64, 96)), (Fraction(64, 45), (91, 48))])
def test_pixels_that_are_not_square_are_scaled(tmp_path: Path, ending: str, aspect: Fraction, size: tuple[int, int]):
    mux(tmp_path / f"clip.{ending}", [quadrants()] * 80, list(range(0, 320, 4)), aspect=aspect)
    clip = media.open(tmp_path / f"clip.{ending}")
    expected = np.asarray(Image.fromarray(quadrants()).resize(size))
    assert (clip.visual.width, clip.visual.height) == size
    for frame in (clip.decode([3])[0], clip.decode(range(80))[3]):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 5


def test_pixels_that_are_not_square_are_scaled_before_the_frame_is_turned(tmp_path: Path):
    mux(tmp_path / "clip.mp4", [quadrants()] * 3, [0, 4, 8], aspect=Fraction(2))
    set_matrix(tmp_path / "clip.mp4", 0, ONE, -ONE, 0)
    clip = media.open(tmp_path / "clip.mp4")
    assert (clip.width, clip.height) == (48, 128)
    assert clip.decode([0]).shape == (1, 128, 48, 3)
    assert clip.decode([0], size=64).shape == (1, 64, 24, 3)


def test_an_absurd_pixel_aspect_is_ignored(tmp_path: Path):
    mux(tmp_path / "clip.mkv", [quadrants()] * 3, [0, 4, 8], aspect=Fraction(60000, 1))
    assert media.open(tmp_path / "clip.mkv").width == 64


def joined(folder: Path, *starts: int) -> Path:
    """Join transport streams of 10 numbered frames each, which start at times in 1/100 s."""
    data = b""
    for part, start in enumerate(starts):
        frames = numbered(10 * len(starts))[10 * part : 10 * part + 10]
        mux(folder / "part.ts", frames, [start + 4 * number for number in range(10)])
        data += (folder / "part.ts").read_bytes()
    (folder / "joined.ts").write_bytes(data)
    return folder / "joined.ts"


@pytest.mark.parametrize("starts", [(10_000, 0), (0, 500_000), (0, 0, 0), (500_000, 0, 500_000)])
def test_a_clock_that_jumps_is_continued(tmp_path: Path, starts: tuple[int, ...]):
    with pytest.warns(UserWarning, match="the clock of the file jumps"):
        clip = media.open(joined(tmp_path, *starts))
    count = 10 * len(starts)
    assert clip.times == pytest.approx(np.arange(count) * 0.04, abs=0.01)
    assert clip.visual.duration == pytest.approx(count * 0.04, abs=0.05)
    wanted = [count - 1, 0, 10, 9]
    assert [number_of(frame) for frame in clip.decode(wanted)] == wanted
    assert [number_of(frame) for frame in clip.decode(range(count))] == list(range(count))


def test_a_clock_that_wraps_around_is_no_jump(tmp_path: Path):
    wrap = round(2**33 / 900)  # 33 bits of 90 kHz, in 1/100 s
    mux(tmp_path / "wrap.ts", numbered(100), [wrap - 200 + 4 * number for number in range(100)])
    clip = media.open(tmp_path / "wrap.ts")
    assert clip.note is None
    assert clip.times == pytest.approx(np.arange(100) * 0.04, abs=0.01)
    assert [number_of(frame) for frame in clip.decode([99, 0, 50])] == [99, 0, 50]


def resized(folder: Path, ending: str) -> Path:
    """Write 40 frames of 64x48 and then 40 of 96x96, white on the left and black on the right."""
    parts = []
    for part, (width, height) in enumerate([(64, 48), (96, 96)]):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, : width // 2] = 255
        parts.append(folder / f"part{part}.{ending}")
        times = [160 * part + 4 * number for number in range(40)]
        mux(parts[-1], [picture] * 40, times, codec="libx264" if ending == "ts" else "libvpx")
    path = folder / f"clip.{ending}"
    if ending == "ts":
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path
    with av.open(str(path), "w") as container:
        stream = None
        for part in parts:
            with av.open(str(part)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        container.mux(packet)
    return path


@pytest.mark.parametrize("ending", ["webm", "ts"])
@pytest.mark.parametrize("count", [10, 80])
def test_frames_of_another_size_are_scaled_to_the_first_size(tmp_path: Path, ending: str, count: int):
    clip = media.open(resized(tmp_path, ending))
    with pytest.warns(UserWarning, match="frame size changes from 64x48 to 96x96"):
        sampled = media.sample(clip, media.uniform(count))
    assert "all frames have the first size" in (sampled.note or "")
    assert sampled.pixels.shape == (count, 48, 64, 3)
    assert sampled.pixels[:, :, 4:28].min() > 230
    assert sampled.pixels[:, :, 36:60].max() < 25


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


def test_digest_tells_apart_what_earlier_versions_read_differently(tmp_path: Path):
    """Captions and samplings that they cached for such a file are not used."""
    media.write_video(tmp_path / "clip.mp4", [quadrants()] * 3, 25)
    for matrix, same in (((0, ONE, -ONE, 0), True), ((-ONE, 0, 0, ONE), False)):
        set_matrix(tmp_path / "clip.mp4", *matrix)
        plain = hashlib.sha256((tmp_path / "clip.mp4").read_bytes()).hexdigest()
        assert (media.open(tmp_path / "clip.mp4").digest == plain) is same
