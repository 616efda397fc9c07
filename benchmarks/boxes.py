"""Measure the boxes of key items in answers, on clips of the world whose record has the true ones.

    uv run python -m benchmarks.boxes --questions 140

Asks questions of the val split with `boxes=True`, once with the profile's verifier and once without
it. The evidence of both is the same, so both look for the same key items. Intervals are 95 %,
clustered by clip.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agents.ask import ask
from agents.session import Session
from espresso import profiles, world
from espresso.profiles import Profile
from espresso.schema import KeyItem, Question
from eval.annotations import Share, score_boxes


def main() -> None:
    """Ask all questions twice and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=140, help="number of questions; the fourteen tasks take turns")
    parser.add_argument("--profile", default="tiny", help="profile name or TOML file, with a detector")
    parser.add_argument("--folder", type=Path, help="where clips and captions are kept for the next time; default: nowhere")
    options = parser.parse_args()
    profile = profiles.load(options.profile)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        questions = world.make("val", options.questions, folder / "world", workers=1)
        for name, used in (("verified", profile), ("not verified", profile.model_copy(update={"verifier": None}))):
            items, boxed = _located(questions, used, folder / "cache")
            scores = score_boxes(items)
            print(f"{name}: {len(questions)} questions, {boxed} of them with a box")
            for title, share in (
                ("key items with a box", scores.kept),
                ("intersection over union of the boxes", scores.iou),
                ("boxes that are right (IoU of 0.5 or more)", scores.right),
                ("visible key items with a right box", scores.found),
            ):
                print(f"  {title}: {_text(share)}")


def _located(questions: Sequence[Question], profile: Profile, cache: Path) -> tuple[list[tuple[KeyItem, str]], int]:
    """Return the key items of all answers with their clips, and how many answers have a box."""
    items, boxed = list[tuple[KeyItem, str]](), 0
    with Session(profile, cache=cache) as session:
        for question in questions:
            answer = ask(question.visuals[0], question.text, options=question.options, session=session, boxes=True)
            items += [(item, question.visuals[0]) for item in answer.evidence.key_items]
            boxed += any(item.box for item in answer.evidence.key_items)
    return items, boxed


def _text(share: Share | None) -> str:
    return f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f}), n = {share.n}" if share else "none"


if __name__ == "__main__":
    main()
