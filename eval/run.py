"""Run a benchmark: ask its questions, log every answer, and compute the metrics.

    run("world", split="test", limit=420, strategy="selector").metrics.accuracy

A run passes each question through dataset, task, solver, scorer and log once: the dataset loads it
(`espresso.datasets`), an executor hands it to the task (`eval.sample.run_sample`), the task's
solver answers it, the scorer scores the answer, and the run folder logs the sample. `espresso eval
run` prints the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np

import prompts
from agents.session import Session
from espresso import profiles
from espresso.datasets import Dataset, DatasetFiles, LoadedQuestions, get_dataset
from espresso.errors import DataError, EspressoError, ProfileError, ServerDownError
from espresso.media import split_segment
from espresso.models import Picture
from espresso.options import EvalStrategy, ExecutorName, Protocol
from espresso.profiles import LocalRanker, Profile
from espresso.profiles.weights import identity
from espresso.schema import Question, Record
from eval.executors import local
from eval.executors.local import Executor
from eval.metrics import Metrics, TaskAccuracy, metrics, task_accuracies
from eval.run_folder import RunConfig, RunFolder
from eval.sample import Sample
from eval.task import WORLD, TaskSpec, load_models

WITH_FRAME_COUNT = ("selector", "oracle-captions", "uniform", "random")
"""Strategies for which the number of frames can be set."""
NOT_ASKED: Any = {"writer": True, "detector": True, "verifier": True, "embedder": {"same_above"}}
"""Parts of a profile that no run uses; they do not identify one."""
SHOWN_MISSING = 3
MAX_FAILURES = 8
"""A run stops after this many errors without one answer: the questions are not the cause then."""


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run, or of judging one."""

    doing: str
    """What is being done, such as "rendering visuals" or "answering"."""

    done: int
    total: int

    right: int = 0
    """Correct answers among those done."""

    errors: int = 0
    """Errors among those done."""


class RunSummary(Record):
    """The metrics of a run."""

    folder: str
    """The run's folder, which holds every answer."""

    configuration: RunConfig
    metrics: Metrics
    tasks: tuple[TaskAccuracy, ...]

    bad: tuple[str, ...] = ()
    """Rows that could not be read, each with its place and the reason."""

    missing: tuple[str, ...] = ()
    """Visuals that were not found, or are several files; their questions were left out."""

    notes: tuple[str, ...] = ()
    """Assumptions made while the questions were read, one sentence each."""


