"""The review page in Chromium: content, boxes, decisions by key press, filters and escaping."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from browser import clear_logs, console, requested
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from agents.annotate.dataset.output import rejected_file
from agents.annotate.dataset.page import PICTURE_PX, read_decisions, write_page
from agents.annotate.records import RejectedPair
from espresso import media, world
from espresso.datasets import records
from espresso.errors import DataError
from espresso.schema import Frame, KeyItem, Question, Span, Task, Truth

HOSTILE = (
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> {{ 7 * 7 }} & <b>bold</b>"
)
REJECTED = {"0-1": ("filter", "not objective: it asks for an opinion"), "0-2": ("guess", "the answer is known without the video")}


def grounded(question):
    """Add the things that the clip's record shows in the middle of each span, with their boxes."""
    clip, record = media.open(question.visuals[0]), json.loads(Path(question.visuals[0]).with_suffix(".json").read_bytes())
    items = []
    for span in question.truth.spans:
        shown = min(record["frames"], key=lambda frame: abs(frame["time"] - (span.start + span.end) / 2))
        index = int(np.abs(clip.times - shown["time"]).argmin())
        frame = Frame(index=index, time=float(clip.times[index]))
        items += [KeyItem(label=name, frame=frame, box=box, score=0.9) for name, box in shown["boxes"].items()]
        items.append(KeyItem(label="a lost thing", frame=frame))
    return question.model_copy(update={"truth": question.truth.model_copy(update={"key_items": tuple(items)})})


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return [grounded(question) for question in world.make("test", 6, tmp_path_factory.mktemp("world"), workers=1)]


@pytest.fixture
def data(questions, tmp_path):
    """Six questions about clips of the world, and two rejected pairs."""
    return written(tmp_path / "data.jsonl", questions, [rejected(questions[0].visuals, number) for number in REJECTED])


def rejected(visuals, number):
    node, why = REJECTED[number]
    return RejectedPair(
        id=f"clip-{number}", visuals=visuals, task=Task.THEME, text="Is it nice?", answer="yes", node=node, reason=why
    )


def written(path, questions, pairs=()):
    records.write(path, questions)
    rejected_file(path).write_text("".join(pair.model_dump_json() + "\n" for pair in pairs))
    return path


