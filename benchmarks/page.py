"""Open the HTML page about runs of 1,400 samples in Chromium: seconds until it can be used, and to filter it.

    uv run python -m benchmarks.page                           a small run of the world is made first
    uv run python -m benchmarks.page runs/first runs/second    the page of these, side by side, each grown to 1,400 samples

The samples of the runs are repeated under new names, about clips that are copies of theirs with a few bytes of nothing at the
end: other files, so that the pictures of each are decoded, kept and shown as its own. A page can be used when it is loaded, its
first samples are drawn and their pictures decoded. Each round is a fresh browser with an empty profile.
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
from eval.log.run_folder import samples_in
from eval.metrics import Sample
from eval.report import html as page
from eval.run import run

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
    """Make a run of `count` samples in `out` from a smaller one; of each clip so many copies go to the folder `clips`."""
    out.mkdir(parents=True)
    shutil.copy(folder / "run.json", out)
    samples = sorted(samples_in(folder), key=lambda sample: sample.id)
    with (out / "samples.jsonl").open("w") as file:
        for number in range(count):
            again, place = divmod(number, len(samples))
            file.write(_repeated(samples[place], again, again % copies, clips).model_dump_json() + "\n")


def _repeated(sample: Sample, again: int, copy: int, clips: Path) -> Sample:
    """Give a sample another name, and a copy of its clips."""
    name = f"{sample.id}-{again}"
    visuals = [_copied(Path(visual), copy, clips) for visual in sample.question.visuals]
    question = sample.question.model_copy(update={"id": name, "visuals": tuple(map(str, visuals))})
    answer = sample.answer
    if answer:
        seen = [_known(visual, path) for visual, path in zip(answer.visuals, visuals, strict=True)]
        answer = answer.model_copy(update={"visuals": tuple(seen)})
    return sample.model_copy(update={"id": name, "question": question, "answer": answer})


def _copied(clip: Path, copy: int, clips: Path) -> Path:
    path = clips / f"{clip.stem}-{copy}{clip.suffix}"
    if not path.exists():
        path.write_bytes(clip.read_bytes() + (12).to_bytes(4) + b"free" + copy.to_bytes(4))  # an MP4 box that readers skip
    return path


def _known(visual: Visual, path: Path) -> Visual:
    return visual.model_copy(update={"source": str(path), "digest": sha256(path.read_bytes()).hexdigest()})


def measure(path: Path, word: str) -> tuple[float, float, int]:
    """Seconds until the page can be used, and until it is filtered by a word; how many entries it has drawn at first."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = shutil.which("chromium") or ""
        browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            browser.get(path.absolute().as_uri())
            usable = browser.execute_async_script(USABLE)
            drawn = browser.execute_script("return document.querySelectorAll('.entry').length")
            return usable, browser.execute_async_script(FILTERED, word), drawn
        finally:
            browser.quit()


def main() -> None:
    """Print what was made, and a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--samples", type=int, default=1400)
    parser.add_argument("--clips", type=int, default=350, help="about so many different ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--word", default="square", help="what the samples are searched for")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not asked.runs:
            asked.runs = [folder / "small"]
            run("world", limit=SMALL, profile="tiny", out=asked.runs[0])
        originals = {visual for sample in samples_in(asked.runs[0]) for visual in sample.question.visuals}
        clips, grown = folder / "clips", [folder / str(number) / run.name for number, run in enumerate(asked.runs)]
        clips.mkdir()
        for small, large in zip(asked.runs, grown, strict=True):
            grow(small, large, clips, asked.samples, max(1, round(asked.clips / len(originals))))
        start = time.perf_counter()
        gone = page.write(folder / "page.html", grown)
        seconds, size = time.perf_counter() - start, (folder / "page.html").stat().st_size
        print(f"{len(grown)} runs of {asked.samples} samples about {len(list(clips.iterdir()))} clips ({len(gone)} unread)")
        print(f"written in {seconds:.1f} s, {size / 1e6:.1f} MB")
        for number in range(asked.rounds):
            usable, filtered, drawn = measure(folder / "page.html", asked.word)
            print(
                f"round {number + 1}: usable after {usable:.2f} s, {drawn} samples drawn; filtered in {filtered:.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
