"""Make the screenshots in the README: an answer report, a run report, and the web app.

    uv run python docs/make_images.py

Runs the demo and two runs of 56 questions with the profile `tiny` in a temporary folder, opens both
pages and the app in headless Chromium, and writes answer-report.png, run-report.png and app.png to
docs/images. Needs chromium and chromedriver on the PATH. The numbers in the run report are those of
a small sample; docs/results/tiny.md has the measured ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

IMAGES = Path(__file__).parent / "images"
SEED = 7
"""A clip whose three questions are answered correctly from clear evidence."""
QUESTIONS = 56
"""Four for each of the fourteen tasks."""
WINDOW = (1160, 1500)
"""Pixels of the browser window; its height is the least that the pages need."""
APP_HEIGHT = 1290
"""Pixels of the image of the app: the answer, and the start of its timeline."""
EXAMPLE = 2
"""Position of the app's example whose things have boxes in both core frames."""
WAIT_S = 120
"""Seconds to wait for the app and for its answer."""
WIDTH = 920
"""Pixels of a finished image."""
COLOURS = 256
"""Palette size: the file stays under 150 KB, and no pixel is visibly off."""


def main() -> None:
    """Make all images."""
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        sys.exit(
            f"{' and '.join(missing)} not found: install Chromium with its driver (apt-get install chromium chromium-driver)"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answer_page, run_page = write_pages(folder)
        browser = open_browser(folder / "browser")
        try:
            browser.get(answer_page.as_uri())
            second = browser.find_elements(By.CSS_SELECTOR, "main > article")[1]
            save(browser, "answer-report", top=second.rect["y"], bottom=second.rect["y"] + second.rect["height"])

            browser.get(run_page.as_uri())
            browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = false)")
            browser.find_element(By.ID, "differ").click()  # begin with a question on which the runs disagree
            sample = browser.find_element(By.CLASS_NAME, "entry")
            save(browser, "run-report", top=0, bottom=sample.rect["y"] + sample.rect["height"])

            with running_app(folder) as address:
                ask_in_app(browser, address)
                save(browser, "app", top=0, bottom=APP_HEIGHT)
        finally:
            browser.quit()


def write_pages(folder: Path) -> tuple[Path, Path]:
    """Run the demo and two runs in `folder`; return their pages."""
    environment = os.environ | {"ESPRESSO_CACHE": str(folder / "cache")}

    def espresso(*arguments: object) -> None:
        subprocess.run(["espresso", *map(str, arguments)], cwd=folder, env=environment, check=True)

    espresso("demo", "--seed", SEED)
    for strategy in ("selector", "uniform"):
        espresso("eval", "run", "world", "--limit", QUESTIONS, "--strategy", strategy, "--out", strategy)
    espresso("eval", "report", "selector", "uniform", "--html", "runs.html")
    return folder / "espresso-demo" / "espresso-demo.html", folder / "runs.html"


@contextmanager
def running_app(folder: Path) -> Iterator[str]:
    """Run the app with the runs of `folder`; yield its address."""
    environment = os.environ | {"ESPRESSO_CACHE": str(folder / "cache")}
    command = ["espresso", "app", "--port", "0", "--runs", str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            if process.stdout.readline() != "ready\n":
                sys.exit("the app did not start")
            yield address
        finally:
            process.terminate()


def ask_in_app(browser: webdriver.Chrome, address: str) -> None:
    """Ask an example and seek to its last core frame."""

    def wait(css: str) -> WebElement:
        return WebDriverWait(browser, WAIT_S).until(lambda _: browser.find_elements(By.CSS_SELECTOR, css))[0]

    browser.set_window_size(*WINDOW)
    browser.get(address)
    wait("#ask-examples .gallery button")
    browser.find_elements(By.CSS_SELECTOR, "#ask-examples .gallery button")[EXAMPLE].click()
    wait("#ask-stage video")
    time.sleep(1)  # until the page has its final layout
    wait("#ask-go").click()
    wait("#ask-result .e-cost")
    browser.find_elements(By.CLASS_NAME, "e-core")[-1].click()
    time.sleep(1)  # the seek, and the pictures
    browser.execute_script("document.activeElement.blur(); document.querySelector('#ask-stage video').controls = false")


def open_browser(user_data: Path) -> webdriver.Chrome:
    """Start headless Chromium in the light colour scheme."""
    options = webdriver.ChromeOptions()
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",  # else pages of a server wait, where there is no network
        "--hide-scrollbars",
        f"--user-data-dir={user_data}",
    ):
        options.add_argument(flag)
    options.binary_location = str(shutil.which("chromium"))
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    browser.set_window_size(*WINDOW)
    return browser


def save(browser: webdriver.Chrome, name: str, *, top: float, bottom: float) -> None:
    """Save the part of the open page between two heights (CSS pixels) as docs/images/<name>.png."""
    margin = 16
    page_height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.set_window_size(WINDOW[0], int(page_height) + 200)  # Chromium keeps some of the height for itself
    image = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    image = image.crop((0, max(0, int(top) - margin), image.width, min(image.height, int(bottom) + margin)))
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    path = IMAGES / f"{name}.png"
    palette = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)
    print(f"{path}: {image.width} x {image.height} pixels, {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
