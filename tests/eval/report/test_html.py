"""The HTML page about runs in Chromium: content, filters, filmstrips and escaping."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from browser import clear_logs, console, requested
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from typer.testing import CliRunner

from espresso.cli import app
from espresso.errors import DataError
from espresso.schema import Verdict
from eval.report import html as page
from eval.report.table import compare
from eval.run import run
from eval.run_folder import read_samples

LIMIT = 6
HOSTILE = (
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> {{ 7 * 7 }} & <b>bold</b>"
)


@pytest.fixture
def runs(session, roles, tmp_path):
    """The first run is always correct; the second knows the answer to half of the questions."""
    run("world", limit=LIMIT, session=session, out=tmp_path / "correct")
    roles.reasoner.knows = dict([*roles.reasoner.knows.items()][::2])
    run("world", limit=LIMIT, session=session, out=tmp_path / "half")
    return [tmp_path / "correct", tmp_path / "half"]


@pytest.fixture
def opened(chromium, tmp_path):
    """Write and open pages. After the test, check for errors and network requests."""

    def open_page(folders, **kwargs):
        clear_logs(chromium)
        page.write(tmp_path / "page.html", folders, **kwargs)
        chromium.get((tmp_path / "page.html").as_uri())
        return chromium

    yield open_page
    assert console(chromium) == []
    assert {url.partition(":")[0] for url in requested(chromium)} <= {"file", "data"}


def changed(folder, number, **updates):
    """Change a sample of a run."""
    samples = read_samples(folder)
    samples[number] = samples[number].model_copy(update=updates)
    (folder / "samples.jsonl").write_text("".join(sample.model_dump_json() + "\n" for sample in samples))


def shown(browser):
    return [entry.text for entry in browser.find_elements(By.CSS_SELECTOR, ".entry code")]


def test_page_shows_all_samples_and_the_accuracy_of_each_run(opened, runs):
    browser = opened(runs)
    assert sorted(shown(browser)) == sorted(sample.id for sample in read_samples(runs[0]))
    cards = [card.text for card in browser.find_elements(By.CLASS_NAME, "run")]
    assert "100.0 %" in cards[0]
    assert "points compared with" in cards[1]
    assert (
        len(browser.find_elements(By.CSS_SELECTOR, ".task.all .bar")) == len(browser.find_elements(By.CLASS_NAME, "point")) == 2
    )


def test_samples_are_filtered_by_outcome(opened, runs):
    samples = {sample.id: sample for sample in read_samples(runs[1])}
    browser = opened(runs)
    marks = browser.find_elements(By.CSS_SELECTOR, "select.mark")

    Select(marks[1]).select_by_visible_text("wrong")
    wrong = {name for name, sample in samples.items() if not sample.scores.correct}
    assert set(shown(browser)) == wrong < set(samples)
    assert f"{len(wrong)} of {LIMIT} questions" in browser.find_element(By.ID, "count").text
    Select(marks[0]).select_by_visible_text("wrong")
    assert shown(browser) == []
    assert browser.find_element(By.ID, "more").text == "No matching questions."

    browser.refresh()
    browser.find_element(By.ID, "differ").click()
    assert set(shown(browser)) == wrong


def test_samples_are_filtered_by_task(opened, runs):
    samples = {sample.id: sample for sample in read_samples(runs[0])}
    browser = opened(runs)
    task = next(iter(samples.values())).question.task
    Select(browser.find_element(By.ID, "task")).select_by_visible_text(task)
    assert set(shown(browser)) == {name for name, sample in samples.items() if sample.question.task == task}


def test_search_works_with_the_keyboard(opened, runs):
    name = read_samples(runs[0])[0].id
    browser = opened(runs)
    browser.find_element(By.TAG_NAME, "body").send_keys("/", name.upper())
    assert shown(browser) == [name]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert len(shown(browser)) == LIMIT


def test_keys_move_between_samples(opened, runs):
    browser = opened(runs)
    for key in "jjk":
        browser.switch_to.active_element.send_keys(key)
    assert shown(browser)[0] in browser.switch_to.active_element.text


def seconds(time):
    """Format as JavaScript's toFixed(1) does, which rounds a tie up where Python rounds it to even."""
    return f"{Decimal(time).quantize(Decimal('0.1'), ROUND_HALF_UP)} s"


def test_filmstrip_marks_core_frames_and_shows_captions(opened, runs):
    sample = read_samples(runs[0])[0]
    entry = opened(runs[:1]).find_element(By.CLASS_NAME, "entry")
    tiles = entry.find_elements(By.CLASS_NAME, "tile")
    times = [seconds(frame.time) for frame in sample.answer.frames]
    assert [tile.text for tile in tiles] == times
    core = [tile.text for tile in entry.find_elements(By.CSS_SELECTOR, ".tile.core")]
    assert core == [seconds(core.time) for core in sample.answer.core_frames]
    assert all(picture.get_property("naturalWidth") for picture in entry.find_elements(By.CSS_SELECTOR, "img.picture"))
    tiles[0].send_keys("")
    assert "a red square" in entry.find_element(By.CLASS_NAME, "caption").text


