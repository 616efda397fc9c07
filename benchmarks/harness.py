"""Compare Espresso with lmms-eval on the same work: accuracy, agreement, samples per second.

    uv run python -m benchmarks.harness --limit 120 --frames 4 --batches 1 32 --rounds 3

lmms-eval gets its own environment in the cache folder, created once with uv, with the versions of
torch and transformers of this one. --python names the interpreter of another environment with
lmms-eval, such as

    uv venv lmms && source lmms/bin/activate
    uv pip install lmms-eval==0.7.3 transformers==5.19.0 qwen-vl-utils decord2

The test split is exported (`eval.lmms_eval.export`). Each side answers its open task in a process
of its own: lmms-eval with its command and its Qwen2-VL model, Espresso with `espresso.ask_many` and
the strategy `uniform`.

The same on both sides: the weights (the tiny base with the evidence adapter merged, float32), the
questions, the frame indices, the prompt tokens (the copied chat template drops the system turn that
lmms-eval always adds), greedy replies of at most 128 tokens, the option nearest to the reply as the
choice, cores and threads. The evidence adapter is used because the answer adapter is at chance
level without evidence; the accuracies serve for comparison only.

Not the same: lmms-eval's model encodes each frame as a JPEG before it is resized, Espresso decodes
it at the small size, so pixels differ slightly. Espresso batches all requests that wait, lmms-eval
as many as --batches says; its default is 1. Its Qwen2-VL model subsamples the frames of only the
first video of a batch, so larger batches need tasks with pictures, such as this one.

"samples/s" is computed from the time of a full run minus that of a run with one sample, "start",
measured right before. Rounds alternate between both sides. The table lists medians over the rounds,
and the range of the ratios, because other load on the machine affects wall time. CPU time is
affected less, but does not show idle cores.
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
from eval.lmms_eval.export import DOCUMENTS, export_world
from eval.lmms_eval.task.utils import nearest
from eval.stats import interval

LMMS_EVAL = "0.7.3"
TINY = Path(profiles.__file__).parent / "tiny"
SIDE = 112
"""Side of a frame in pixels, as in the profile `tiny`."""

Document = dict[str, Any]
Replies = dict[str, str]
"""Question id -> reply."""
Ask = Callable[[int, Path], Replies]
"""Answers this many questions in a process of its own, with an empty folder for its output."""


@dataclass(frozen=True)
class Seconds:
    """Wall time and CPU time in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Round:
    """The times of one side in one round."""

    start: Seconds
    """Time for one question."""

    whole: Seconds
    """Time for all questions, measured right after."""

    count: int
    """Number of questions."""

    @property
    def each(self) -> Seconds:
        """Time per question without the start."""
        more = self.count - 1
        return Seconds((self.whole.wall - self.start.wall) / more, (self.whole.cpu - self.start.cpu) / more)


@dataclass(frozen=True)
class Side:
    """The replies and times of Espresso or lmms-eval."""

    replies: Replies
    rounds: Sequence[Round]

    def choices(self, documents: Sequence[Document]) -> list[str]:
        """Return the option nearest to each reply."""
        return [nearest(self.replies[each["id"]], each["options"]) for each in documents]


