"""Measure how much faster the second question about a clip is than the first.

    uv run python -m benchmarks.second_question [CLIP...] [--profile tiny]

The first question finds an empty cache: it samples the clip and captions every frame. The second finds both done. "cold" is what
a user of `espresso.ask` meets, who pays for loading the models with the first question; "warm" has models that were loaded and
used before, where only samples and captions make the difference, and a clip's length and size with them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from agents.ask import aask
from benchmarks.decode import minute
from espresso import media, world
from espresso.cache import Cache
from espresso.schema import Answer

QUESTIONS = ("What happens first?", "What happens last?")


async def _ask(path: Path, text: str, profile: str, cache: Cache) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = await aask(media.open(path), text, profile=profile, cache=cache)
    return time.perf_counter() - began, answer


async def main() -> None:
    """Time both questions on each clip and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="videos; a world clip and a minute of 1080p by default")
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--repeats", type=int, default=5, help="warm pairs, of which the medians are printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.clips:
            options.clips = [Path(folder) / "world.mp4", minute(Path(folder))]
            world.demo_clip(options.clips[0], seed=1)
        print(f"{'clip':24} {'':4} {'first':>8} {'second':>8} {'ratio':>6}   frames captioned")
        cold = True
        for number, path in enumerate(options.clips):
            pairs = []
            for repeat in range(options.repeats + cold):
                cache = Cache(Path(folder) / f"cache-{number}-{repeat}")
                (first, one), (second, two) = [await _ask(path, text, options.profile, cache) for text in QUESTIONS]
                cache.close()
                made = [sum(s.frames - s.cached for s in answer.trace if s.node == "caption") for answer in (one, two)]
                if cold:
                    _print(path, "cold", first, second, made)
                    cold = False
                else:
                    pairs.append((first, second))
            _print(path, "warm", median(pair[0] for pair in pairs), median(pair[1] for pair in pairs), made)


def _print(path: Path, name: str, first: float, second: float, made: list[int]) -> None:
    print(
        f"{path.name[:24]:24} {name} {first:7.2f}s {second:7.2f}s {first / second:5.1f}x   {made[0]}, then {made[1]}", flush=True
    )


if __name__ == "__main__":
    asyncio.run(main())
