"""What the page shows, without a browser."""

import numpy as np
import pytest

from espresso import media
from espresso.schema import Answer, CoreFrame, Evidence, Frame, KeyItem, Question
from serving.app.shown import Shown
from serving.app.view import View, player, render


@pytest.fixture
def shown(tmp_path):
    media.write_video(tmp_path / "clip.mp4", np.zeros((8, 50, 100, 3), np.uint8), 4)
    path = tmp_path / "clip.mp4"
    return Shown(str(path), "clip.mp4", media.open(path), path)


def test_boxes_of_key_items_are_drawn_on_their_core_frame(shown):
    frame = Frame(index=4, time=1.0)
    core = CoreFrame(frame=frame, why="seen")
    items = (KeyItem(label="red <circle>", frame=frame, box=(10, 10, 60, 35)), KeyItem(label="star", frame=frame))
    answer = Answer(
        question=Question(id="ask", visuals=("clip.mp4",), text="What?"),
        text="it hits",
        confidence=0.5,
        evidence=Evidence(text="it hits", core_frames=(core,), key_items=items),
        visuals=(shown.opened.visual,),
        frames=(frame, Frame(index=0, time=0.0)),
        core_frames=(core,),
        strategy="selector",
        profile="tiny",
    )
    html = render(View([shown], answer=answer))
    assert html.count('<i class="e-box "') == 1
    assert "left: 10.0%; top: 20.0%; width: 50.0%; height: 50.0%" in html
    assert "red &lt;circle&gt;" in html


def test_part_of_a_video_is_played_from_its_start(tmp_path, shown):
    source = f"{shown.file}#t=0.5,1.5"
    part = Shown(source, "clip.mp4", media.open(source), shown.file)
    html = player(part)
    assert 'data-offset="0.5"' in html
    assert "#t=0.5,1.5" in html
