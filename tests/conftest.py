"""One thread per process, and one browser for all tests of pages."""

import os
import shutil

import pytest
from browser import LOGS
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; tests of two processes share two cores

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --window-size=1200,1000"
)
SCRIPT_TIMEOUT_S = 240


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Chromium with logs of its console and of its requests."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", LOGS)
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    browser.set_script_timeout(SCRIPT_TIMEOUT_S)
    yield browser
    browser.quit()
