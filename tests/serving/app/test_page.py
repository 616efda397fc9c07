"""The app in Chromium: ask, pairs, runs and review, as a user does."""

import json

import numpy as np
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from agents.annotate.dataset.export import export
from espresso import media


def video(page, tab):
    script = f"const video = document.querySelector('#{tab}-stage video'); return [video.readyState, video.currentTime]"
    return page.browser.execute_script(script)


def fill(page, name, text):
    element = page.wait(f"#{name} textarea, #{name} input")
    element.send_keys(Keys.CONTROL, "a")
    element.send_keys(Keys.BACKSPACE, text)


def upload(page, name, path):
    page.wait(f"#{name} input[type=file]").send_keys(str(path))


def test_uploaded_clip_is_asked_about_and_a_core_frame_seeks_the_video(page, app):
    question = app.questions[0]
    upload(page, "ask-upload", app.clip)
    assert app.clip.name in page.wait("#ask-stage figure").text
    fill(page, "ask-question", question.text)
    fill(page, "ask-options", "\n".join(question.options))
    reply = page.answer("ask")

    assert any(option in reply for option in question.options)
    assert page.wait("#ask-result .e-evidence").text
    rows, cores = page.all(".e-timeline .e-row"), page.all(".e-core")
    assert len(rows) > len(cores) > 0
    assert len(page.all(".e-timeline .e-row.core")) == len(cores)
    assert all(row.find_element(By.CLASS_NAME, "e-caption").text for row in rows)
    pictures = page.all(".e-core img")
    page.until("pictures", lambda: all(picture.get_property("naturalWidth") for picture in pictures))

    cores[-1].click()
    time = float(cores[-1].get_attribute("data-seek"))
    page.until("the seek", lambda: abs(video(page, "ask")[1] - time) < 0.01)
    page.until("the frame", lambda: video(page, "ask")[0] >= 2)


def test_things_in_the_evidence_have_boxes_on_core_frames_unless_unchecked(page, app):
    question = app.questions[1]
    upload(page, "ask-upload", question.visuals[0])
    page.wait("#ask-stage video")
    fill(page, "ask-question", question.text)
    page.answer("ask")
    boxes = page.all(".e-core .e-box")
    assert boxes
    evidence = page.wait("#ask-result .e-evidence").text
    assert all(box.text in evidence for box in boxes)
    costs = {row.text.split()[0] for row in page.all(".e-cost tbody tr:not(.note)")}
    assert {"name", "ground"} <= costs

    page.wait("#ask-boxes input").click()
    page.wait("#ask-go").click()
    page.wait("#ask-result:has(.e-cost):not(:has(.e-box))")
    assert "ground" not in page.wait(".e-steps").text


def test_further_question_about_an_example_takes_captions_from_the_cache(page):
    page.example("ask", 0)
    page.wait("#ask-stage video")
    page.answer("ask")
    frames = len(page.all(".e-timeline .e-row"))
    fill(page, "ask-question", "What does the red circle do?")
    fill(page, "ask-options", "")
    page.wait("#ask-go").click()
    page.wait("#ask-result:has(.e-cost):not(:has(.e-options))")  # in one look: the first answer may still be there
    caption = next(row for row in page.all(".e-cost tbody tr") if row.text.startswith("caption"))
    assert caption.find_element(By.CLASS_NAME, "cached").text == str(frames)


def test_file_of_an_allowed_folder_is_chosen_from_the_list(page, app):
    page.choose("ask-file", app.clip.name)
    page.until("the clip", lambda: app.clip.name in page.wait("#ask-stage figure").text)
    fill(page, "ask-question", app.questions[0].text)
    assert page.answer("ask")


