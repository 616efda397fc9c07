"""The context of the graph: what it opens, decodes and keeps."""

import pytest

from agents.answer.context import AnswerContext
from espresso import media
from espresso.errors import MediaError, ProfileError
from espresso.schema import Frame


async def test_visuals_are_opened_once_by_their_paths(session, clip):
    context = AnswerContext(session=session)
    await context.open([str(clip)])
    (opened,) = context.visuals
    await context.open([str(clip)])
    assert context.visuals[0] is opened


async def test_a_frame_is_decoded_once_at_the_profiles_size(session, clip, profile):
    opened, calls = media.open(clip), []
    decode = opened.decode
    context = AnswerContext(session=session, visuals=[opened])
    context.visuals[0].decode = lambda indices, **size: calls.append(list(indices)) or decode(indices, **size)
    frames = [Frame(index=index, time=index / 8) for index in (0, 5)]
    (first, _) = await context.show(frames)
    await context.show([*frames, Frame(index=7, time=7 / 8)])
    assert calls == [[0, 5], [7]]
    assert max(first.picture.pixels.shape[:2]) <= profile.frame_size
    assert first.time == 0


async def test_without_a_session_the_profile_is_loaded(clip):
    context = AnswerContext("tiny")
    await context.open([str(clip)])
    assert context.session.profile.name == "tiny"
    with pytest.raises(ProfileError, match="nobody"):
        await AnswerContext("nobody").open([str(clip)])


async def test_urls_are_fetched_only_if_they_are_allowed(session):
    with pytest.raises(MediaError, match="http"):
        await AnswerContext(session=session).open(["http://127.0.0.1:9/clip.mp4"])
