from pathlib import Path

import numpy as np
import pytest

from espresso import media
from espresso.datasets.videoespresso.frame_names import FrameNames, source_of

ELECTION = "all_video/XD-Violence/Election.2005__#00-05-30_00-06-56_label_A.mp4"
GEORGE = "Storystream/George/000140/output_videos/000140_0_14.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Write a clip of a length in seconds; frame n has the grey value 8 (n mod 30)."""

    def write(seconds, fps):
        path = tmp_path_factory.mktemp("clip") / "clip.mp4"
        media.write_video(path, (np.full((32, 32, 3), 8 * (n % 30), np.uint8) for n in range(round(seconds * fps))), fps)
        return path

    return write


def row(*names, video=ELECTION):
    return {"keyframe_path": list(names), "video_path": video}


def resolve(row, clip=None, rate=None):
    return [round(time, 3) for _, time in FrameNames(rate).resolve(row, clip)]


def test_the_numbers_of_the_authors_issue_are_frames_of_their_clip_of_86_seconds(clip):
    path = clip(86, 24)
    names = FrameNames(rate=1.0)
    times = [time for _, time in names.resolve(row("XD-Violence/3_image/x/480.jpg", "XD-Violence/3_image/x/528.jpg"), path)]
    assert times == pytest.approx([20, 22])
    opened = media.open(path)
    shown = opened.decode([int(abs(opened.times - time).argmin()) for time in times])
    assert [round(frame.mean() / 8) for frame in shown] == [480 % 30, 528 % 30]
    assert names.notes == ("XD-Violence: 2 frame names read as frame indices of the clip",)


@pytest.mark.parametrize("fps", [5, 10, 25, 30])
def test_a_number_is_a_frame_at_the_rate_of_each_clip(clip, fps):
    assert resolve(row("0.jpg", "7.jpg"), clip(2, fps)) == pytest.approx([0, 7 / fps], abs=0.002)


@pytest.mark.parametrize("rate", [None, 1.0, 100.0])
def test_a_number_past_the_end_is_refused(clip, rate):
    names, path = FrameNames(rate), clip(2, 10)
    assert len(names.resolve(row("19.jpg"), path)) == 1
    with pytest.raises(ValueError, match=r"20\.jpg: the number lies past the end of the clip, which has 20 frames"):
        names.resolve(row("3.jpg", "20.jpg"), path)
    assert names.notes == ("XD-Violence: 1 frame names read as frame indices of the clip; rows with unresolved frame names: 1",)


def test_a_clock_time_counts_from_the_start_in_the_name_of_the_clip(clip):
    names, path = FrameNames(), clip(60, 5)
    ((_, time),) = names.resolve(row("000140_keyframe_0-14-56-979.jpg", video=GEORGE), path)
    assert time == pytest.approx(56.979)
    with pytest.raises(ValueError, match=r"outside the clip, which starts at 840 s of the film and lasts 60\.0 s"):
        names.resolve(row("000140_keyframe_0-15-14-830.jpg", video=GEORGE), path)
    assert names.notes == (
        "Storystream: 1 frame names read as times in the film, minus the clip's start in its file name; "
        "rows with unresolved frame names: 1",
    )


@pytest.mark.parametrize(
    ("name", "video", "time"),
    [
        ("x_0-05-31-500.jpg", ELECTION, 1.5),
        ("000140_keyframe_1-02-00-250.jpg", "Storystream/George/000140/000140_1_02.mp4", 0.25),
        ("000140_keyframe_1-02-00-250.jpg", None, 3720.25),
    ],
)
def test_a_clock_time_can_be_resolved_without_the_video(name, video, time):
    assert resolve(row(name, video=video)) == [time]


@pytest.mark.parametrize(
    ("name", "video", "why"),
    [
        ("000140_keyframe_0-13-59-999.jpg", GEORGE, "outside the clip"),
        ("000027_keyframe_0-14-05-000.jpg", GEORGE, "has no start"),
        ("000140_keyframe_0-00-01-000.jpg", "Storystream/George/000140.mp4", "has no start"),
        ("000140_keyframe_0-00-01-000.jpg", "Storystream/George/000140_0_75.mp4", "has no start"),
        ("cover.jpg", ELECTION, "neither a number nor a time"),
        ("5.jpg", ELECTION, "the number needs the video, which is missing; or set `rate`"),
    ],
)
def test_a_name_without_a_known_time_is_refused(name, video, why):
    with pytest.raises(ValueError, match=why):
        resolve(row(name, video=video))


def test_a_rate_is_for_clips_that_are_absent(clip):
    assert resolve(row("10.jpg"), None, rate=4.0) == [2.5]
    assert resolve(row("10.jpg"), clip(2, 10), rate=4.0) == [1.0]


@pytest.mark.parametrize(("numbers", "reported"), [((1, 2, 3), True), ((1, 2, 30), False), ((1, 2), False)])
def test_sources_with_numbers_that_could_be_seconds_are_reported(clip, numbers, reported):
    names = FrameNames()
    names.resolve(row(*(f"{number}.jpg" for number in numbers)), clip(4, 10))
    assert ("1 frame per second too" in names.notes[0]) == reported


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({}, "XD-Violence"),
        ({"video_path": GEORGE}, "Storystream"),
        ({"video_path": None}, "CUVA"),
        ({"video_path": "7.mp4"}, "files without a folder"),
    ],
)
def test_the_source_is_the_first_folder(changes, source):
    assert source_of(row("CUVA/7_image/5.jpg") | changes) == source


def test_a_clip_that_cannot_be_opened_counts_as_unresolved(tmp_path):
    names, path = FrameNames(), Path(tmp_path / "broken.mp4")
    path.write_text("no video")
    with pytest.raises(Exception, match="broken"):
        names.resolve(row("1.jpg"), path)
    assert names.notes == ("XD-Violence: rows with unresolved frame names: 1",)
