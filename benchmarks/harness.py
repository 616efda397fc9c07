"""Espresso beside lmms-eval on the same work: accuracy, agreement, samples a second.

    uv run python -m benchmarks.harness [--limit 60] [--frames 4] [--batches 1 8] [--rounds 2] [--python PATH]

lmms-eval gets an environment of its own in the cache folder, made once with uv (torch and transformers as here); --python names
the interpreter of another one that has it:

    uv venv lmms && uv pip install --python lmms/bin/python lmms-eval==0.7.3 transformers==5.19.0 qwen-vl-utils decord2

The world is exported (`eval.export`) and its open task asked by both: lmms-eval's command with its own Qwen2-VL model, and
`espresso.ask_many` with the strategy `uniform`. Equal on both sides: the weights (the tiny base with one adapter merged in,
float32), the frames by index, the prompt to the token, greedy replies of at most 128 tokens, the option nearest to a reply as its
choice, the cores. lmms-eval's two-turn template is fed without its empty system turn, which the tiny models never saw. Not equal:
lmms-eval encodes each frame as a JPEG and shrinks it itself, where Espresso decodes it small; and Espresso batches what waits,
whereas lmms-eval's batch size is given. The adapter is that of the evidence, which says what it sees: the other one cannot answer
before that (chance). So accuracies are for comparison, not for show.

"samples/s" leaves starting up out: what all samples take beyond the first alone, by the wall's clock and, for a machine that has
other work, by the processor's. Rounds alternate and the fastest counts.
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
from typing import Any

from espresso import profiles, world
from espresso.cache import default_folder
from espresso.schema import Question
from eval.export import DOCUMENTS, export
from eval.lmms_eval_task.utils import nearest
from eval.stats import interval

TINY = Path("espresso/profiles/tiny").absolute()
SIDE = 112
"""Pixels of a frame, as in the profile `tiny`."""
OURS = "import sys; from benchmarks.harness import ours; ours(*sys.argv[1:])"


@dataclass(frozen=True)
class Work:
    """What both are given. folder: the exported world; model: weights; documents: its questions, as many as are asked."""

    folder: Path
    model: Path
    documents: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Spent:
    """Seconds, by the wall's clock and the processor's."""

    wall: float
    processor: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.processor - other.processor)


Replies = dict[str, str]
Command = Callable[[Work, int, Path], Replies]
"""Ask the first so many questions in a process of its own, given a folder to work in; returns id -> reply."""


def ours(folder: str, model: str, frames: str, limit: str, out: str) -> None:
    """Ask with Espresso, and write a line for each reply: the process that is timed."""
    import espresso  # noqa: PLC0415

    tiny = profiles.load("tiny")
    reasoner = tiny.reasoner.model_copy(update={"model": model, "adapters": {}})
    profile = tiny.model_copy(update={"reasoner": reasoner, "direct": True})
    documents = _documents(Path(folder), int(limit))
    questions = [
        Question(id=each["id"], visuals=(str(Path(folder) / each["clip"]),), text=each["question"]) for each in documents
    ]
    answers = espresso.ask_many(questions, profile=profile, strategy="uniform", frames=int(frames), cache=False)
    with Path(out).open("w") as file:
        for question, answer in zip(questions, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            file.write(json.dumps({"id": question.id, "reply": answer.text}) + "\n")


def _ask_espresso(frames: int) -> Command:
    def ask(work: Work, limit: int, out: Path) -> Replies:
        file = out / "replies.jsonl"
        _run([sys.executable, "-c", OURS, str(work.folder), str(work.model), str(frames), str(limit), str(file)])
        return {line["id"]: line["reply"] for line in map(json.loads, file.read_text().splitlines())}

    return ask


def _ask_lmms_eval(python: str, batch: int) -> Command:
    def ask(work: Work, limit: int, out: Path) -> Replies:
        settings = {
            "pretrained": work.model,
            "device": "cpu",
            "device_map": "cpu",
            "interleave_visuals": True,
            "min_pixels": SIDE**2,
            "max_pixels": SIDE**2,
        }
        arguments = {
            "--include_path": work.folder,
            "--tasks": "espresso_world_frames",
            "--model": "qwen2_vl",
            "--model_args": ",".join(f"{name}={value}" for name, value in settings.items()),
            "--batch_size": batch,
            "--limit": limit,
            "--output_path": out,
        }
        _run([python, "-m", "lmms_eval", "--log_samples", *(str(word) for pair in arguments.items() for word in pair)])
        (file,) = out.rglob("*_samples_*.jsonl")
        lines = map(json.loads, file.read_text().splitlines())
        return {work.documents[line["doc_id"]]["id"]: line["filtered_resps"] for line in lines}

    return ask


def _run(command: Sequence[str]) -> None:
    """Run to the end, offline. Ends the benchmark with what was said where that goes wrong."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start compiles everything anew
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{' '.join(command[:3])} ... failed, see above")