@pytest.fixture
def opened(chromium, tmp_path):
    """Write and open pages. After the test, check for errors and network requests."""

    def open_page(data):
        clear_logs(chromium)
        write_page(data, tmp_path / "page.html")
        chromium.get((tmp_path / "page.html").as_uri())
        return chromium

    downloads = {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
    yield open_page
    chromium.execute_script("localStorage.clear()")
    assert console(chromium) == []
    assert {url.partition(":")[0] for url in requested(chromium)} <= {"file", "data", "blob"}


def shown(browser):
    return [entry.text for entry in browser.find_elements(By.CSS_SELECTOR, ".entry code")]


def text(browser, name):
    return browser.find_element(By.ID, name).text


def press(browser, keys):
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def current(browser):
    (entry,) = browser.find_elements(By.CSS_SELECTOR, ".entry.current")
    return entry.find_element(By.TAG_NAME, "code").text


def decided(browser):
    """Return the decisions that the page shows."""
    marks = browser.find_elements(By.CSS_SELECTOR, '.decide [aria-pressed="true"]')
    return {mark.find_element(By.XPATH, "ancestor::article//code").text: mark.text.split()[0].lower() for mark in marks}


def download(path):
    end = time.monotonic() + 60
    while not path.is_file() or not path.stat().st_size:  # the browser creates it before it writes
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return path


def test_page_counts_questions_and_rejected_pairs_by_node(opened, data, questions):
    browser = opened(data)
    assert shown(browser) == [*(question.id for question in questions), "clip-0-1", "clip-0-2"]
    cards = [card.text.splitlines() for card in browser.find_elements(By.CLASS_NAME, "card")]
    assert cards[0][:2] == ["Questions", "6"]
    assert cards[1] == ["Rejected pairs", "2", "1 by filter, 1 by guess"]
    assert text(browser, "reviewed") == "0 of 6"


def test_entry_shows_task_options_evidence_and_core_frames(opened, data, questions):
    browser, question = opened(data), questions[0]
    entry = browser.find_element(By.CLASS_NAME, "entry")
    assert [option.text for option in entry.find_elements(By.CSS_SELECTOR, ".options li")] == list(question.options)
    assert entry.find_element(By.CSS_SELECTOR, ".options .correct").text == question.answer
    name = Path(question.visuals[0]).name
    assert all(part in entry.text for part in (question.task, question.truth.evidence, name, *question.truth.facts))
    pictures = entry.find_elements(By.CSS_SELECTOR, ".frame img")
    assert len(pictures) == len({item.frame for item in question.truth.key_items}) == len(question.truth.spans)
    assert all(picture.get_property("naturalWidth") for picture in pictures)
    times = sorted({f"{item.frame.time:.2f} s" for item in question.truth.key_items})
    assert sorted(frame.text for frame in entry.find_elements(By.TAG_NAME, "time")) == times
    assert "a lost thing no box" in entry.find_element(By.CSS_SELECTOR, ".items .absent").text


def test_rejected_pair_shows_node_and_reason_without_frames(opened, data):
    entry = opened(data).find_element(By.CSS_SELECTOR, ".entry.rejected")
    assert "Rejected by filter: not objective: it asks for an opinion" in entry.text
    assert all(part in entry.text for part in ("Is it nice?", "yes", ".mp4"))
    assert entry.find_elements(By.CLASS_NAME, "frame") == []


def moving_square(path):
    """Write a clip of 480 x 270 pixels in which a white square moves right; return its boxes."""
    boxes = [(8.0 * number, 100.0, 8.0 * number + 60, 160.0) for number in range(50)]
    frames = np.full((50, 270, 480, 3), 40, np.uint8)
    for frame, (x1, y1, x2, y2) in zip(frames, boxes, strict=True):
        frame[int(y1) : int(y2), int(x1) : int(x2)] = 255
    media.write_video(path, frames, 10)
    return boxes


PIXELS = """
const [picture, done] = arguments;
picture.decode().then(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  done({ width: canvas.width, height: canvas.height, luma: [...data].filter((_, position) => position % 4 === 1) });
});
"""
PLACE = """
const [box, picture] = [...arguments].map((each) => each.getBoundingClientRect());
return [box.left - picture.left, box.top - picture.top, box.right - picture.left, box.bottom - picture.top].map(
  (value, side) => value / (side % 2 ? picture.height : picture.width));
"""


def test_boxes_are_drawn_around_what_the_frame_shows(opened, tmp_path):
    boxes = moving_square(tmp_path / "square.mp4")
    items = [KeyItem(label="square", frame=Frame(index=n, time=n / 10), box=boxes[n]) for n in (7, 30)]
    truth = Truth(spans=(Span(start=0, end=2), Span(start=2.1, end=4)), facts=("left", "right"), evidence="It moves.")
    question = Question(
        id="a",
        visuals=(str(tmp_path / "square.mp4"),),
        text="Where to?",
        answer="right",
        truth=truth.model_copy(update={"key_items": tuple(items)}),
    )
    browser = opened(written(tmp_path / "data.jsonl", [question]))
    frames = browser.find_elements(By.CLASS_NAME, "frame")
    for frame, item in zip(frames, items, strict=True):
        picture, box = frame.find_element(By.TAG_NAME, "img"), frame.find_element(By.TAG_NAME, "rect")
        pixels = browser.execute_async_script(PIXELS, picture)
        assert (pixels["width"], pixels["height"]) == (PICTURE_PX, PICTURE_PX * 270 // 480)
        rows, columns = np.nonzero(np.array(pixels["luma"]).reshape(pixels["height"], pixels["width"]) > 150)
        seen = (columns.min() / pixels["width"], rows.min() / pixels["height"])
        seen += ((columns.max() + 1) / pixels["width"], (rows.max() + 1) / pixels["height"])
        drawn = browser.execute_script(PLACE, box, picture)
        assert np.allclose(drawn, np.array(item.box) / (480, 270, 480, 270), atol=0.005)
        assert np.allclose(drawn, seen, atol=0.02)


def test_span_without_key_items_is_shown_by_its_middle(opened, tmp_path):
    moving_square(tmp_path / "square.mp4")
    truth = Truth(spans=(Span(start=1, end=2),), facts=("it moves",), evidence="It moves.")
    question = Question(id="a", visuals=(str(tmp_path / "square.mp4"),), text="Where to?", answer="right", truth=truth)
    frame = opened(written(tmp_path / "data.jsonl", [question])).find_element(By.CLASS_NAME, "frame")
    assert frame.text == "1.50 s it moves"
    assert frame.find_elements(By.TAG_NAME, "rect") == []


def test_box_outside_the_frame_is_named_instead_of_drawn(opened, tmp_path):
    moving_square(tmp_path / "square.mp4")
    frame = Frame(index=3, time=0.3)
    boxes = {"far": (500.0, 10.0, 600.0, 20.0), "inside out": (50.0, 50.0, 20.0, 20.0), "half": (400.0, 10.0, 600.0, 40.0)}
    items = tuple(KeyItem(label=label, frame=frame, box=box) for label, box in boxes.items())
    late = KeyItem(label="late", frame=Frame(index=999, time=99.9), box=(1.0, 1.0, 5.0, 5.0))
    truth = Truth(spans=(), facts=(), evidence="It moves.", key_items=(*items, late))
    question = Question(id="a", visuals=(str(tmp_path / "square.mp4"),), text="Where to?", answer="right", truth=truth)
    first, second = opened(written(tmp_path / "data.jsonl", [question])).find_elements(By.CLASS_NAME, "frame")
    assert [label.text for label in first.find_elements(By.TAG_NAME, "text")] == ["half"]
    assert first.text.count("its box is empty or outside the frame") == 2
    assert "The video has no such frame." in second.text
    assert second.find_elements(By.CSS_SELECTOR, "img, rect") == []


def test_decisions_are_made_by_key_press(opened, data, questions):
    ids = [question.id for question in questions]
    browser = opened(data)
    assert current(browser) == ids[0]
    press(browser, ["y", "j", "n", Keys.ARROW_RIGHT, "y", "j", "y", "u", "k", Keys.ARROW_LEFT])
    assert current(browser) == ids[1]
    assert decided(browser) == {ids[0]: "keep", ids[1]: "drop", ids[2]: "keep"}
    assert text(browser, "reviewed") == "3 of 6"
    assert text(browser, "decided") == "2 keep, 1 drop"


def test_key_press_does_not_decide_about_a_question_out_of_view(opened, data, questions):
    browser = opened(data)
    browser.execute_script("scrollTo(0, document.querySelectorAll('.entry')[3].offsetTop)")
    press(browser, "y")
    assert decided(browser) == {}
    assert current(browser) != questions[0].id
    press(browser, "y")
    assert list(decided(browser)) == [current(browser)]


def test_buttons_decide_and_take_back(opened, data, questions):
    browser = opened(data)
    keep, drop = browser.find_elements(By.CSS_SELECTOR, ".entry:first-child .decide button")
    keep.click()
    drop.click()
    assert decided(browser) == {questions[0].id: "drop"}
    drop.click()
    assert decided(browser) == {}


def test_decisions_are_saved_as_the_file_that_export_reads(opened, data, questions, tmp_path):
    browser = opened(data)
    press(browser, "yjn")
    Select(browser.find_element(By.ID, "kind")).select_by_value("rejected")
    browser.find_element(By.CSS_SELECTOR, ".decide button").click()
    assert "rejected pairs marked" in text(browser, "decided")
    assert "unsaved" in browser.find_element(By.ID, "save").get_attribute("class")
    press(browser, "s")
    saved = download(tmp_path / "downloads" / "data.decisions.json")
    expected = {questions[0].id: "keep", questions[1].id: "drop", "clip-0-1": "keep"}
    assert json.loads(saved.read_text()) == read_decisions(saved) == expected
    assert "unsaved" not in browser.find_element(By.ID, "save").get_attribute("class")


def test_decisions_survive_closing_and_writing_the_page_again(opened, data, questions):
    browser = opened(data)
    press(browser, "yj")
    browser.get("about:blank")
    assert decided(opened(data)) == {questions[0].id: "keep"}
    press(browser, "u")
    browser.refresh()
    assert decided(browser) == {}


def test_decisions_beside_the_dataset_are_loaded(opened, data, questions):
    saved = {questions[1].id: "drop", "clip-0-2": "keep", "of a removed question": "keep"}
    data.with_suffix(".decisions.json").write_text(json.dumps(saved))
    browser = opened(data)
    assert decided(browser) == {questions[1].id: "drop", "clip-0-2": "keep"}
    assert text(browser, "reviewed") == "1 of 6"


def test_decisions_are_loaded_from_a_file(opened, data, questions, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({questions[0].id: "drop", "elsewhere": "keep"}))
    (tmp_path / "wrong.json").write_text(json.dumps({questions[0].id: "maybe"}))
    browser = opened(data)
    press(browser, "yjy")
    chooser = browser.find_element(By.ID, "load")
    chooser.send_keys(str(tmp_path / "wrong.json"))
    WebDriverWait(browser, 10).until(lambda browser: "wrong.json: not a file of decisions" in text(browser, "message"))
    assert decided(browser) == {questions[0].id: "keep", questions[1].id: "keep"}
    chooser.send_keys(str(tmp_path / "other.json"))
    WebDriverWait(browser, 10).until(lambda browser: "2 decisions loaded from other.json" in text(browser, "message"))
    assert "1 of them are about questions that are not here" in text(browser, "message")
    assert decided(browser) == {questions[0].id: "drop", questions[1].id: "keep"}


def test_entries_are_filtered_by_kind_decision_task_and_words(opened, data, questions):
    ids = [question.id for question in questions]
    browser = opened(data)
    press(browser, "yjn")
    kind, decision, task = (Select(browser.find_element(By.ID, name)) for name in ("kind", "decision", "task"))
    kind.select_by_visible_text("questions")
    assert shown(browser) == ids
    decision.select_by_visible_text("undecided")
    assert shown(browser) == ids[2:]
    assert text(browser, "count") == "4 of 8 shown, 2 of 6 reviewed"
    decision.select_by_visible_text("drop")
    assert shown(browser) == [ids[1]]
    decision.select_by_visible_text("any")
    kind.select_by_visible_text("rejected by guess")
    assert shown(browser) == ["clip-0-2"]
    kind.select_by_visible_text("rejected pairs")
    assert shown(browser) == ["clip-0-1", "clip-0-2"]
    kind.select_by_visible_text("questions and rejected pairs")
    task.select_by_visible_text(questions[0].task)
    assert shown(browser) == [question.id for question in questions if question.task == questions[0].task]
    task.select_by_visible_text("all")
    browser.find_element(By.TAG_NAME, "h1").click()
    press(browser, "/")
    browser.switch_to.active_element.send_keys("OPINION objective")
    assert shown(browser) == ["clip-0-1"]
    browser.switch_to.active_element.send_keys(" nowhere")
    assert text(browser, "more") == "Nothing matches the filters."
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert len(shown(browser)) == 8


def test_help_lists_the_keys_and_keys_do_nothing_while_it_is_open(opened, data):
    browser = opened(data)
    press(browser, "?")
    assert "make it undecided again" in text(browser, "help")
    press(browser, "y")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.find_element(By.ID, "help").is_displayed()
    assert decided(browser) == {}


def test_unreadable_and_missing_videos_do_not_break_the_page(opened, questions, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "cut.mp4").write_bytes(Path(questions[0].visuals[0]).read_bytes()[:3000])
    names = ("broken.mp4", "cut.mp4", "missing.mp4")
    bad = [
        question.model_copy(update={"visuals": (str(tmp_path / name),)}) for question, name in zip(questions, names, strict=False)
    ]
    browser = opened(written(tmp_path / "data.jsonl", [*bad, questions[3]]))
    problems = [problem.text for problem in browser.find_elements(By.CLASS_NAME, "problem")]
    assert len(problems) == 3
    assert all(text.startswith("No pictures: ") and name in text for text, name in zip(problems, names, strict=True))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".entry:last-child img")) == len(questions[3].truth.spans)