def run(
    dataset: str,
    *,
    split: str = "test",
    limit: int | None = None,
    strategy: EvalStrategy | None = None,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    frames: int | None = None,
    protocol: Protocol = "choice",
    given_evidence: bool = False,
    seed: int = 0,
    out: Path | None = None,
    files: DatasetFiles | None = None,
    allow_missing: bool = False,
    executor: ExecutorName = "local",
    address: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
) -> RunSummary:
    """Run a benchmark, or resume a run that was interrupted, and return its metrics.

    A question that cannot be answered is logged as an error and counts as wrong; it is asked again
    when the run is resumed.

    Args:
        dataset: name of the dataset, see `espresso.datasets`.
        split: the split whose questions are asked.
        limit: number of questions, from the first; None for all.
        strategy: how core frames are found, see `espresso.options.EvalStrategy`. None is the
            profile's own.
        profile: a profile, its name or the path of its file. None is ESPRESSO_PROFILE, else `tiny`.
        session: the profile, models and cache to use; `profile` is ignored then.
        frames: frames of `uniform` and `random` (16 if None), or the most that the selector may
            choose.
        protocol: how options are shown and replies are read, see `eval.protocols`.
        given_evidence: answer from the evidence in the dataset instead of the reasoner's own.
        seed: seed of the order in which options are shown, and of random frames.
        out: the run's folder. None is runs/<dataset>-<split>-<profile>-<strategy>-<limit>, with
            further settings appended.
        files: the user's copy of a dataset that comes in files.
        allow_missing: leave out questions about videos that are not there.
        executor: where samples run: `local` or `ray` (see `eval.executors.ray`). Either can resume
            a run of the other.
        address: address of the Ray cluster; None starts one on this machine.
        workers: number of Ray workers; None for as many as there is room for.
        on_progress: called when a sample is done.

    Raises:
        DataError: the dataset, split or a setting does not exist, or the folder holds something
            else.
        ProfileError: the profile does not exist, is invalid or lacks a model that the run needs.
        ModelError: a model cannot be loaded, or its server is gone.
        EspressoError: not one question could be answered.
    """
    loader = get_dataset(dataset)
    strategy = strategy or (session.profile if session else profiles.load(profile)).strategy
    _check(loader, split, limit, strategy, protocol, frames)
    _check_executor(executor, address, workers, session)
    spec = TaskSpec(dataset, strategy, protocol, frames, given_evidence, seed)
    with nullcontext(session) if session else Session(profile) as used:
        if protocol == "open" and used.roles.embedder is None:
            raise ProfileError(
                f"profile {used.profile.name} has no [embedder] to match free answers. Add one, such as BAAI/bge-small-en-v1.5."
            )
        load = partial(loader.load, split, limit, files)
        if executor == "ray":
            from agents.ray_cluster import check_address  # noqa: PLC0415 - an extra
            from eval.executors import ray  # noqa: PLC0415

            check_address(address)
        loaded = load(lambda done, total: on_progress(RunProgress("rendering visuals", done, total)))
        if (loaded.missing and not allow_missing) or not loaded.questions:
            raise DataError(_missing(loaded))
        if executor != "ray":
            load_models(used, spec)
        config = _config(spec, split, limit, used, loaded.questions)
        with RunFolder(out or _default_folder(config), config) as folder:
            run_groups: Executor = partial(local.run, task=spec.task(used), session=used)
            if executor == "ray":
                run_groups = partial(ray.run, profile=used.profile, spec=spec, prepare=load, address=address, workers=workers)
            samples = used.run(_run_samples(loaded.questions, run_groups, folder, on_progress))
    return RunSummary(
        folder=str(folder.path),
        configuration=config,
        metrics=metrics(samples),
        tasks=tuple(task_accuracies(samples)),
        bad=tuple(map(str, loaded.bad)),
        missing=loaded.missing,
        notes=loaded.notes,
    )


async def _run_samples(
    questions: Sequence[Question], run_groups: Executor, folder: RunFolder, on_progress: Callable[[RunProgress], None]
) -> list[Sample]:
    """Let an executor run the samples that are not logged yet, and log them.

    Returns all samples in the order of the questions, so that sums come out the same to the last
    digit. Raises DataError if the log holds others, and EspressoError if none can be logged,
    or none answered.
    """
    samples = list(folder.entries)
    positions = {question.id: position for position, question in enumerate(questions)}
    if other := next((sample.id for sample in samples if sample.id not in positions), None):
        raise DataError(
            f"{folder.path}/samples.jsonl: holds an answer to {other!r}, which is not a question of this run. Remove the line."
        )
    logged = {sample.id for sample in samples}
    remaining = [question for question in questions if question.id not in logged]
    progress = RunProgress("answering", len(samples), len(questions), right=sum(sample.scores.correct for sample in samples))
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
        if progress.errors == progress.done >= min(MAX_FAILURES, len(remaining)):
            raise EspressoError(f"all {progress.done} questions so far failed; the last error: {sample.error}")

    try:
        await run_groups([list(group) for _, group in groupby(remaining, key=lambda question: question.visuals)], keep)
    except ServerDownError as error:
        kept = f"{progress.done} of {progress.total} answers are kept"
        raise ServerDownError(f"{error} {kept}; run the same command again to resume.") from None
    return sorted(samples, key=lambda sample: positions[sample.id])


def _config(spec: TaskSpec, split: str, limit: int | None, session: Session, questions: Sequence[Question]) -> RunConfig:
    roles, profile = session.roles, session.profile
    models = {"captioner": roles.captioner.name, "selector": roles.selector.name, "reasoner": roles.reasoner.name}
    if spec.protocol == "open" and roles.embedder:
        models["embedder"] = roles.embedder.name
    if roles.ranker:
        models["ranker"] = roles.ranker.name
        head = profile.ranker.head if isinstance(profile.ranker, LocalRanker) else None
        models |= {"ranker head": identity(head)} if head else {}
    return RunConfig(
        bench=spec.dataset,
        split=split,
        limit=limit,
        strategy=spec.strategy,
        seed=spec.seed,
        profile=profile.model_dump(mode="json", exclude=NOT_ASKED),
        models=models | _adapters(profile),
        prompts=_prompt_hashes(profile.prompts, spec.protocol),
        questions=_questions_hash(questions),
        frames=spec.frames,
        protocol=spec.protocol,
        given=spec.given_evidence,
    )


