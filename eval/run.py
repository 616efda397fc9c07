"""Run a benchmark: ask its questions, keep every answer, and measure.

`run("world", split="test", limit=420, strategy="selector").metrics["accuracy"]` is what `espresso eval run` prints.
"""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np

import prompts
from espresso import profiles
from espresso.cache import Cache
from espresso.datasets import Bench, bench
from espresso.datasets.base import Loaded, Source
from espresso.errors import DataError, EspressoError, ProfileError, ServerDownError
from espresso.models import Picture, Roles, connect
from espresso.profiles import Profile
from espresso.profiles.weights import identity
from espresso.schema import Question, Record
from eval.executors import local
from eval.executors.local import Engine
from eval.log.run_folder import Configuration, RunFolder
from eval.metrics import Metrics, Sample, TaskAccuracy, by_task, metrics
from eval.protocols import Protocol
from eval.sample import Asking, Strategy, load_models

EngineName = Literal["local", "ray"]
COUNTED = ("selector", "oracle-captions", "uniform", "random")
"""Strategies for which a number of frames means something."""
SHOWN = 3
HOPELESS = 8
"""So many errors without one answer: the fault is not the questions'."""
PACKAGES = ("videoespresso", "torch", "transformers", "peft", "langgraph", "openai", "av", "decord2", "numpy")


@dataclass(frozen=True)
class Progress:
    """How far a run is, or a judging of one. doing: such as "making clips" or "answering". right, errors: of those done."""

    doing: str
    done: int
    total: int
    right: int = 0
    errors: int = 0


