"""The answer report: content, self-containment, escaping and atomic writes."""

import os
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from espresso import media, report
from espresso.errors import DataError
from espresso.schema import Answer, Caption, CoreFrame, Evidence, Frame, KeyItem, Question, Step, Usage


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.write_video(path, (np.full((64, 64, 3), 10 * index, np.uint8) for index in range(16)), 8)
    return media.open(path)


@pytest.fixture
def answer(clip):
    frames = tuple(Frame(index=index, time=index / 8) for index in (0, 4, 8, 12))
    core = (CoreFrame(frame=frames[2], why="it hits there"),)
    return Answer(
        question=Question(id="q", visuals=(clip.visual.source,), text="What <b>hits</b> it?", options=("red & green", "blue")),
        text="blue",
        choice="B",
        confidence=0.875,
        options_probability={"A": 0.125, "B": 0.875},
        evidence=Evidence(text="the blue ball <script>hits</script> it", core_frames=core),
        visuals=(clip.visual,),
        frames=frames,
        captions=tuple(Caption(frame=frame, text=f"caption {frame.index}") for frame in frames),
        core_frames=core,
        strategy="selector",
        profile="tiny",
        trace=(
            Step(node="caption", seconds=1.5, model="captioner", prompt="0123456789ab", tokens_in=321, frames=4, cached=2),
            Step(node="select", seconds=0.5, note="selector named no sampled frame"),
        ),
        usage=Usage(tokens_in=321, seconds={"caption": 1.5, "select": 0.5}),
    )


def raises(error):
    def fail(*arguments):
        raise error

    return fail


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_page_shows_question_answer_evidence_and_cost(answer, clip):
    page = Page(report.page([answer], [clip]))
    for text in (
        "What <b>hits</b> it?", "B. blue", "confidence 88 %", "12.5 %", "the blue ball <script>hits</script> it",
        "caption 4", "0.50 s", "captioner", "0123456789ab", "321", "1.500", "selector named no sampled frame",
    ):  # fmt: skip
        assert text in page.text


def test_boxes_of_key_items_are_drawn_on_their_frame(answer, clip):
    items = (KeyItem(label="<ball>", frame=answer.frames[2], box=(16, 0, 48, 16)), KeyItem(label="dog", frame=answer.frames[2]))
    boxed = answer.model_copy(update={"evidence": answer.evidence.model_copy(update={"key_items": items})})
    html = report.page([boxed], [clip])
    assert html.count('<i class="box below"') == 1
    assert "left: 25.0%; top: 0.0%; width: 50.0%; height: 25.0%" in html
    assert "&lt;ball&gt;" in html


def test_page_shows_a_warning_beside_the_answer_and_no_confidence(answer, clip):
    warning = "clip.mp4: profile tiny only understands clips of `espresso world`, so this answer is a guess"
    unsure = answer.model_copy(update={"warning": warning, "confidence": None, "options_probability": {}})
    page = Page(report.page([unsure], [clip]))
    assert page.text.index("B. blue") < page.text.index(warning) < page.text.index("red & green")
    assert ("p", {"class": "warning", "role": "alert"}) in page.tags
    assert "confidence" not in page.text
    assert " % " not in page.text
    assert not any(attrs.get("class") == "meter" for _, attrs in page.tags)
    assert "Warning" not in Page(report.page([answer], [clip])).text


def test_filmstrip_shows_all_frames_and_marks_core_frames(answer, clip):
    page = Page(report.page([answer], [clip]))
    figures = [attrs for tag, attrs in page.tags if tag == "figure"]
    assert [attrs.get("class") for attrs in figures] == [None, None, "core", None]
    assert sum(tag == "img" for tag, _ in page.tags) == 4


def test_page_loads_and_runs_nothing(answer, clip):
    html = report.page([answer], [clip])
    page = Page(html)
    assert all(attrs["src"].startswith("data:image/") for tag, attrs in page.tags if tag == "img")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "b")]
    assert not re.search(r"(href|src)=\"?https?:|@import|url\(", html)


def test_page_can_show_several_answers(answer, clip):
    page = Page(report.page([answer, answer, answer], [clip]))
    assert sum(tag == "article" for tag, _ in page.tags) == 3


def test_page_of_a_minimal_answer(answer, clip):
    bare = answer.model_copy(
        update={
            "question": answer.question.model_copy(update={"options": None}),
            "frames": (), "captions": (), "core_frames": (), "choice": None, "evidence": Evidence(text=""), "trace": (),
            "usage": Usage(), "options_probability": {},
        }
    )  # fmt: skip
    assert "blue" in Page(report.page([bare], [clip])).text


def test_existing_page_is_replaced(answer, clip, tmp_path):
    (tmp_path / "page.html").write_text("old")
    report.write(tmp_path / "page.html", [answer], [clip])
    assert (tmp_path / "page.html").read_text().endswith("</html>")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_failed_write_keeps_the_existing_page(answer, clip, tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", raises(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match=r"page\.html: cannot write the page \(No space left on device\)"):
        report.write(tmp_path / "page.html", [answer], [clip])
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_invalid_path_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        report.check(tmp_path / "nowhere" / "page.html")
    with pytest.raises(DataError, match="is a folder"):
        report.check(tmp_path)


def test_a_path_is_checked_before_the_work(tmp_path):
    for path, why in ((tmp_path / ("n" * 300), "cannot be written"), (os.devnull, "is not a regular file")):
        with pytest.raises(DataError, match=why):
            report.check(path)
    (tmp_path / "file").touch()
    assert report.check(tmp_path / "file") == tmp_path / "file"
    with pytest.raises(DataError, match="this folder cannot be written to"):
        report.check_folder(tmp_path / "file" / "folder")
    report.check_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()


def test_a_notebook_shows_the_answer_as_the_report_in_a_frame_without_scripts(answer, clip):
    frame = re.fullmatch(r'<iframe sandbox srcdoc="([^"]*)" style="[^"]*" title="[^"]*"></iframe>', answer._repr_html_())
    assert unescape(frame[1]) == report.page([answer], [clip])
    assert answer._repr_html_().count("data:image/") == 4


def test_a_notebook_shows_an_answer_about_pixels_without_pictures(answer):
    visual = answer.visuals[0].model_copy(update={"source": "array 16x64x64x3", "digest": "0" * 64})
    shown = unescape(answer.model_copy(update={"visuals": (visual,)})._repr_html_())
    assert "data:image/" not in shown
    assert "caption 8" in shown
