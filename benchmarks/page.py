"""Measure how fast Chromium opens and filters the run report of 1,400 samples.

    uv run python -m benchmarks.page                           run a small benchmark first
    uv run python -m benchmarks.page runs/first runs/second    compare two runs of 1,400 samples

The samples of a run are repeated under new ids. Their clips are copied with some padding at the
end, so that each is a different file whose frames are decoded and stored separately. A page is
usable once it is loaded, its first samples are drawn and their pictures decoded. Each round starts
a new browser with an empty profile.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from espresso.schema import Visual
from eval.report import html as page
from eval.run import run
from eval.run_folder import read_samples
from eval.sample import Sample

SMALL = 30
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --window-size=1360,900"
)
USABLE = """
const done = arguments[0], pictures = [...document.querySelectorAll(".entry img")];
Promise.all(pictures.map((picture) => picture.decode())).then(() =>
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() / 1000))));
"""
FILTERED = """
const words = document.getElementById("words"), start = performance.now();
words.value = arguments[0];
words.dispatchEvent(new Event("input"));
requestAnimationFrame(() => requestAnimationFrame(() => arguments[1]((performance.now() - start) / 1000)));
"""


def grow(folder: Path, out: Path, clips: Path, count: int, copies: int) -> None:
    """Make a run of `count` samples from a smaller run.

    Args:
        folder: the smaller run.
        out: folder of the new run.
        clips: folder for the copies of the clips.
        count: number of samples.
        copies: number of copies of each clip.
    """
    out.mkdir(parents=True)
    shutil.copy(folder / "run.json", out)
    samples = sorted(read_samples(folder), key=lambda sample: sample.id)
    with (out / "samples.jsonl").open("w") as file:
        for number in range(count):
            repeat, place = divmod(number, len(samples))
            file.write(_repeated(samples[place], repeat, repeat % copies, clips).model_dump_json() + "\n")


def _repeated(sample: Sample, repeat: int, copy: int, clips: Path) -> Sample:
    """Return the sample under another id, about copies of its clips."""
    name = f"{sample.id}-{repeat}"
    visuals = [_copied(Path(visual), copy, clips) for visual in sample.question.visuals]
    question = sample.question.model_copy(update={"id": name, "visuals": tuple(map(str, visuals))})
    answer = sample.answer
    if answer:
        copied = [_visual(visual, path) for visual, path in zip(answer.visuals, visuals, strict=True)]
        answer = answer.model_copy(update={"visuals": tuple(copied)})
    return sample.model_copy(update={"id": name, "question": question, "answer": answer})


def _copied(clip: Path, copy: int, clips: Path) -> Path:
    path = clips / f"{clip.stem}-{copy}{clip.suffix}"
    if not path.exists():
        path.write_bytes(clip.read_bytes() + (12).to_bytes(4) + b"free" + copy.to_bytes(4))  # an MP4 box that readers skip
    return path


def _visual(visual: Visual, path: Path) -> Visual:
    return visual.model_copy(update={"source": str(path), "digest": sha256(path.read_bytes()).hexdigest()})


def measure(path: Path, word: str) -> tuple[float, float, int]:
    """Return seconds until the page is usable, seconds to filter it, and samples drawn at first."""
    with tempfile.TemporaryDirectory() as profile:
        settings = webdriver.ChromeOptions()
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            settings.add_argument(flag)
        settings.binary_location = shutil.which("chromium") or ""
        browser = webdriver.Chrome(settings, Service(shutil.which("chromedriver")))
        try:
            browser.get(path.absolute().as_uri())
            usable = browser.execute_async_script(USABLE)
            drawn = browser.execute_script("return document.querySelectorAll('.entry').length")
            return usable, browser.execute_async_script(FILTERED, word), drawn
        finally:
            browser.quit()


def main() -> None:
    """Write the page and print a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders; default: a small run of the world")
    parser.add_argument("--samples", type=int, default=1400, help="samples of each run")
    parser.add_argument("--clips", type=int, default=350, help="approximate number of different clips")
    parser.add_argument("--rounds", type=int, default=3, help="browsers that open the page")
    parser.add_argument("--word", default="square", help="search term for the filter")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.runs:
            options.runs = [folder / "small"]
            run("world", limit=SMALL, profile="tiny", out=options.runs[0])
        originals = {visual for sample in read_samples(options.runs[0]) for visual in sample.question.visuals}
        clips, grown = folder / "clips", [folder / str(number) / run.name for number, run in enumerate(options.runs)]
        clips.mkdir()
        for small, large in zip(options.runs, grown, strict=True):
            grow(small, large, clips, options.samples, max(1, round(options.clips / len(originals))))
        start = time.perf_counter()
        unreadable = page.write(folder / "page.html", grown)
        seconds, size = time.perf_counter() - start, (folder / "page.html").stat().st_size
        print(
            f"{len(grown)} runs of {options.samples} samples about {len(list(clips.iterdir()))} clips "
            f"({len(unreadable)} unreadable)"
        )
        print(f"written in {seconds:.1f} s, {size / 1e6:.1f} MB")
        for number in range(options.rounds):
            usable, filtered, drawn = measure(folder / "page.html", options.word)
            print(
                f"round {number + 1}: usable after {usable:.2f} s, {drawn} samples drawn; filtered in {filtered:.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
