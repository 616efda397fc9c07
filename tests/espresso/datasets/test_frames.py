import pytest

from espresso import media
from espresso.datasets.frames import uniform_frames


def test_evenly_spaced_frames_are_those_of_the_strategy_uniform(video):
    sampled = media.sample(media.open(video), media.uniform(7))
    assert [frame.time for frame in uniform_frames([str(video)], 7)] == pytest.approx([frame.time for frame in sampled.frames])
