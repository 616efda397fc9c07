"""Espresso beside lmms-eval on the same work: accuracy, agreement, samples a second.

    uv run python -m benchmarks.harness [--limit 120] [--frames 4] [--batches 1 32] [--rounds 3] [--python PATH]

lmms-eval gets an environment of its own in the cache folder, made once with uv, with the torch and transformers of this one.
--python names the interpreter of another environment that has it, such as

    uv venv lmms && uv pip install --python lmms/bin/python lmms-eval==0.7.3 transformers==5.19.0 qwen-vl-utils decord2

The test split is exported (`eval.lmms_eval.export`) and its open task asked by both, each in a process of its own: by lmms-eval's command
with its own Qwen2-VL model, and by `espresso.ask_many` with the strategy `uniform`.

Equal: the weights (the tiny base with the evidence adapter merged in, float32), the questions, the frames by index, the prompt to
the token (the copy's chat template leaves out the system turn that lmms-eval always adds), greedy replies of at most 128 tokens,
the option nearest to a reply as the choice, cores and threads. The evidence adapter, because the answer adapter is at chance
without evidence; accuracies are here to be compared, not to be proud of.

Not equal: lmms-eval's model encodes each frame as a JPEG and shrinks it then, Espresso decodes it small, so that pixels differ a
little; Espresso batches whatever waits, lmms-eval as many as --batches says. 1 is its default; its Qwen2-VL thins the frames of a
batch's first video alone, so larger batches suit tasks of pictures, as this one.

"samples/s" is what all samples but one take beyond a run of one, "start", made right before. Rounds alternate; each number
is the median of its rounds, and the range of the rounds' ratios is printed, since other work on the machine disturbs the wall's
clock. The processor's, beside it, is disturbed less, and knows nothing of cores that idle.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from espresso import profiles, world
from espresso.cache import default_folder
from espresso.schema import Question
from eval.lmms_eval.export import DOCUMENTS, export
from eval.lmms_eval.task.utils import nearest
from eval.stats import interval

LMMS_EVAL = "0.7.3"
TINY = Path(profiles.__file__).parent / "tiny"
SIDE = 112
"""Pixels of a frame, as in the profile `tiny`."""

Document = dict[str, Any]
Replies = dict[str, str]
"""By the question's id."""
Ask = Callable[[int, Path], Replies]
"""Ask the first so many questions in a process of its own, given an empty folder to write to."""


@dataclass(frozen=True)
class Spent:
    """Seconds, by the wall's clock and the processor's."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Round:
    """What one side spent in one round. start: on one question; whole: on all, `count`, right after."""

    start: Spent
    whole: Spent
    count: int

    @property
    def each(self) -> Spent:
        """On a question, starting up left out."""
        more = self.count - 1
        return Spent((self.whole.wall - self.start.wall) / more, (self.whole.processor - self.start.processor) / more)


@dataclass(frozen=True)
class Side:
    """What one of the two did."""

    replies: Replies
    rounds: Sequence[Round]

    def choices(self, documents: Sequence[Document]) -> list[str]:
        """The option nearest to each reply."""
        return [nearest(self.replies[each["id"]], each["options"]) for each in documents]


def answer(folder: str, model: str, frames: str, limit: str, out: str) -> None:
    """Ask with Espresso, one JSON line a reply: what its process runs."""
    import espresso  # noqa: PLC0415 - what is timed begins here

    tiny = profiles.load("tiny")
    reasoner = tiny.reasoner.model_copy(update={"model": model, "adapters": {}})
    profile = tiny.model_copy(update={"reasoner": reasoner, "direct": True})
    questions = [
        Question(id=each["id"], visuals=(str(Path(folder) / each["clip"]),), text=each["question"])
        for each in _documents(Path(folder), int(limit))
    ]
    answers = espresso.ask_many(questions, profile=profile, strategy="uniform", frames=int(frames), cache=False)
    with Path(out).open("w") as file:
        for question, answered in zip(questions, answers, strict=True):
            if isinstance(answered, Exception):
                raise answered
            file.write(json.dumps({"id": question.id, "reply": answered.text}) + "\n")


def _espresso(folder: Path, model: Path, frames: int) -> Ask:
    def ask(limit: int, out: Path) -> Replies:
        file = out / "replies.jsonl"
        code = "import sys; from benchmarks.harness import answer; answer(*sys.argv[1:])"
        _run([sys.executable, "-c", code, *map(str, (folder, model, frames, limit, file))])
        return {line["id"]: line["reply"] for line in map(json.loads, file.read_text().splitlines())}

    return ask


def _lmms_eval(folder: Path, model: Path, python: str, batch: int) -> Ask:
    settings = f"pretrained={model},device=cpu,device_map=cpu,interleave_visuals=True,min_pixels={SIDE**2},max_pixels={SIDE**2}"
    documents = _documents(folder)

    def ask(limit: int, out: Path) -> Replies:
        which = ["--include_path", folder, "--tasks", "espresso_world_frames", "--model", "qwen2_vl", "--model_args", settings]
        how = ["--batch_size", batch, "--limit", limit, "--output_path", out, "--log_samples"]
        _run([python, "-m", "lmms_eval", *map(str, which + how)])
        (file,) = out.rglob("*_samples_*.jsonl")
        lines = map(json.loads, file.read_text().splitlines())
        return {documents[line["doc_id"]]["id"]: line["filtered_resps"] for line in lines}

    return ask


def _run(command: Sequence[str]) -> None:
    """Run to the end, offline. Ends the benchmark with what was said where that goes wrong."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start compiles every module
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{' '.join(command[:3])} ... ended with code {done.returncode}")