def test_text_in_data_never_becomes_markup(opened, questions, tmp_path):
    clip = tmp_path / "<b>&'\".mp4"
    shutil.copy(questions[0].visuals[0], clip)
    items = tuple(item.model_copy(update={"label": HOSTILE}) for item in questions[0].truth.key_items)
    truth = questions[0].truth.model_copy(
        update={"evidence": HOSTILE, "key_items": items, "facts": (HOSTILE,) * len(questions[0].truth.facts)}
    )
    values = {"id": "__proto__", "text": HOSTILE, "task": HOSTILE, "options": (HOSTILE, "b"), "answer": HOSTILE, "truth": truth}
    question = questions[0].model_copy(update=values | {"visuals": (str(clip),)})
    pair = rejected((HOSTILE,), "0-1").model_copy(
        update={"id": "r", "text": f"nul \0 {HOSTILE}", "node": HOSTILE, "reason": HOSTILE}
    )
    data = written(tmp_path / "<i>'data'&quot;.jsonl", [question], [pair])
    browser = opened(data)
    assert browser.title == "Review of <i>'data'&quot;.jsonl - espresso"
    first, second = browser.find_elements(By.CSS_SELECTOR, ".entry h3")
    assert first.text == HOSTILE
    assert HOSTILE in second.text
    assert (
        browser.find_elements(By.CSS_SELECTOR, "main b:not(.reason > b), main i:not(.share i), main script, main img[src=x]")
        == []
    )
    assert HOSTILE in [option.text for option in browser.find_elements(By.CSS_SELECTOR, "#task option")]
    press(browser, "ys")
    saved = download(tmp_path / "downloads" / "<i>'data'&quot;.decisions.json".translate(dict.fromkeys(map(ord, "<>"), "_")))
    assert json.loads(saved.read_text()) == {"__proto__": "keep"}


