"""One app and one browser for all tests of the app."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from api_server import running
from browser import clear_logs, console, requested
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from agents.session import Session
from espresso import world
from espresso.datasets import records
from eval.run import run

WAIT_S = 240
STALE = (StaleElementReferenceException,)
GRADIO_WARNING = "Method not implemented."
"""Gradio's own upload field writes this warning to the console."""

MAX_SECONDS = 30
"""Longest video that the app accepts here."""


@dataclass
class App:
    """A running app with two runs and a dataset to review."""

    url: str
    log: Path
    clip: Path
    questions: list
    data: Path


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    with pytest.MonkeyPatch.context() as patch, Session("tiny", cache=folder / "cache") as session:
        patch.setenv("ESPRESSO_CACHE", str(folder / "cache"))
        for strategy in ("selector", "blind"):
            run("world", limit=3, session=session, strategy=strategy, out=folder / "runs" / strategy)
    questions = world.make("val", 3, folder / "clips", workers=1)
    data = folder / "data.jsonl"
    records.write(data, questions)
    limits = ("--max-seconds", MAX_SECONDS, "--max-mb", 2)
    arguments = ("--runs", folder / "runs", "--review", data, "--allow-media", folder / "clips", *limits)
    with running(folder, *arguments, command=("app",)) as server:
        yield App(server.url, server.log, Path(questions[0].visuals[0]), questions, data)


class Page:
    """The page of the app in the browser."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def wait(self, css):
        """Return the first element as soon as there is one."""
        return WebDriverWait(self.browser, WAIT_S).until(lambda _: next(iter(self.all(css)), None), css)

    def until(self, what, condition):
        """Wait until a condition holds; elements may be replaced meanwhile."""
        return WebDriverWait(self.browser, WAIT_S, ignored_exceptions=STALE).until(lambda _: condition(), what)

    def tab(self, name):
        self.until(name, lambda: [tab for tab in self.all('[role="tab"]') if tab.text == name])[0].click()

    def example(self, tab, number=0):
        self.wait(f"#{tab}-examples .gallery button")
        self.all(f"#{tab}-examples .gallery button")[number].click()

    def choose(self, name, text):
        """Choose an entry of a list by typing it."""
        box = self.wait(f"#{name} input")
        box.click()
        box.clear()
        box.send_keys(text, Keys.ENTER)

    def answer(self, tab):
        """Press the button and wait for the answer."""
        self.wait(f"#{tab}-go").click()
        self.until("an answer", lambda: self.all(f"#{tab}-result .e-cost"))
        return self.wait(f"#{tab}-result .e-reply strong").text


@pytest.fixture
def page(app, chromium):
    """The page, opened anew. After the test, check for errors and foreign requests."""
    chromium.get("about:blank")
    clear_logs(chromium)
    chromium.get(app.url)
    opened = Page(chromium)
    opened.wait("#ask-go")
    yield opened
    assert [message for message in console(chromium) if GRADIO_WARNING not in message] == []
    assert [url for url in requested(chromium) if not url.startswith((app.url, "data:", "blob:"))] == []
    assert "Traceback" not in app.log.read_text()
