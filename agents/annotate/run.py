"""Construct a dataset from many videos: the work folder, resuming, the budget and the output files.

`annotate(["a.mp4", "b.mp4"], out=Path("data.jsonl"))` is what `espresso annotate` runs. Next to the
output it keeps a work folder, `data.annotate`: `annotate.json` records the settings, `videos.jsonl`
has one line per finished video, and each video in progress has a SQLite file with the checkpoints
of its graph. A reply is in that file before a request that depends on it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from agents.annotate.dataset import output
from agents.annotate.graph.build import NODES
from agents.annotate.records import RejectedPair, VideoAnnotation
from agents.annotate.work import Work, forget, load_models, make_config
from agents.batch import bounded
from agents.budget import BudgetExceededError, Prices, TokenUsage, check_prices, with_budget
from agents.session import Session
from espresso import media
from espresso.errors import DataError, MediaError, ProfileError, ServerDownError
from espresso.log import JsonlLog
from espresso.media import Media
from espresso.options import ExecutorName
from espresso.profiles import Profile, ServerRole
from espresso.schema import Record

VIDEOS_AT_ONCE = 8
"""Videos in progress: enough to fill a model's batches, few enough for memory."""


@dataclass(frozen=True)
class AnnotateProgress:
    """Progress of a construction."""

    doing: str
    """What is being done: "reading videos" or "annotating"."""

    done: int
    """Finished videos, skipped ones included."""

    total: int

    kept: int
    """Questions."""

    rejected: int
    """Rejected pairs."""

    skipped: int
    """Videos that could not be annotated."""

    dollars: float
    """What the finished videos cost."""


class AnnotateSummary(Record):
    """What a construction gave."""

    out: str
    """File of the questions."""

    rejected_file: str
    """File of the rejected pairs."""

    videos: int
    """Annotated videos."""

    questions: int

    rejected: dict[str, int]
    """Node -> pairs that it rejected."""

    skipped: dict[str, str]
    """Video -> why it was skipped."""

    without_question: dict[str, str]
    """Video -> why it has no question."""

    boxes: dict[str, int]
    """Key items looked for in core frames, boxes found, and boxes verified."""

    dollars: float | None
    """What the annotated videos cost, in earlier calls too; None if the profile has no prices."""


