"""Parts of videos: which frames they have, what they share with the file, and invalid ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from media_clips import mux, number_of, numbered
from PIL import Image

import espresso
from espresso import media
from espresso.errors import MediaError
from espresso.media.process import decoder

FPS = 15


def numbers(clip: media.Media) -> list[int]:
    return [number_of(frame) for frame in clip.decode(range(len(clip.times)))]


@pytest.mark.parametrize(
    ("segment", "first", "last"),
    [
        ("#t=4,6", 60, 89),
        ("#t=4.0,6.", 60, 89),
        ("#t=4", 60, 149),
        ("#t=,6", 0, 89),
        ("#t=0,10", 0, 149),
        ("#t=9,60", 135, 149),
        ("#t=4.01,4.21", 61, 63),
        ("#t=4,4.0001", 60, 60),
    ],
)
def test_only_the_frames_of_the_segment_are_opened(clip_path: Path, segment: str, first: int, last: int):
    clip = media.open(f"{clip_path}{segment}")
    assert numbers(clip) == list(range(first, last + 1))
    start = float(segment.removeprefix("#t=").partition(",")[0] or 0)
    assert clip.times == pytest.approx(np.arange(first, last + 1) / FPS - start, abs=1e-5)


def test_a_part_is_described_as_if_it_had_been_cut_out(clip_path: Path):
    whole, part = media.open(clip_path), media.open(f"{clip_path}#t=4,6")
    assert part.visual.source == f"{clip_path}#t=4,6"
    assert (part.visual.kind, part.visual.width, part.visual.height, part.visual.frame_count) == ("video", 64, 48, 30)
    assert (part.visual.duration, part.visual.fps) == pytest.approx((2, FPS))
    assert media.open(f"{clip_path}#t=9,60").visual.duration == pytest.approx(1)
    assert part.comment == whole.comment
    with pytest.raises(MediaError, match=r"clip\.mp4#t=4,6: there is no frame 30 \(its frames are 0 to 29\)"):
        part.decode([30])


def test_the_digest_tells_parts_apart_whatever_their_path_is(clip_path: Path, tmp_path: Path):
    copy = shutil.copy(clip_path, tmp_path / "copy.mp4")
    sources = [clip_path, f"{clip_path}#t=4,6", f"{clip_path}#t=4", f"{clip_path}#t=,6", f"{clip_path}#t=4,6.5"]
    assert len({media.open(source).digest for source in sources}) == len(sources)
    assert media.open(f"{copy}#t=4.00,6.0").digest == media.open(sources[1]).digest


def test_sampling_stays_in_the_segment(clip_path: Path):
    clip = media.open(f"{clip_path}#t=4,6")
    for plan in (media.uniform(4), media.fps(5, 99), media.adaptive(16)):
        sampled = media.sample(clip, plan)
        assert all(60 <= number_of(frame) < 90 for frame in sampled.pixels)
        assert all(0 <= frame.time < 2 and 0 <= frame.index < 30 for frame in sampled.frames)
    assert [number_of(frame) for frame in media.sample(clip, media.uniform(2)).pixels] == [67, 82]


def test_an_animation_has_parts(tmp_path: Path):
    frames = [Image.fromarray(frame) for frame in numbered(10)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    assert numbers(media.open(tmp_path / "a.gif#t=0.3,0.5")) == [3, 4]


def test_a_file_whose_name_ends_like_a_segment_is_opened_completely(clip_path: Path):
    odd = clip_path.with_name("odd.mp4#t=4,6")
    shutil.copy(clip_path, odd)
    assert len(media.open(odd).times) == 150
    assert media.open(odd).digest == media.open(clip_path).digest
    assert len(media.open(odd.as_uri()).times) == 150
    assert numbers(media.open(f"{odd}#t=,1")) == list(range(15))


def test_a_file_url_may_have_a_segment(clip_path: Path):
    clip = media.open(f"{clip_path.as_uri()}#t=4,6")
    assert clip.source == f"{clip_path}#t=4,6"
    assert len(clip.times) == 30


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        ("#t=4,4", "its segment is empty, from 4 s to 4 s"),
        ("#t=6,4", "its segment is empty, from 6 s to 4 s"),
        ("#t=,0", "its segment is empty"),
        ("#t=10,12", r"its segment starts at 10 s, but the video ends at 10\.00 s"),
        ("#t=4.01,4.02", r"no frame starts from 4\.01 s to 4\.02 s"),
        ("#t=", "its segment is not valid"),
        ("#t=-1,4", "its segment is not valid"),
        ("#t=0:04,0:06", "its segment is not valid"),
        ("#t=4,6,8", "its segment is not valid"),
    ],
)
def test_an_invalid_segment_is_an_error(clip_path: Path, segment: str, words: str):
    with pytest.raises(MediaError, match=words) as error:
        media.open(f"{clip_path}{segment}")
    text = str(error.value)
    assert f"clip.mp4{segment}: " in text
    assert "\n" not in text
    assert text.endswith(".")


def test_an_image_has_no_segments(tmp_path: Path):
    Image.fromarray(numbered(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match=r"a\.png#t=4,6: an image has no segments"):
        media.open(tmp_path / "a.png#t=4,6")


@pytest.mark.parametrize("name", ["missing.mp4#t=4,6", "song#t=live.mp4"])
def test_a_missing_file_is_named_as_it_was_given(tmp_path: Path, name: str):
    with pytest.raises(MediaError, match=f"{name}: no such file"):
        media.open(tmp_path / name)


def test_damage_inside_a_part_shortens_it(tmp_path: Path):
    mux(tmp_path / "a.mp4", numbered(100), list(range(0, 1000, 10)), options={"movflags": "+faststart"})
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    content[len(content) * 2 // 3 :] = b"\0" * (len(content) - len(content) * 2 // 3)
    (tmp_path / "broken.mp4").write_bytes(content)
    clip = media.open(tmp_path / "broken.mp4#t=1,6")
    announced = len(clip.times)
    with pytest.warns(UserWarning, match="damaged"):
        sampled = media.sample(clip, media.uniform(8))
    assert [number_of(pixels) for pixels in sampled.pixels] == [10 + frame.index for frame in sampled.frames]
    assert 0 < len(clip.times) < announced
    assert numbers(clip) == list(range(10, 10 + len(clip.times)))
    late = media.open(tmp_path / "broken.mp4#t=9")
    with pytest.raises(MediaError, match=r"broken\.mp4#t=9: .*damaged"):
        media.sample(late, media.uniform(4))


def test_only_frames_of_the_segment_are_requested_from_the_decoder(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    requests, ask = [], decoder.ask
    monkeypatch.setattr(decoder, "ask", lambda *request, **options: requests.append(request) or ask(*request, **options))
    clip = media.open(f"{clip_path}#t=4,6")
    assert numbers(clip) == list(range(60, 90))
    media.sample(clip, media.adaptive(16))
    positions = [position for command, *rest in requests if command != "index" for position in rest[2]]
    assert set(positions) == set(range(60, 90))


def test_a_question_can_be_asked_about_a_part(clip_path: Path):
    answer = espresso.ask(
        f"{clip_path}#t=4,6", "What is seen?", options=["bars", "a dog"], strategy="uniform", frames=4, allow_out_of_domain=True
    )
    assert answer.visuals[0].source == answer.question.visuals[0] == f"{clip_path}#t=4,6"
    assert all(0 <= frame.time < 2 for frame in answer.frames)


def test_split_and_join():
    assert media.split_segment("a/b.mp4#t=4,6") == ("a/b.mp4", "#t=4,6")
    assert media.split_segment("a#t=1/b.mp4") == ("a#t=1/b.mp4", "")
    assert media.segment_source("a.mp4", 4.0, 6.25) == "a.mp4#t=4,6.25"
    assert media.segment_source("a.mp4", 4, None) == "a.mp4#t=4"
    assert media.segment_source("a.mp4", None, 1e-5) == "a.mp4#t=,0.00001"
    assert media.segment_source("a.mp4", None, None) == "a.mp4"