def answer_questions(folder: str, model: str, frames: str, limit: str, out: str) -> None:
    """Answer with Espresso and write one JSON line per reply: the work of its process."""
    import espresso  # noqa: PLC0415 - imports are part of the measured time
    from agents.session import Session  # noqa: PLC0415

    tiny = profiles.load("tiny")
    reasoner = tiny.reasoner.model_copy(update={"model": model, "adapters": {}})
    profile = tiny.model_copy(update={"reasoner": reasoner, "direct": True})
    questions = [
        Question(id=each["id"], visuals=(str(Path(folder) / each["clip"]),), text=each["question"])
        for each in _documents(Path(folder), int(limit))
    ]
    with Session(profile, cache=False) as session, Path(out).open("w") as file:
        answers = espresso.ask_many(questions, session=session, strategy="uniform", frames=int(frames))
        for question, answer in zip(questions, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            file.write(json.dumps({"id": question.id, "reply": answer.text}) + "\n")


def _espresso(folder: Path, model: Path, frames: int) -> Ask:
    def ask(limit: int, out: Path) -> Replies:
        file = out / "replies.jsonl"
        code = "import sys; from benchmarks.harness import answer_questions; answer_questions(*sys.argv[1:])"
        _run([sys.executable, "-c", code, *map(str, (folder, model, frames, limit, file))])
        return {line["id"]: line["reply"] for line in map(json.loads, file.read_text().splitlines())}

    return ask


def _lmms_eval(folder: Path, model: Path, python: str, batch: int) -> Ask:
    settings = f"pretrained={model},device=cpu,device_map=cpu,interleave_visuals=True,min_pixels={SIDE**2},max_pixels={SIDE**2}"
    documents = _documents(folder)

    def ask(limit: int, out: Path) -> Replies:
        task = ["--include_path", folder, "--tasks", "espresso_world_frames", "--model", "qwen2_vl", "--model_args", settings]
        run = ["--batch_size", batch, "--limit", limit, "--output_path", out, "--log_samples"]
        _run([python, "-m", "lmms_eval", *map(str, task + run)])
        (file,) = out.rglob("*_samples_*.jsonl")
        lines = map(json.loads, file.read_text().splitlines())
        return {documents[line["doc_id"]]["id"]: line["filtered_resps"] for line in lines}

    return ask


def _run(command: Sequence[str]) -> None:
    """Run a command offline; exit with its output if it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise every start compiles every module
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{' '.join(command[:3])} ... failed with code {done.returncode}")


def _timed(ask: Ask, limit: int) -> tuple[Replies, Seconds]:
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), _cpu_seconds()
        replies = ask(limit, Path(folder))
        return replies, Seconds(time.perf_counter() - start, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Return the CPU time of all child processes that have ended, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(asks: dict[str, Ask], limit: int, rounds: int) -> dict[str, Side]:
    times: dict[str, list[Round]] = {name: [] for name in asks}
    replies = dict[str, Replies]()
    for ask in asks.values():
        _timed(ask, 1)  # warm-up: reads the libraries from disk and compiles them
    for _ in range(rounds):
        for name, ask in asks.items():
            _, start = _timed(ask, 1)
            replies[name], whole = _timed(ask, limit)
            times[name].append(Round(start, whole, limit))
    return {name: Side(replies[name], times[name]) for name in asks}


def _documents(folder: Path, limit: int | None = None) -> list[Document]:
    return [json.loads(line) for line in (folder / DOCUMENTS).read_text().splitlines()[:limit]]


def _merged(out: Path) -> Path:
    """Save the tiny base with its evidence adapter merged, in a form that lmms-eval can load."""
    from peft import PeftModel  # noqa: PLC0415 - takes seconds, and `answer_questions` does not need it
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: PLC0415

    base = AutoModelForImageTextToText.from_pretrained(TINY / "vlm")
    PeftModel.from_pretrained(base, TINY / "evidence").merge_and_unload().save_pretrained(out)
    processor = AutoProcessor.from_pretrained(TINY / "vlm", padding_side="left")
    loop = "for message in messages"
    processor.chat_template = processor.chat_template.replace(f"{loop} ", f"{loop} if message.role != 'system' ")
    processor.save_pretrained(out)
    settings = out / "tokenizer_config.json"  # processors do not save the side, which lmms-eval's batches need
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"padding_side": "left"}))
    return out


def _environment() -> str:
    """Return the interpreter of an environment with lmms-eval, creating it if necessary."""
    folder = default_folder() / f"lmms-eval-{LMMS_EVAL}"
    python, done = folder / "bin" / "python", folder / "done"
    uv = shutil.which("uv") or sys.exit("uv is not installed. Install it with `pip install uv`, or give --python.")
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
        each, start, whole = (_median([getattr(one, name) for one in side.rounds]) for name in ("each", "start", "whole"))
        times = "".join(f" {seconds.wall:6.1f} s {seconds.cpu:5.1f} s" for seconds in (start, whole))
        print(f"{name:20} {accuracy:>24} {1 / each.wall:10.1f} {1000 * each.cpu:6.0f} ms{times}")
    (_, ours), *others = sides.items()
    for name, theirs in others:
        same = sum(ours.replies[each["id"]] == theirs.replies[each["id"]] for each in documents)
        chosen = sum(map(str.__eq__, ours.choices(documents), theirs.choices(documents)))
        pairs = list(zip(theirs.rounds, ours.rounds, strict=True))
        print(f"speed-up over {name}: {_ratios([(there.each, here.each) for there, here in pairs])}")
        print(f"    including the start: {_ratios([(there.whole, here.whole) for there, here in pairs])}")
        print(f"    {same} of {len(documents)} replies are identical, {chosen} choose the same option")


def _median(times: Sequence[Seconds]) -> Seconds:
    return Seconds(median(each.wall for each in times), median(each.cpu for each in times))


def _ratios(pairs: Sequence[tuple[Seconds, Seconds]]) -> str:
    """Return median and range over the rounds of their time divided by ours."""
    wall = [theirs.wall / ours.wall for theirs, ours in pairs]
    cpu = [theirs.cpu / ours.cpu for theirs, ours in pairs]
    return ", ".join(
        f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) in {clock} time"
        for clock, ratios in (("wall", wall), ("CPU", cpu))
    )


def main() -> None:
    """Export the task, run both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=120, help="number of questions, at least two")
    parser.add_argument("--frames", type=int, default=4, help="frames of each clip")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="lmms-eval's batch sizes")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    parser.add_argument("--python", help="interpreter of an environment with lmms-eval")
    options = parser.parse_args()
    python = options.python or _environment()
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name) / "world", _merged(Path(name) / "model")
        world.make("test", options.limit, folder)
        export_world(folder, frames=options.frames)
        asks = {"espresso": _espresso(folder, model, options.frames)}
        asks |= {f"lmms-eval, batch {batch}": _lmms_eval(folder, model, python, batch) for batch in options.batches}
        _print(_documents(folder), _measure(asks, options.limit, options.rounds))


if __name__ == "__main__":
    main()
