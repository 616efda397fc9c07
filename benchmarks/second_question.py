"""Measure how much faster the second question about a clip is than the first.

    uv run python -m benchmarks.second_question [CLIP...] [--profile tiny]

The first question starts with an empty cache: it samples the clip and captions every frame. The
second question finds both in the cache. In "cold" rows the first question also loads the models, as
for a new user of `espresso.ask`. In "warm" rows the models are loaded, so only sampling and
captions make the difference, which grows with the length and size of the clip.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from agents.ask import aask
from agents.session import Session
from benchmarks.decode import minute
from espresso import media, profiles, world
from espresso.models import connect
from espresso.schema import Answer

QUESTIONS = ("What happens first?", "What happens last?")


async def _ask(path: Path, text: str, session: Session) -> tuple[float, Answer]:
    start = time.perf_counter()
    answer = await aask(media.open(path), text, session=session)
    return time.perf_counter() - start, answer


async def main() -> None:
    """Time both questions on each clip and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="videos; default: a world clip and one minute of 1080p")
    parser.add_argument("--profile", default="tiny", help="profile name or TOML file")
    parser.add_argument("--repeats", type=int, default=5, help="number of warm pairs; their medians are printed")
    options = parser.parse_args()
    profile = profiles.load(options.profile)
    roles = connect(profile)
    with tempfile.TemporaryDirectory() as folder:
        if not options.clips:
            options.clips = [Path(folder) / "world.mp4", minute(Path(folder))]
            world.demo_clip(options.clips[0], seed=1)
        print(f"{'clip':24} {'':4} {'first':>8} {'second':>8} {'ratio':>6}   captioned frames")
        cold = True
        for number, path in enumerate(options.clips):
            pairs = []
            for repeat in range(options.repeats + cold):
                with Session(profile, roles=roles, cache=Path(folder) / f"cache-{number}-{repeat}") as session:
                    (first, one), (second, two) = [await _ask(path, text, session) for text in QUESTIONS]
                captioned = [
                    sum(step.frames - step.cached for step in answer.trace if step.role == "captioner") for answer in (one, two)
                ]
                if cold:
                    _print(path, "cold", first, second, captioned)
                    cold = False
                else:
                    pairs.append((first, second))
            _print(path, "warm", median(pair[0] for pair in pairs), median(pair[1] for pair in pairs), captioned)
    await roles.disconnect()


def _print(path: Path, name: str, first: float, second: float, captioned: list[int]) -> None:
    print(
        f"{path.name[:24]:24} {name} {first:7.2f}s {second:7.2f}s {first / second:5.1f}x   {captioned[0]}, then {captioned[1]}",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main())
