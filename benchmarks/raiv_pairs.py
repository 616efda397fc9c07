"""Measure how long 150,000 RAIV pairs take to build from annotation files, and the peak memory.

    uv run python -m benchmarks.raiv_pairs                    all three kinds
    uv run python -m benchmarks.raiv_pairs --kinds im-vid --count 20000

The annotation files are generated in the formats of SWiG and VidSitu, and in their sizes: 126,102
images with 504 verbs and 11,538 nouns by three annotators, and 24,952 annotated clips of five
events. The nouns of a role follow Zipf's law; both datasets have the same vocabulary. Each kind is
built by a process of its own, which reads the files, builds the pairs and writes them; another one
checks the file. CPU time is fairer than wall time on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

from espresso.datasets.raiv import build, check
from espresso.datasets.raiv.files import load, write
from espresso.datasets.raiv.statements import KINDS, Kind
from espresso.datasets.raiv.words import participle

IMAGES = {"train": 75_702, "dev": 25_200, "test": 25_200}
CLIPS = {"train": (23_626, 1), "valid": (1_326, 3)}
"""Split -> number of clips, annotations of each clip."""

VERBS, NOUNS, ROLE_NOUNS = 504, 11_538, 300
"""Verbs, nouns of the whole vocabulary, and different nouns of one role."""

AGREEMENT = 0.8
"""Probability that an annotator gives the true noun."""

SOURCES: dict[Kind, str] = {"im-im": "imsitu", "im-vid": "imsitu+vidsitu", "vid-vid": "vidsitu"}


class Roles:
    """Draws the nouns of each role of each verb; some nouns are frequent in all of them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.weights = rng, list(accumulate(1 / (rank + 1) for rank in range(ROLE_NOUNS)))
        self.nouns: dict[tuple[int, str], list[int]] = {}

    def draw(self, verb: int, role: str) -> int:
        """Return the number of a noun."""
        key = verb, role
        if key not in self.nouns:
            common = [self.rng.randrange(4), *self.rng.sample(range(4, 40), 9)]
            self.nouns[key] = common + [int(NOUNS * self.rng.random() ** 2) for _ in range(ROLE_NOUNS - 10)]
        return self.rng.choices(self.nouns[key], cum_weights=self.weights)[0]


def write_imsitu(folder: Path, rng: random.Random) -> None:
    """Write the four files of SWiG."""
    folder.mkdir(parents=True)
    names = ["agent", "place", "tool", "item", "victim", "destination"]
    roles = {participle(_lemma(number)): [*names[:2], *rng.sample(names[2:], rng.randrange(0, 4))] for number in range(VERBS)}
    space = {
        "nouns": {f"n{number:08d}": {"gloss": [_noun(number)], "def": "a thing"} for number in range(NOUNS)},
        "verbs": {
            verb: {
                "framenet": "Acting",
                "abstract": "an AGENT acts at a PLACE",
                "def": "act",
                "order": each,
                "roles": {r: {} for r in each},
            }
            for verb, each in roles.items()
        },
    }
    (folder / "imsitu_space.json").write_text(json.dumps(space))
    draw, verbs = Roles(rng), list(roles)
    for split, count in IMAGES.items():
        images = {}
        for number in range(count):
            verb = rng.randrange(VERBS)
            true = {role: draw.draw(verb, role) for role in roles[verbs[verb]]}
            frames = [
                {
                    role: "" if rng.random() < 0.08 else f"n{noun if rng.random() < AGREEMENT else draw.draw(verb, role):08d}"
                    for role, noun in true.items()
                }
                for _ in range(3)
            ]
            boxes = {role: [-1] * 4 if rng.random() < 0.3 else [10, 20, 110, 220] for role in true}
            images[f"{verbs[verb]}_{split}{number}.jpg"] = {
                "verb": verbs[verb],
                "height": 512,
                "width": 512,
                "bb": boxes,
                "frames": frames,
            }
        (folder / f"{split}.json").write_text(json.dumps(images))


