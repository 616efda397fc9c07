"""Measure how much faster the second question about a clip is than the first.

    uv run python benchmarks/second_question.py [CLIP] [--profile tiny]

The first question finds an empty cache: it samples the clip and captions every frame. The second finds both done. Two ratios are
printed: "cold" as a user of `espresso.ask` meets it, who pays for loading the models with the first question; and "warm", with
models that were loaded and used before, where only the captions make the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from agents.ask import aask
from espresso import media, world
from espresso.cache import Cache
from espresso.schema import Answer

QUESTIONS = ("What happens first?", "What happens last?")


async def main() -> None:
    """Time both questions, cold and warm, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, help="a video; a fresh clip of the world by default")
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--repeats", type=int, default=5, help="warm pairs, of which the median ratio is printed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.clip or Path(folder) / "clip.mp4"
        if options.clip is None:
            world.demo_clip(path, seed=1)

        async def ask(text: str, cache: Cache) -> tuple[float, Answer]:
            began = time.perf_counter()
            answer = await aask(media.open(path), text, profile=options.profile, cache=cache)
            return time.perf_counter() - began, answer

        print(f"{'':6} {'first':>8} {'second':>8} {'ratio':>6}   captions made")
        ratios = []
        for repeat in range(options.repeats + 1):
            cache = Cache(Path(folder) / f"cache-{repeat}")
            pair = [await ask(text, cache) for text in QUESTIONS]
            cache.close()
            (first, one), (second, two) = pair
            ratios.append(first / second)
            made = [sum(step.frames - step.cached for step in answer.trace if step.node == "caption") for answer in (one, two)]
            print(f"{'warm' if repeat else 'cold':6} {first:7.2f}s {second:7.2f}s {ratios[-1]:5.1f}x   {made[0]} then {made[1]}")
        warm = sorted(ratios[1:])[len(ratios[1:]) // 2]
        print(f"second question: {ratios[0]:.1f}x faster than a first that loads models, {warm:.1f}x with models loaded (median)")


if __name__ == "__main__":
    asyncio.run(main())