def test_a_thousand_questions_are_rendered_as_they_are_reached(opened, questions, tmp_path):
    many = [question.model_copy(update={"id": f"{question.id}-{again}"}) for again in range(170) for question in questions]
    browser = opened(written(tmp_path / "data.jsonl", many))
    assert len(shown(browser)) < 50
    press(browser, "j" * 60)
    assert current(browser) == many[60].id
    press(browser, "y")
    assert text(browser, "reviewed") == "1 of 1,020"
    assert len((tmp_path / "page.html").read_bytes()) < 3_000_000, "pictures are stored once per frame"


def test_dataset_without_a_kept_question_is_shown(opened, questions, tmp_path):
    browser = opened(written(tmp_path / "data.jsonl", [], [rejected(questions[0].visuals, "0-1")]))
    assert shown(browser) == ["clip-0-1"]
    assert text(browser, "reviewed") == "0 of 0"


def test_page_fits_a_phone_and_its_text_is_readable_in_both_modes(opened, data):
    browser = opened(data)
    press(browser, "yjn")
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    backgrounds = set()
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        for mode in ("light", "dark"):
            features = {"features": [{"name": "prefers-color-scheme", "value": mode}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
            backgrounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
            assert browser.execute_script(CONTRASTS) > 4.5
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(backgrounds) == 2


CONTRASTS = """
const values = (color) => color.match(/[\\d.]+/g).map(Number);
const luminance = (color) => values(color).slice(0, 3).map((value) => value / 255)
  .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  .reduce((sum, value, channel) => sum + value * [0.2126, 0.7152, 0.0722][channel], 0);
function behind(element) {
  const color = getComputedStyle(element).backgroundColor;
  return values(color)[3] === 0 ? behind(element.parentElement) : color;
}
const texts = [...document.querySelectorAll("main *:not(svg *, option)")].filter((element) =>
  element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
return Math.min(...texts.map((element) => {
  const [dark, light] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((one, other) => one - other);
  return (light + 0.05) / (dark + 0.05);
}));
"""


def test_faulty_files_are_errors_with_a_cure(questions, tmp_path):
    data = written(tmp_path / "data.jsonl", questions[:1])
    with pytest.raises(DataError, match="is a file of the dataset"):
        write_page(data, data)
    with pytest.raises(DataError, match="does not exist"):
        write_page(data, tmp_path / "nowhere" / "page.html")
    with pytest.raises(DataError, match=r"absent\.jsonl: "):
        write_page(tmp_path / "absent.jsonl", tmp_path / "page.html")
    data.with_suffix(".decisions.json").write_text('{"a": "maybe"}')
    with pytest.raises(DataError, match=r"data\.decisions\.json: cannot read the decisions"):
        write_page(data, tmp_path / "page.html")
    with pytest.raises(DataError, match="no question and no rejected pair"):
        write_page(written(tmp_path / "empty.jsonl", []), tmp_path / "page.html")


def test_progress_is_reported_by_video(questions, tmp_path):
    calls = []
    data = written(tmp_path / "data.jsonl", questions)
    write_page(data, tmp_path / "page.html", on_progress=lambda done, total: calls.append((done, total)))
    clips = len({question.visuals for question in questions})
    assert calls == [(done, clips) for done in range(1, clips + 1)]