def annotate(
    videos: Sequence[str | Path],
    out: Path,
    *,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    sampling: str | None = None,
    questions: int = 3,
    distractors: bool = True,
    max_cost: float | None = None,
    allow_out_of_domain: bool = False,
    executor: ExecutorName = "local",
    address: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[AnnotateProgress], None] = lambda progress: None,
) -> AnnotateSummary:
    """Construct questions with core frames, evidence and options from videos.

    An interrupted call is resumed by the same call: no reply is paid for twice. Later calls may add
    videos. A video that cannot be read is skipped, listed, and tried again by the next call.

    Args:
        videos: paths of videos. Equal files under several names count once.
        out: JSONL file of question records, replaced when the call ends. Rejected pairs are written
            to `<out>.rejected.jsonl`.
        profile: a profile, its name or file. None is ESPRESSO_PROFILE, else `tiny`.
        session: the profile, models and cache to use; `profile` is ignored then.
        sampling: the sampling plan, see `espresso.media.parse_plan`. None is the profile's.
        questions: most questions about a group of up to fifteen scenes.
        distractors: whether to write three wrong options per question, and to reject questions that
            need no video. Training needs neither.
        max_cost: the most to spend in this call, in dollars; None is no limit.
        allow_out_of_domain: whether to annotate videos that the profile's models do not know.
        executor: where videos are annotated: `local` or `ray`.
        address: address of the Ray cluster; None starts one on this machine.
        workers: number of Ray workers; None for as many as there is room for.
        on_progress: called when a video is done.

    Raises:
        DataError: a setting is invalid, another process is writing, the work folder has other
            settings, or a file cannot be written.
        ProfileError: the profile has no writer or embedder, or no prices for `max_cost`.
        ModelError: a model cannot be loaded.
        ServerDownError: a model's server does not answer.
        BudgetExceededError: the next reply could cost more than what is left of `max_cost`.
    """
    if questions < 1:
        raise DataError(f"{questions} questions per group are too few. Give --questions 1 or more.")
    if out.suffix != ".jsonl":
        raise DataError(f"{out}: the output is a JSONL file. Give --out a name that ends in .jsonl.")
    if sampling:
        media.parse_plan(sampling)
    if executor == "ray":
        from agents.ray_cluster import check_address  # noqa: PLC0415 - an extra

        check_address(address)
    elif address or workers is not None:
        raise DataError("--address and --workers need --engine ray. Give it, or leave them out.")
    with nullcontext(session) if session else Session(profile) as opened:
        check_profile(opened.profile, max_cost)
        config = make_config(opened, sampling, questions, distractors)
        folder = out.with_suffix(".annotate").absolute()
        if out.exists() and not (folder / "annotate.json").is_file():
            raise DataError(f"{out}: exists and was not written by `espresso annotate`. Give another --out.")
        with JsonlLog(
            folder, "annotate", config, lines="videos.jsonl", entry=VideoAnnotation, done=lambda entry: entry.error is None
        ) as log:
            call = _Call(log, opened.profile, on_progress)
            try:
                sources = list(dict.fromkeys(map(str, videos)))
                remaining = opened.run(call.read(sources))
                if executor == "ray":
                    from agents.annotate import ray  # noqa: PLC0415 - an extra

                    settings = ray.Settings(opened.profile, config, folder, allow_out_of_domain, max_cost)
                    opened.run(ray.annotate_all(list(remaining), call.keep, settings, address=address, workers=workers))
                else:
                    if remaining:
                        opened.run(load_models(opened, distractors=distractors))
                    used = with_budget(opened, max_cost)
                    work = Work(used, config, folder, allow_out_of_domain=allow_out_of_domain)
                    used.run(_annotate_all(remaining, work, call.keep))
            except (ServerDownError, BudgetExceededError) as error:
                raise type(error)(f"{error} {call.kept()}; run the same command again to resume.") from None
            finally:
                rejected = output.write(out, call.in_order())
    return summarize(out, call.results(), rejected, opened.profile)


def check_profile(profile: Profile, max_cost: float | None) -> None:
    """Check that a profile can construct a dataset.

    Raises:
        ProfileError: it has no writer or embedder, or `max_cost` is given and it has no prices.
    """
    for role, purpose in (("writer", "write questions"), ("embedder", "compare captions")):
        if getattr(profile, role) is None:
            raise ProfileError(f"profile {profile.name} has no [{role}] to {purpose}. Add one, or use another --profile.")
    if max_cost is not None:
        check_prices(profile, ("captioner", "writer", "detector", "reasoner"))


async def _annotate_all(videos: Mapping[str, Media], work: Work, keep: Callable[[VideoAnnotation], None]) -> None:
    """Annotate videos in this process."""

    async def one(source: str) -> None:
        keep(await work.annotate_video(source, videos[source]))

    async with aclosing(bounded(list(videos), one, VIDEOS_AT_ONCE)) as done:
        async for _ in done:
            pass