def test_entry_shows_reference_answers_evidence_error_and_verdict(opened, runs):
    first = read_samples(runs[0])[0]
    changed(runs[1], [sample.id for sample in read_samples(runs[1])].index(first.id), answer=None, error="the clip is damaged")
    scores = Verdict(logic=7, factuality=8, accuracy=9, conciseness=10, overall=6, reasons={"logic": "a gap"})
    entry = opened(runs, verdicts=[{first.id: scores}, {}]).find_element(By.CLASS_NAME, "entry")
    assert entry.find_element(By.CSS_SELECTOR, ".options .correct").text.splitlines() == [first.question.answer, "1"]
    assert all(text in entry.text for text in ("nothing of that kind", "the clip is damaged", "logic 7", "overall 6"))
    assert entry.find_element(By.CSS_SELECTOR, ".verdict li").get_attribute("title") == "a gap"


def test_text_in_data_never_becomes_markup(opened, runs):
    sample = read_samples(runs[0])[0]
    question = sample.question.model_copy(update={"text": HOSTILE, "task": HOSTILE, "options": (HOSTILE, "b"), "answer": HOSTILE})
    caption = sample.answer.captions[0].model_copy(update={"text": HOSTILE})
    visual = sample.answer.visuals[0].model_copy(update={"source": HOSTILE, "digest": HOSTILE})
    answer = sample.answer.model_copy(update={"text": HOSTILE, "captions": (caption,), "visuals": (visual,)})
    changed(runs[0], 0, question=question, answer=answer)
    runs[0] = runs[0].rename(runs[0].with_name("<i>run"))
    browser = opened(runs[:1])
    assert "owned" not in browser.title
    assert browser.find_element(By.CSS_SELECTOR, ".entry h3").text == HOSTILE
    assert browser.find_elements(By.CSS_SELECTOR, "main b:not(.bar b, .caption b), main i:not(.bar i, .scale i, .field i)") == []
    assert HOSTILE in [option.text for option in browser.find_elements(By.CSS_SELECTOR, "#task option")]


def test_changed_video_is_reported_and_shown_without_pictures(opened, runs):
    sample = read_samples(runs[0])[0]
    answer = sample.answer.model_copy(
        update={"visuals": (sample.answer.visuals[0].model_copy(update={"digest": "of another file"}),)}
    )
    changed(runs[0], 0, answer=answer)
    browser = opened(runs[:1])
    entry = browser.find_element(By.CLASS_NAME, "entry")
    assert len(entry.find_elements(By.CLASS_NAME, "tile")) == len(sample.answer.frames)
    assert entry.find_elements(By.CSS_SELECTOR, "img") == []
    assert "1 video was moved or changed" in browser.find_element(By.CLASS_NAME, "gone").text


def test_all_samples_can_be_reached_by_scrolling(opened, runs):
    samples = read_samples(runs[0])
    many = [sample.model_copy(update={"id": f"{sample.id}-{again}"}) for again in range(10) for sample in samples]
    (runs[0] / "samples.jsonl").write_text("".join(sample.model_dump_json() + "\n" for sample in many))
    browser = opened(runs[:1])
    assert len(shown(browser)) < len(many)
    for _ in range(len(many)):
        browser.execute_script("scrollTo(0, document.body.scrollHeight)")
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert len(shown(browser)) == len(many)


def test_page_fits_a_phone_and_has_a_dark_mode(opened, runs):
    browser = opened(runs)
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    background = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(background)
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.execute_script(background) != light
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_long_filmstrip_keeps_core_frames(runs, monkeypatch):
    monkeypatch.setattr(page, "STRIP_FRAMES", (4, 4))
    sample = read_samples(runs[0])[0]
    (strip,) = page._entries([[sample]], [{}])[0].strips
    assert len(strip.tiles) == 4
    assert strip.left_out == len(sample.answer.frames) - 4
    assert {tile.index for tile in strip.tiles} >= {core.frame.index for core in sample.answer.core_frames}


def test_cost_is_visual_tokens_if_the_tflops_of_a_run_are_unknown(runs):
    first, second = compare(runs)
    assert "TFLOPs" in page._plot([first, second]).cost.name
    second = second.model_copy(update={"metrics": second.metrics.model_copy(update={"tflops_all": None})})
    plot = page._plot([first, second])
    assert "visual tokens" in plot.cost.name
    assert all(0 < plot.cost.place(cost) <= 100 for cost in plot.costs)


def test_command_prints_the_table_and_replaces_the_page(runs, tmp_path):
    (tmp_path / "page.html").write_text("old")
    done = CliRunner().invoke(app, ["eval", "report", *map(str, runs), "--markdown", "--html", str(tmp_path / "page.html")])
    assert done.exit_code == 0
    assert done.stdout.startswith("| | correct | half |")
    assert (tmp_path / "page.html").read_text().endswith("</html>")
    with pytest.raises(DataError, match="does not exist"):
        page.write(tmp_path / "nowhere" / "page.html", runs)