def _timed(ask: Ask, limit: int) -> tuple[Replies, Spent]:
    with tempfile.TemporaryDirectory() as folder:
        began, busy = time.perf_counter(), _processor_seconds()
        replies = ask(limit, Path(folder))
        return replies, Spent(time.perf_counter() - began, _processor_seconds() - busy)


def _processor_seconds() -> float:
    """Of all child processes that have ended, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(asks: dict[str, Ask], limit: int, rounds: int) -> dict[str, Side]:
    spent: dict[str, list[Round]] = {name: [] for name in asks}
    replies = dict[str, Replies]()
    for ask in asks.values():
        _timed(ask, 1)  # reads libraries from the disk and compiles them, which does not count
    for _ in range(rounds):
        for name, ask in asks.items():
            _, start = _timed(ask, 1)
            replies[name], whole = _timed(ask, limit)
            spent[name].append(Round(start, whole, limit))
    return {name: Side(replies[name], spent[name]) for name in asks}


def _documents(folder: Path, limit: int | None = None) -> list[Document]:
    return [json.loads(line) for line in (folder / DOCUMENTS).read_text().splitlines()[:limit]]


def _merged(out: Path) -> Path:
    """Save the tiny base with its evidence adapter in its weights, as lmms-eval can load it."""
    from peft import PeftModel  # noqa: PLC0415 - takes seconds, and `answer` has no use for it
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: PLC0415

    base = AutoModelForImageTextToText.from_pretrained(TINY / "vlm")
    PeftModel.from_pretrained(base, TINY / "evidence").merge_and_unload().save_pretrained(out)
    processor = AutoProcessor.from_pretrained(TINY / "vlm", padding_side="left")
    loop = "for message in messages"
    processor.chat_template = processor.chat_template.replace(f"{loop} ", f"{loop} if message.role != 'system' ")
    processor.save_pretrained(out)
    settings = out / "tokenizer_config.json"  # where processors do not keep the side, which lmms-eval's batches depend on
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"padding_side": "left"}))
    return out


def _environment() -> str:
    """The interpreter of an environment with lmms-eval, made unless it is there."""
    folder = default_folder() / f"lmms-eval-{LMMS_EVAL}"
    python, done = folder / "bin" / "python", folder / "done"
    uv = shutil.which("uv") or sys.exit("uv is not there. Install it with `pip install uv`, or give --python.")
    if not done.exists():
        same = [f"{package}=={version(package).split('+')[0]}" for package in ("torch", "torchvision", "transformers")]
        packages = [f"lmms-eval=={LMMS_EVAL}", "qwen-vl-utils", "decord2", *same]
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--compile-bytecode", "--python", python, *packages], check=True)
        done.touch()
    return str(python)


def _print(documents: Sequence[Document], sides: dict[str, Side]) -> None:
    print(f"{'':20} {'accuracy (95 %)':>24} {'samples/s':>10} {'cpu':>9} {'start':>8} {'cpu':>7} {'all':>8} {'cpu':>7}")
    clips, references = [each["clip"] for each in documents], [each["answer"] for each in documents]
    for name, side in sides.items():
        right = list(map(str.__eq__, side.choices(documents), references))
        low, high = interval(right, clips)
        accuracy = f"{sum(right) / len(right):.1%} ({low:.1%} to {high:.1%})"
        each, start, whole = (_median([getattr(one, what) for one in side.rounds]) for what in ("each", "start", "whole"))
        times = "".join(f" {spent.wall:6.1f} s {spent.processor:5.1f} s" for spent in (start, whole))
        print(f"{name:20} {accuracy:>24} {1 / each.wall:10.1f} {1000 * each.processor:6.0f} ms{times}")
    (_, ours), *others = sides.items()
    for name, theirs in others:
        same = sum(ours.replies[each["id"]] == theirs.replies[each["id"]] for each in documents)
        chosen = sum(map(str.__eq__, ours.choices(documents), theirs.choices(documents)))
        pairs = list(zip(theirs.rounds, ours.rounds, strict=True))
        print(f"against {name}, times as fast: {_ratios([(there.each, here.each) for there, here in pairs])}")
        print(f"    with starting up: {_ratios([(there.whole, here.whole) for there, here in pairs])}")
        print(f"    of {len(documents)} replies {same} are the same word for word, {chosen} choose the same option")


def _median(spent: Sequence[Spent]) -> Spent:
    return Spent(median(each.wall for each in spent), median(each.processor for each in spent))


def _ratios(pairs: Sequence[tuple[Spent, Spent]]) -> str:
    """Of each round, theirs over ours."""
    wall = [theirs.wall / ours.wall for theirs, ours in pairs]
    processor = [theirs.processor / ours.processor for theirs, ours in pairs]
    clocks = (("wall's", wall), ("processor's", processor))
    return ", ".join(f"{median(some):.1f} ({min(some):.1f} to {max(some):.1f}) by the {clock} clock" for clock, some in clocks)


def main() -> None:
    """Prepare, ask in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=120, help="questions, two or more")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="lmms-eval's batch sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", help="the interpreter of an environment with lmms-eval")
    options = parser.parse_args()
    python = options.python or _environment()
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name) / "world", _merged(Path(name) / "model")
        world.make("test", options.limit, folder)
        export(folder, frames=options.frames)
        asks = {"espresso": _espresso(folder, model, options.frames)}
        asks |= {f"lmms-eval, batch {batch}": _lmms_eval(folder, model, python, batch) for batch in options.batches}
        _print(_documents(folder), _measure(asks, options.limit, options.rounds))


if __name__ == "__main__":
    main()
