"""Measure how long the selection of frames takes, among 600 and 3,600 captions.

    uv run python -m benchmarks.select_frames [--profile laptop]

"cold" embeds every caption; "warm" is a further question about the same captions, and also the
first one after the caption node, which embeds captions as they are written. Captions have about
the length of those that `prompts/general/caption.jinja` asks for, 35 words.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from agents.answer.select import choose
from agents.session import Session
from espresso.schema import Caption, Frame

COUNTS = (600, 3600)
WORDS = 35
QUESTIONS = ("why did the man put the box down", "what does the girl do after the dog runs away")
_VOCABULARY = """
man woman child dog box table street kitchen garden ball red blue green small large holds carries puts opens closes
walks runs sits looks smiles near behind under beside with a the in on at
"""


def _captions(count: int) -> list[Caption]:
    rng = np.random.default_rng(0)
    return [
        Caption(frame=Frame(index=second, time=float(second)), text=" ".join(rng.choice(_VOCABULARY.split(), WORDS)))
        for second in range(count)
    ]


async def main() -> None:
    """Time the selection and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="laptop", help="a profile with a ranker: a name or a TOML file")
    parser.add_argument("--repeats", type=int, default=3, help="warm questions; the fastest is printed")
    options = parser.parse_args()
    print(f"{'captions':>8} {'cold, s':>8} {'warm, s':>8}   frames")
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            with Session(options.profile, cache=Path(folder) / str(count)) as session:
                assert session.roles.ranker, "choose a profile with a [ranker]"
                await session.roles.ranker.load()
                captions, seconds, frames = _captions(count), list[float](), 0
                for question in (QUESTIONS[0], *[QUESTIONS[1]] * options.repeats):
                    start = time.perf_counter()
                    choice = await choose(question, (), captions, session, by="embedding", budget=8)
                    seconds.append(time.perf_counter() - start)
                    frames = len(choice.captions)
            print(f"{count:8} {seconds[0]:8.2f} {min(seconds[1:]):8.2f}   {frames}")


if __name__ == "__main__":
    asyncio.run(main())