class Summary(Record):
    """A run in numbers. folder: where every answer is. metrics: see `eval.metrics.metrics`.

    bad, missing: rows that could not be read, each with its reason, and videos that are not there, whose questions were left out.
    """

    folder: str
    configuration: Configuration
    metrics: Metrics
    tasks: tuple[TaskAccuracy, ...]
    bad: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def run(
    name: str,
    *,
    split: str = "test",
    limit: int | None = None,
    strategy: Strategy = "selector",
    profile: str | Path | Profile | None = None,
    frames: int | None = None,
    protocol: Protocol = "choice",
    given: bool = False,
    seed: int = 0,
    out: Path | None = None,
    source: Source | None = None,
    allow_missing: bool = False,
    roles: Roles | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Run a benchmark, or go on with a run that was interrupted; returns its numbers.

    limit: the first so many questions. frames, protocol, given: see `eval.sample.Asking`. profile: itself, its name or file; None
    is ESPRESSO_PROFILE, else `tiny`. seed: of the order in which options are shown. out: the run's folder, by default
    runs/<bench>-<split>-<profile>-<strategy>-<limit>, with what else was asked for.
    source: the files of a benchmark that comes in files. allow_missing: leave questions out whose videos are not there.
    roles: connected models to use in place of the profile's. engine: where questions are asked, in this process or by `workers`
    on the Ray cluster at `address` (see `eval.executors.ray`); a run that one has begun the other can go on with.

    A question that cannot be answered is kept as an error, counts as wrong, and is asked again when the run is gone on with.
    Raises DataError for a benchmark, split, strategy or limit that does not exist and for a folder that holds something else,
    ProfileError, ModelError for models that cannot be had or a server that is gone, and EspressoError where not one question can
    be answered.
    """
    chosen = bench(name)
    _check(chosen, name, split, limit, strategy, protocol, frames)
    _check_engine(engine, address, workers, roles)
    named = profile or os.environ.get("ESPRESSO_PROFILE") or "tiny"
    settings = named if isinstance(named, Profile) else profiles.load(named)
    models = roles or connect(settings)
    if protocol == "open" and models.embedder is None:
        raise ProfileError(
            f"profile {settings.name}: it has no [embedder] to match free answers with. Add one, such as BAAI/bge-m3."
        )
    manner: dict[str, Any] = {"strategy": strategy, "seed": seed, "frames": frames, "protocol": protocol, "given": given}
    asking = partial(Asking, bench=chosen, profile=settings, **manner)
    load = partial(chosen.load, split, limit, source)
    if engine == "ray":
        from eval.executors import ray as on_ray

        on_ray.check(address)
    else:
        load_models(models, strategy)
    loaded = load(lambda done, total: on_progress(Progress("making clips", done, total)))
    questions = loaded.questions
    if (loaded.missing and not allow_missing) or not questions:
        raise DataError(_missing(loaded))
    configuration = Configuration(
        bench=name,
        split=split,
        limit=limit,
        profile=settings.model_dump(mode="json"),
        models={role: getattr(models, role).name for role in ("captioner", "selector", "reasoner")}
        | _adapters(settings)
        | ({"embedder": models.embedder.name} if protocol == "open" and models.embedder else {}),
        prompts=_prompt_hashes(settings.prompts),
        questions=_hash(questions),
        **manner,
    )
    cache = Cache()
    with RunFolder(out or _default(configuration), configuration, environment()) as folder:
        ask: Engine = partial(local.ask, asking=asking(roles=models, cache=cache))
        if engine == "ray":
            ask = partial(on_ray.ask, profile=settings, asking=asking, files=load, address=address, workers=workers)

        async def ask_all() -> list[Sample]:
            try:
                return await _ask_all(questions, ask, folder, on_progress)
            finally:
                if roles is None:
                    await models.aclose()

        try:
            samples = asyncio.run(ask_all())
        finally:
            cache.close()
    return Summary(
        folder=str(folder.path),
        configuration=configuration,
        metrics=metrics(samples),
        tasks=tuple(by_task(samples)),
        bad=loaded.bad,
        missing=loaded.missing,
    )


async def _ask_all(
    questions: Sequence[Question], ask: Engine, folder: RunFolder, on_progress: Callable[[Progress], None]
) -> list[Sample]:
    """Have an engine ask what is not answered yet, and write down what comes.

    Returns all samples, also those of before, in the order of the questions: sums come out the same to the last digit, in
    whatever order answers came. Raises EspressoError where none can be kept, or none be answered.
    """
    samples = list(folder.samples)
    answered = {sample.id for sample in samples}
    left = [question for question in questions if question.id not in answered]
    progress = Progress("answering", len(samples), len(questions), right=sum(sample.scores.correct for sample in samples))
    on_progress(progress)
    last = perf_counter()

    def keep(sample: Sample) -> None:
        nonlocal progress, last
        now = perf_counter()
        sample, last = sample.model_copy(update={"elapsed": now - last}), now
        folder.append(sample)
        samples.append(sample)
        progress = replace(
            progress,
            done=progress.done + 1,
            right=progress.right + sample.scores.correct,
            errors=progress.errors + (sample.error is not None),
        )
        on_progress(progress)
        if progress.errors == progress.done >= min(HOPELESS, len(left)):
            raise EspressoError(f"{progress.done} questions were asked and none was answered; the last: {sample.error}")

    try:
        await ask([list(clip) for _, clip in groupby(left, key=lambda question: question.visuals)], keep)
    except ExceptionGroup as errors:
        error = errors.exceptions[0]
        if isinstance(error, ServerDownError):
            raise ServerDownError(f"{error} {progress.done} of {progress.total} answers are kept: run the same again.") from None
        raise error from None
    places = {question.id: place for place, question in enumerate(questions)}
    return sorted(samples, key=lambda sample: places[sample.id])


def _default(asked: Configuration) -> Path:
    """A folder's name that tells runs apart."""
    profile = Path(asked.profile["name"]).name.replace(".toml", "")
    parts = [asked.bench, asked.split, profile, asked.strategy, str(asked.limit or "all")]
    parts += [f"{asked.frames}-frames"] if asked.frames else []
    parts += [asked.protocol] if asked.protocol != "choice" else []
    parts += ["given-evidence"] if asked.given else []
    return Path("runs") / "-".join(parts)


def _check(chosen: Bench, name: str, split: str, limit: int | None, strategy: str, protocol: str, frames: int | None) -> None:
    """Raise DataError for what cannot be run."""
    if split not in chosen.SPLITS:
        raise DataError(f"{name}: no split is called {split!r}. The splits are {', '.join(chosen.SPLITS)}.")
    if strategy not in get_args(Strategy):
        raise DataError(f"no strategy is called {strategy!r}. Choose one of {', '.join(get_args(Strategy))}.")
    if protocol not in get_args(Protocol):
        raise DataError(f"no protocol is called {protocol!r}. Choose one of {', '.join(get_args(Protocol))}.")
    if frames is not None and strategy not in COUNTED:
        raise DataError(f"the strategy {strategy} takes no number of frames. Leave --frames out, or use {', '.join(COUNTED)}.")
    if limit is not None and limit < 1:
        raise DataError(f"{limit} questions are too few to measure anything. Give --limit 1 or more, or none for all.")


def _check_engine(engine: str, address: str | None, workers: int | None, roles: Roles | None) -> None:
    """Raise DataError for an engine that does not exist, or that has no use for what is given."""
    if engine not in get_args(EngineName):
        raise DataError(f"no engine is called {engine!r}. Choose one of {', '.join(get_args(EngineName))}.")
    if engine == "local" and (address or workers is not None):
        raise DataError("--address and --workers are for --engine ray. Give it, or leave them out.")
    if engine == "ray" and roles:
        raise DataError("connected models stay in their process. Give a profile to the engine ray, whose workers connect it.")
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers are too few to ask anything. Give 1 or more, or leave --workers out.")


def _missing(loaded: Loaded) -> str:
    """Say which videos are not there, the first of them."""
    count, some = len(loaded.missing), ", ".join(loaded.missing[:SHOWN])
    more = ", ..." if count > SHOWN else ""
    cure = ", or leave their questions out with --allow-missing" if loaded.questions else ""
    return f"{count} videos are not in the folder: {some}{more}. Get them, or give another --videos{cure}."


def _prompt_hashes(style: prompts.Style) -> dict[str, str]:
    """Hash each template that the graph uses."""
    blank = {"picture": Picture(np.zeros((1, 1, 3), np.uint8)), "time": 0.0}
    about = {"question": "", "frames": [], "options": [], "evidence": "", "captions": [], "budget": 1, "frame": blank}
    return {name: prompts.render(name, style=style, **about).hash for name in ("caption", "select", "evidence", "answer")}


def _adapters(settings: Profile) -> dict[str, str]:
    """Tell the weights of the reasoner's adapters apart, where they are folders here."""
    folders = {f"reasoner {stage}": Path(source) for stage, source in settings.reasoner.adapters.items()}
    return {stage: identity(folder.absolute()) for stage, folder in folders.items() if folder.is_dir()}


def _hash(questions: Sequence[Question]) -> str:
    """Twelve hex digits over all that is asked and known, wherever the clips lie."""
    said = (question.model_dump_json(exclude={"visuals"}) for question in questions)
    return sha256("\n".join(said).encode()).hexdigest()[:12]


def environment() -> dict[str, str | None]:
    """Versions of what has a say in the numbers, and the commit where this is a checkout."""
    return {"commit": _commit(), "python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def _commit() -> str | None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