class _Call:
    """The results of one call, and its progress."""

    def __init__(self, log: JsonlLog[VideoAnnotation], profile: Profile, on_progress: Callable[[AnnotateProgress], None]) -> None:
        self._log, self._profile, self._on_progress = log, profile, on_progress
        self._sources = list[str]()
        self._results = dict[str, VideoAnnotation]()

    async def read(self, sources: list[str]) -> dict[str, Media]:
        """Open all videos; return those that are not annotated yet."""
        logged = {entry.id: entry for entry in self._log.entries}
        self._sources, remaining, taken = sources, dict[str, Media](), dict[str, str]()

        async def open_video(source: str) -> tuple[str, Media | str]:
            try:
                return source, await media.in_background(media.open, source)
            except MediaError as error:
                return source, str(error)

        async with aclosing(bounded(sources, open_video, VIDEOS_AT_ONCE)) as opened:
            async for source, video in opened:
                if isinstance(video, str):
                    self._add(VideoAnnotation(id=source, source=source, error=video))
                elif (first := taken.setdefault(video.visual.digest, source)) != source:
                    self._add(VideoAnnotation(id=source, source=source, error=f"{source}: the same video as {first}."))
                elif entry := logged.get(video.visual.digest):
                    self._add(entry.at(source))
                else:
                    remaining[source] = video
                self._report("reading videos", len(self._results) + len(remaining))
        self._report()
        return remaining

    def keep(self, result: VideoAnnotation) -> None:
        """Log the result of a video, and remove its checkpoints. Raises DataError."""
        self._log.append(result)
        if result.error is None:
            forget(self._log.path, result)
        self._add(result)
        self._report()

    def results(self) -> list[VideoAnnotation]:
        """Return the results so far, in the order of the videos."""
        return [self._results[source] for source in self._sources if source in self._results]

    def in_order(self) -> list[VideoAnnotation]:
        """Return the results in the order of the videos, then those of earlier calls."""
        results = self.results()
        known = {each.id for each in results}
        return [*results, *(entry for entry in self._log.entries if entry.id not in known)]

    def kept(self) -> str:
        """Say how many videos are done."""
        return f"{len(self._results)} of {len(self._sources)} videos are done"

    def _add(self, result: VideoAnnotation) -> None:
        self._results[result.source] = result

    def _report(self, doing: str = "annotating", done: int | None = None) -> None:
        results = list(self._results.values())
        self._on_progress(
            AnnotateProgress(
                doing=doing,
                done=len(results) if done is None else done,
                total=len(self._sources),
                kept=sum(len(each.questions) for each in results),
                rejected=sum(len(each.rejected) for each in results),
                skipped=sum(each.error is not None for each in results),
                dollars=dollars(results, self._profile) or 0.0,
            )
        )


def dollars(results: Sequence[VideoAnnotation], profile: Profile) -> float | None:
    """Return what videos cost, in earlier calls too; None if the profile has no prices."""
    prices = {
        name: Prices(role.price_in, role.price_out)
        for name, role in profile.roles.items()
        if isinstance(role, ServerRole) and role.price_in is not None and role.price_out is not None
    }
    if not prices:
        return None
    return sum(
        prices[role].dollars(TokenUsage(cost.tokens_in, cost.tokens_out))
        for result in results
        for cost in result.costs
        if (role := NODES[cost.node][1]) in prices
    )


def summarize(
    out: Path, results: Sequence[VideoAnnotation], rejected: Sequence[RejectedPair], profile: Profile
) -> AnnotateSummary:
    """Count what a construction gave."""
    done = [each for each in results if each.error is None]
    ids = {question.id for each in done for question in each.questions} | {pair.id for each in done for pair in each.rejected}
    nodes = [pair.node for pair in rejected if pair.id in ids]
    left_out = {pair.id for pair in rejected}
    questions = [question for each in done for question in each.questions if question.id not in left_out]
    boxes = sum(item.box is not None for each in done for q in each.questions if q.truth for item in q.truth.key_items)
    return AnnotateSummary(
        out=str(out),
        rejected_file=str(output.rejected_file(out)),
        videos=len(done),
        questions=len(questions),
        rejected={node: nodes.count(node) for node in dict.fromkeys(nodes)},
        skipped={each.source: each.error for each in results if each.error},
        without_question={each.source: _why_none(each) for each in done if not each.questions},
        boxes={"wanted": sum(each.items for each in done), "found": sum(each.boxes_found for each in done), "verified": boxes},
        dollars=dollars(done, profile),
    )


def _why_none(result: VideoAnnotation) -> str:
    if result.rejected:
        return f"all {len(result.rejected)} pairs were rejected; the first: {result.rejected[0].reason}"
    return result.notes[-1] if result.notes else "the writer wrote no question"
