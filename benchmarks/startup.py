"""Measure how long `espresso ask` takes from the shell, with every start a new process.

    uv run python -m benchmarks.startup

Each round asks the first question about a new clip with an empty cache: the time from the start of
the process to its end, so imports, loading the models, decoding, captions, the answer and the
interpreter's exit are all in it. The operating system has read the files before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from espresso import world


def measure(folder: Path, rounds: int) -> list[float]:
    """Return the seconds of each round.

    Args:
        folder: folder for the clips and the caches.
        rounds: number of starts.
    """
    seconds = []
    for seed in range(rounds + 1):
        clip = folder / f"{seed}.mp4"
        question = world.demo_clip(clip, seed)[0]
        options = [word for option in question.options or () for word in ("--option", option)]
        command = [
            str(Path(sys.executable).parent / "espresso"),
            "ask",
            str(clip),
            question.text,
            *options,
            "--profile",
            "tiny",
            "--json",
        ]
        start = time.perf_counter()
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"XDG_CACHE_HOME": str(folder / f"cache-{seed}")}
        )
        seconds.append(time.perf_counter() - start)
    return seconds[1:]  # the first reads the files


def main() -> None:
    """Run the benchmark and print the median and the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), rounds)
    print(f"espresso ask: {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}, {rounds} rounds)")


if __name__ == "__main__":
    main()