def _default_folder(config: RunConfig) -> Path:
    """Return a folder whose name tells runs apart."""
    profile = Path(config.profile["name"]).name.replace(".toml", "")
    parts = [config.bench, config.split, profile, config.strategy, str(config.limit or "all")]
    parts += [f"{config.frames}-frames"] if config.frames else []
    parts += [config.protocol] if config.protocol != "choice" else []
    parts += ["given-evidence"] if config.given else []
    return Path("runs") / "-".join(parts)


def _check(dataset: Dataset, split: str, limit: int | None, strategy: str, protocol: str, frames: int | None) -> None:
    """Raise DataError for settings that do not exist or do not fit together."""
    if split not in dataset.splits:
        raise DataError(f"{dataset.name} has no split {split!r}. Choose one of {', '.join(dataset.splits)}.")
    if strategy not in get_args(EvalStrategy):
        raise DataError(f"unknown strategy {strategy!r}. Choose one of {', '.join(get_args(EvalStrategy))}.")
    if protocol not in get_args(Protocol):
        raise DataError(f"unknown protocol {protocol!r}. Choose one of {', '.join(get_args(Protocol))}.")
    if strategy == "oracle-captions" and dataset.name != WORLD:
        raise DataError(f"there are no ground-truth captions for {dataset.name}. Use a strategy other than oracle-captions.")
    if frames is not None and strategy not in WITH_FRAME_COUNT:
        raise DataError(
            f"the strategy {strategy} takes no number of frames. Leave --frames out, or use {', '.join(WITH_FRAME_COUNT)}."
        )
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} questions is too small. Give --limit 1 or more, or none for all questions.")


def _check_executor(executor: str, address: str | None, workers: int | None, session: Session | None) -> None:
    """Raise DataError for an executor that does not exist, or settings that it does not take."""
    if executor not in get_args(ExecutorName):
        raise DataError(f"unknown engine {executor!r}. Choose one of {', '.join(get_args(ExecutorName))}.")
    if executor == "local" and (address or workers is not None):
        raise DataError("--address and --workers need --engine ray. Give it, or leave them out.")
    if executor == "ray" and session:
        raise DataError("a session cannot leave its process. Give a profile instead; each Ray worker opens its own session.")
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers are too few. Give 1 or more, or leave --workers out.")


def _missing(loaded: LoadedQuestions) -> str:
    """Name the first videos that are missing."""
    count, some = len(loaded.missing), ", ".join(loaded.missing[:SHOWN_MISSING])
    more = ", ..." if count > SHOWN_MISSING else ""
    cure = ", or leave their questions out with --allow-missing" if loaded.questions else ""
    return f"{count} visuals were not found: {some}{more}. Download them, or give another --videos{cure}."


def _prompt_hashes(style: prompts.Style, protocol: Protocol) -> dict[str, str]:
    """Hash each template that the graph uses."""
    blank = {"picture": Picture(np.zeros((1, 1, 3), np.uint8)), "time": 0.0}
    inputs = {"question": "", "frames": [], "options": [], "evidence": "", "captions": [], "budget": 1, "frame": blank}
    names = ("caption", "select", "evidence", "written" if protocol == "written" else "answer")
    return {name: prompts.render(name, style=style, **inputs).hash for name in names}


def _adapters(profile: Profile) -> dict[str, str]:
    """Return the names of the reasoner's local adapters, with fingerprints of their weights."""
    folders = {f"reasoner {stage}": Path(source) for stage, source in profile.reasoner.adapters.items()}
    return {stage: identity(folder.absolute()) for stage, folder in folders.items() if folder.is_dir()}


def _questions_hash(questions: Sequence[Question]) -> str:
    """Hash everything about the questions but the paths of their videos, to twelve hex digits."""
    lines = (
        question.model_dump_json(exclude={"visuals"}) + "".join(split_segment(visual)[1] for visual in question.visuals)
        for question in questions
    )
    return sha256("\n".join(lines).encode()).hexdigest()[:12]