def _timed(command: Command, work: Work, limit: int) -> tuple[Replies, Spent]:
    with tempfile.TemporaryDirectory() as folder:
        began, busy = time.perf_counter(), _processor_seconds()
        replies = command(work, limit, Path(folder))
        return replies, Spent(time.perf_counter() - began, _processor_seconds() - busy)


def _processor_seconds() -> float:
    """Of all child processes that have ended, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _documents(folder: Path, limit: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / DOCUMENTS).read_text().splitlines()[:limit]]


def _merged(out: Path) -> Path:
    """Save the tiny base with its evidence adapter in its weights, as lmms-eval can load it."""
    from peft import PeftModel  # noqa: PLC0415 - seconds that Espresso's own start need not take
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: PLC0415

    base = AutoModelForImageTextToText.from_pretrained(TINY / "vlm")
    PeftModel.from_pretrained(base, TINY / "evidence").merge_and_unload().save_pretrained(out)
    processor = AutoProcessor.from_pretrained(TINY / "vlm", padding_side="left")  # lmms-eval's batches need it saved
    loop = "for message in messages"
    processor.chat_template = processor.chat_template.replace(f"{loop} -%}}", f"{loop} if message.role != 'system' -%}}")
    processor.save_pretrained(out)
    return out


def _environment() -> str:
    """The interpreter of an environment with lmms-eval, made where it is not there yet."""
    folder = default_folder() / "lmms-eval"
    python = folder / "bin" / "python"
    uv = shutil.which("uv") or sys.exit("uv is not there. Install it with `pip install uv`, or give --python.")
    if not (folder / "done").exists():
        needed = [f"{package}=={version(package).split('+')[0]}" for package in ("torch", "torchvision", "transformers")]
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
        packages = ["lmms-eval==0.7.3", "qwen-vl-utils", "decord2", *needed]
        subprocess.run([uv, "pip", "install", "--compile-bytecode", "--python", python, *packages], check=True)
        (folder / "done").touch()
    return str(python)


def main() -> None:
    """Prepare, ask in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="lmms-eval's batch sizes")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--python", help="the interpreter of an environment with lmms-eval")
    options = parser.parse_args()
    python = options.python or _environment()
    commands = {"espresso": _ask_espresso(options.frames)}
    commands |= {f"lmms-eval, batch {batch}": _ask_lmms_eval(python, batch) for batch in options.batches}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world.make("test", options.limit, folder / "world")
        export(folder / "world", frames=options.frames)
        work = Work(folder / "world", _merged(folder / "model"), _documents(folder / "world", options.limit))
        replies, starts, wholes = dict[str, Replies](), dict[str, list[Spent]](), dict[str, list[Spent]]()
        for _ in range(options.rounds):
            for side, command in commands.items():
                starts.setdefault(side, []).append(_timed(command, work, 1)[1])
                replies[side], whole = _timed(command, work, options.limit)
                wholes.setdefault(side, []).append(whole)
                print(f"{side}: first sample {starts[side][-1]}, all {whole}", flush=True)
    _print(work, replies, {side: (_best(starts[side]), _best(wholes[side])) for side in commands})


def _best(spent: Sequence[Spent]) -> Spent:
    return Spent(min(each.wall for each in spent), min(each.processor for each in spent))


def _print(work: Work, replies: dict[str, Replies], spent: dict[str, tuple[Spent, Spent]]) -> None:
    choices = {side: [nearest(said[each["id"]], each["options"]) for each in work.documents] for side, said in replies.items()}
    rates = {}
    heads = f"{'samples/s':>10} {'cpu s each':>10} {'start s':>8} {'cpu s':>6} {'all s':>7} {'cpu s':>6}"
    print(f"\n{'':20} {'accuracy (95 %)':>24} {heads}")
    for side, (start, whole) in spent.items():
        right = [choice == each["answer"] for choice, each in zip(choices[side], work.documents, strict=True)]
        low, high = interval(right, [each["clip"] for each in work.documents])
        count, beyond = len(right) - 1, whole - start
        rates[side] = (count / beyond.wall, count / beyond.processor, 1 / whole.wall, 1 / whole.processor)
        accuracy = f"{sum(right) / len(right):.1%} ({low:.1%} to {high:.1%})"
        took = f"{start.wall:8.1f} {start.processor:6.1f} {whole.wall:7.1f} {whole.processor:6.1f}"
        print(f"{side:20} {accuracy:>24} {rates[side][0]:10.2f} {1 / rates[side][1]:10.3f} {took}")
    ours, *others = replies
    for side in others:
        alike = sum(replies[ours][each["id"]] == replies[side][each["id"]] for each in work.documents)
        chosen = sum(here == there for here, there in zip(choices[ours], choices[side], strict=True))
        print(f"{side}: {alike} of {len(work.documents)} replies are the same word for word, {chosen} choices")
    for name, number in (
        ("samples/s", 0),
        ("samples per processor second", 1),
        ("the whole command", 2),
        ("its processor time", 3),
    ):
        best = max(rates[side][number] for side in others)
        print(f"{name}: {rates[ours][number] / best:.1f} times lmms-eval's best")


if __name__ == "__main__":
    main()