def test_keyboard_alone_asks_and_seeks(page):
    page.wait("#ask-examples .gallery button").send_keys(Keys.ENTER)
    page.wait("#ask-stage video")
    page.until("the question", lambda: page.wait("#ask-question textarea, #ask-question input").get_property("value"))
    page.wait("#ask-go").send_keys(Keys.ENTER)
    page.until("an answer", lambda: page.all("#ask-result .e-cost"))
    row = page.all(".e-row")[2]
    row.send_keys(Keys.ENTER)
    page.until("the seek", lambda: abs(video(page, "ask")[1] - float(row.get_attribute("data-seek"))) < 0.01)


def test_mistakes_are_one_sentence_and_the_app_continues(page, tmp_path, app):
    def problem(where):
        return page.until("a problem", lambda: page.wait(f"{where} .e-problem").text)

    page.wait("#ask-go").click()
    assert "no image or video is chosen" in problem("#ask-result")

    (tmp_path / "broken.mp4").write_bytes(app.clip.read_bytes()[:3000])
    upload(page, "ask-upload", tmp_path / "broken.mp4")
    assert "broken.mp4" in problem("#ask-stage")

    media.write_video(tmp_path / "long.mp4", np.zeros((60, 64, 64, 3), np.uint8), 1)
    upload(page, "ask-upload", tmp_path / "long.mp4")
    page.until("the limit", lambda: "more than the limit" in page.wait("#ask-stage .e-problem").text)

    upload(page, "ask-upload", app.clip)
    page.wait("#ask-stage video")
    page.wait("#ask-go").click()
    page.until("the empty question", lambda: "the question is empty" in page.wait("#ask-result .e-problem").text)
    fill(page, "ask-question", "What happens?")
    fill(page, "ask-options", "it hits")
    page.wait("#ask-go").click()
    page.until("one option", lambda: "only one option" in page.wait("#ask-result .e-problem").text)


def test_markup_in_names_and_questions_is_text(page, tmp_path, app):
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    hostile.write_bytes(app.clip.read_bytes())
    upload(page, "ask-upload", hostile)
    page.wait("#ask-stage video")
    fill(page, "ask-question", "<b>What</b> happens?")
    fill(page, "ask-options", "<i>it hits</i>\nnothing")
    page.answer("ask")
    assert "<i>it hits</i>" in page.wait(".e-options").text


def test_statement_about_a_pair_is_true_or_false_and_why(page):
    page.tab("Pairs")
    page.example("pairs", 0)
    page.until("both images", lambda: len(page.all("#pairs-first figure, #pairs-second figure")) == 2)
    assert page.answer("pairs") in ("A True", "B False")
    assert len(page.all("#pairs-result .e-visual")) == 2
    assert page.all("#pairs-result .e-evidence")


def test_runs_are_opened_browsed_and_compared(page):
    page.tab("Runs")
    page.choose("runs-run", "selector")
    page.choose("runs-other", "blind")
    page.wait("#runs-open").click()
    page.browser.switch_to.frame(page.wait("#runs-result iframe"))
    assert len(page.all("article.run")) == 2
    page.wait(".entry").find_element(By.CLASS_NAME, "tile")
    assert len(page.all(".entry")) == 3
    page.browser.switch_to.default_content()


def test_decisions_of_the_review_are_those_that_the_export_honours(page, app, tmp_path):
    page.tab("Review")
    page.browser.switch_to.frame(page.wait("#review-result iframe"))
    drop = page.until("an entry", lambda: page.all(".entry .decide button")[1])
    drop.click()
    page.until("the decision", lambda: "1 decisions stored" in page.wait("#message").text)
    dropped = page.wait(".entry.drop code").text
    page.browser.switch_to.default_content()
    decisions = app.data.with_suffix(".decisions.json")
    assert json.loads(decisions.read_text()) == {dropped: "drop"}
    assert export(app.data, tmp_path / "export").dropped == 1
    decisions.unlink()


def test_page_fits_a_phone_and_has_a_dark_mode(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    light = page.browser.execute_script(background)
    try:
        phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        page.browser.refresh()
        page.example("ask", 0)
        page.wait("#ask-stage video")
        page.answer("ask")
        assert page.browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert page.browser.execute_script(background) != light
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