def write_vidsitu(folder: Path, rng: random.Random) -> None:
    """Write the files of VidSitu's train and valid splits."""
    folder.mkdir(parents=True)
    draw = Roles(rng)
    for split, (count, annotators) in CLIPS.items():
        clips = [f"v_{split}{number:07d}_seg_{number % 90}_{number % 90 + 10}" for number in range(count)]
        rows = []
        for clip in clips:
            verbs = [rng.randrange(VERBS) for _ in range(5)]
            true = [{role: draw.draw(verb, role) for role in ("agent", "item", "place")} for verb in verbs]
            for _ in range(annotators):
                events = zip(verbs, true, strict=True)
                rows.append({f"Ev{number}": _event(clip, verb, nouns, draw) for number, (verb, nouns) in enumerate(events, 1)})
        (folder / f"vseg_split_{split}_lb.json").write_text(json.dumps(clips))
        (folder / f"vsann_{split}_lb.json").write_text(json.dumps(rows))


def _event(clip: str, verb: int, true: dict[str, int], draw: Roles) -> dict[str, object]:
    """Return an annotation of an event; the annotator agrees with the others on most nouns."""
    nouns = {role: _noun(noun if draw.rng.random() < AGREEMENT else draw.draw(verb, role)) for role, noun in true.items()}
    args = {"Arg0": f"the small {nouns['agent']} in front", "Arg1": f"a {nouns['item']}", "ArgM (manner)": "slowly"}
    args |= {"Scene of the Event": f"in a {nouns['place']}"}
    places = {name: place for place, name in enumerate(args)}
    lemma = _lemma(verb)
    return {"vid_uid": clip[2:13], "vid_seg_int": clip, "Verb": lemma, "VerbID": f"{lemma}.01", "Arg_List": places, "Args": args}


def _noun(number: int) -> str:
    """Return a number in letters: nouns have no digits."""
    return "".join("bcdfghklmn"[int(digit)] + "o" for digit in str(number)) + "t"


def _lemma(number: int) -> str:
    return f"{_noun(number)}ain"


def measure(kind: Kind, count: int, annotations: Path, out: Path) -> None:
    """Build one file of pairs and print seconds and memory."""
    start = time.perf_counter()
    loaded = load(SOURCES[kind], kind, annotations)  # type: ignore[arg-type]
    read = time.perf_counter()
    built = build(kind, loaded.situations, count, 0, abstracts=loaded.abstracts)
    drawn = time.perf_counter()
    write(out, built.pairs)
    end = time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    steps = f"reading {read - start:.1f}, sampling {drawn - read:.1f}, writing {end - drawn:.1f}"
    print(
        f"{kind}: {built.count:,} pairs of {len(loaded.situations):,} situations in {end - start:.1f} s ({steps}), "
        f"{usage.ru_utime + usage.ru_stime:.1f} s of CPU, peak memory {usage.ru_maxrss / 1e6:.2f} GB, "
        f"{len(built.common)} common objects dropped",
        *built.notes,
        sep="\n    ",
    )


def main() -> None:
    """Write the annotations, and build and check the pairs of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150_000, help="number of pairs of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of pairs")
    parser.add_argument("--annotations", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.annotations:
        measure(options.kinds[0], options.count, options.annotations, options.out)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_imsitu(folder / "annotations" / "imsitu", random.Random(0))
        write_vidsitu(folder / "annotations" / "vidsitu", random.Random(1))
        for kind in options.kinds:
            out = folder / f"{kind}.jsonl"
            command = [sys.executable, "-m", "benchmarks.raiv_pairs", "--kinds", kind, "--count", str(options.count)]
            subprocess.run([*command, "--annotations", str(folder / "annotations"), "--out", str(out)], check=True)
            result = check(out)
            print(
                f"    {result.visuals:,} visuals, {result.statements:,} statements, {result.instances}, evenness of verbs "
                f"{result.verb_evenness:.3f} and objects {result.object_evenness:.3f}, best guess of reasons from text "
                f"{result.reason_text_accuracy:.3f}, problems: {result.problems or 'none'}"
            )


if __name__ == "__main__":
    main()
