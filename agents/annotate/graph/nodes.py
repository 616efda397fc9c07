"""The nodes of the construction graph up to the evidence: one call asks a model at most once.

A node returns what it changes in the state, and the tasks that follow from it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.annotate.graph.context import AnnotateContext
from agents.annotate.graph.replies import Citation, Review, WrittenPairs
from agents.annotate.graph.scenes import find_scenes, group_scenes, match_scenes
from agents.annotate.graph.state import (
    AnnotateState,
    CitedEvidence,
    CitedScene,
    Fault,
    GroundTask,
    Group,
    MatchTask,
    Pair,
    PairTask,
    Scene,
    Update,
)
from agents.annotate.graph.writer import ask_writer
from agents.answer.caption import caption_frames
from agents.answer.domain import check_domain
from agents.answer.sample import sample_visual
from agents.grounding import labels_by_text
from agents.trace import make_step
from espresso import media
from espresso.schema import Frame

Tasks = list[tuple[str, Any]]
"""(node, input) pairs."""

WRITE_TOKENS, FILTER_TOKENS, EVIDENCE_TOKENS = 512, 128, 384
"""Maximum length of the writer's replies."""
MIN_SCENES = 2
"""A question needs two scenes at least: its answer follows from several frames."""


async def sample(state: AnnotateState, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Sample the video.

    Raises:
        MediaError: the video cannot be decoded.
        QuestionError: the profile's models do not know such videos.
    """
    (opened,) = context.visuals
    frames, note = await sample_visual(0, media.parse_plan(context.sampling or context.session.profile.sampling), context)
    warning = await check_domain(frames, context, allow=context.allow_out_of_domain, what="annotation")
    notes = tuple(each for each in (note, warning) if each)
    update = {"visual": opened.visual, "frames": tuple(frames), "notes": notes, "trace": make_step("sample", frames=len(frames))}
    return update, [("caption", frame) for frame in frames]


async def caption(frame: Frame, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Caption one frame. Raises MediaError or ModelError."""
    done = await caption_frames([frame], context)
    faults = [f"the frame at {frame.time:.1f} s has no caption: {reply.fault}" for reply in done.replies if reply.fault]
    step = make_step(
        "caption", done.replies, model=context.session.roles.captioner, prompt=done.prompt, frames=1, saved=done.cached
    )
    return {"captions": done.captions, "notes": tuple(faults), "trace": step}, []


async def group(state: AnnotateState, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Merge captions that say the same, and group the scenes. Raises ModelError."""
    embedder, role = context.session.roles.embedder, context.session.profile.embedder
    assert embedder, "checked before the first video"
    assert role
    assert state.visual
    captions = sorted(state.captions, key=lambda each: each.frame.index)
    vectors = await embedder.embed([each.text for each in captions]) if captions else np.zeros((0, 1), np.float32)
    scenes = find_scenes(captions, vectors, state.visual.duration, role.same_above)
    groups = [each for each in group_scenes(scenes) if len(each.scenes) >= MIN_SCENES]
    notes = () if groups else (f"no question: its {len(captions)} captions describe {_scenes(scenes)}, and a question needs two",)
    return {"groups": tuple(group_scenes(scenes)), "notes": notes, "trace": make_step("group", frames=len(scenes))}, [
        ("write", each) for each in groups
    ]


def _scenes(scenes: list[Scene]) -> str:
    return "one scene" if len(scenes) == 1 else f"{len(scenes)} scenes"


async def write(group: Group, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Write questions with answers about a group (VideoEspresso, Figure 7)."""
    reply, step = await ask_writer("write", WrittenPairs, context, group, max_tokens=WRITE_TOKENS, count=context.questions)
    if isinstance(reply, str):
        return {"notes": (f"group {group.number} has no question: {reply}",), "trace": (step,)}, []
    written = [each for each in reply.pairs if each.question.strip() and each.answer.strip()][: context.questions]
    pairs = [
        Pair(
            id=f"{group.number}-{number}",
            group=group.number,
            task=each.task,
            question=each.question.strip(),
            answer=each.answer.strip(),
        )
        for number, each in enumerate(written)
    ]
    first = {pair.question.casefold(): pair for pair in reversed(pairs)}
    repeated = [pair for pair in pairs if first[pair.question.casefold()] is not pair]
    faults = {pair.id: Fault(node="write", reason="the question was written before") for pair in repeated}
    return {"pairs": tuple(pairs), "faults": faults, "trace": (step,)}, [
        ("filter", PairTask(pair=pair, group=group)) for pair in pairs if pair not in repeated
    ]


async def filter_pair(task: PairTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Keep or reject a pair (VideoEspresso, Figure 8)."""
    pair = task.pair
    reply, step = await ask_writer(
        "filter", Review, context, task.group, max_tokens=FILTER_TOKENS, question=pair.question, answer=pair.answer
    )
    if isinstance(reply, str):
        return {"faults": {pair.id: Fault(node="filter", reason=reply)}, "trace": (step,)}, []
    keep = reply.consistent and reply.objective and reply.continuous
    return {"reviews": {pair.id: reply}, "trace": (step,)}, [("evidence", task)] if keep else []


async def evidence(task: PairTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Cite the captions that the answer rests on (VideoEspresso, Figure 9)."""
    pair = task.pair
    reply, step = await ask_writer(
        "evidence", Citation, context, task.group, max_tokens=EVIDENCE_TOKENS, question=pair.question, answer=pair.answer
    )
    if not isinstance(reply, str) and not any(text.strip() for text in reply.captions):
        reply = "the evidence cites no caption"
    if isinstance(reply, str):
        return {"faults": {pair.id: Fault(node="evidence", reason=reply)}, "trace": (step,)}, []
    return {"trace": (step,)}, [("match", MatchTask(pair=pair, group=task.group, citation=reply))]


async def match(task: MatchTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Find the scenes of the cited captions by embedding; reject a pair that cites others.

    Raises:
        ModelError: the captions cannot be embedded.
    """
    pair, cited_texts, scenes = task.pair, [text for text in task.citation.captions if text.strip()], task.group.scenes
    embedder, role = context.session.roles.embedder, context.session.profile.embedder
    assert embedder, "checked before the first video"
    assert role
    vectors = await embedder.embed([*cited_texts, *(scene.text for scene in scenes)])
    similarity = vectors[: len(cited_texts)] @ vectors[len(cited_texts) :].T
    cited, trace = dict[int, CitedScene](), make_step("match")
    for row, number in enumerate(match_scenes(similarity)):
        score = float(similarity[row, number])
        if score < role.same_above:
            reason = f"no caption resembles the evidence {cited_texts[row]!r}"
            return {"faults": {pair.id: Fault(node="match", reason=reason)}, "trace": trace}, []
        cited.setdefault(number, CitedScene(text=cited_texts[row], scene=scenes[number], similarity=min(score, 1.0)))
    matched = tuple(cited[number] for number in sorted(cited))
    found = CitedEvidence(
        text=correct_times(task.citation.evidence.strip(), matched),
        scenes=matched,
        labels=tuple(dict.fromkeys(label.strip() for label in task.citation.key_items if label.strip())),
    )
    tasks: Tasks = [("distract", PairTask(pair=pair, group=task.group))] if context.distractors else []
    if context.session.roles.detector:
        tasks += [("ground", each) for each in _groundings(pair.id, found)]
    return {"evidence": {pair.id: found}, "trace": trace}, tasks


def correct_times(evidence: str, matched: Sequence[CitedScene]) -> str:
    """Set each time before a cited caption ("4.2s: red square hides") to the middle of its scene.

    A small writer copies the captions, but not their times. If two scenes have the same caption,
    the first mention is the earlier scene.

    Args:
        evidence: the evidence as written.
        matched: the scenes that it cites, in time order.
    """
    middles = defaultdict[str, list[float]](list)
    for each in matched:
        middles[each.text].append((each.scene.start + each.scene.end) / 2)
    longest_first = "|".join(map(re.escape, sorted(middles, key=len, reverse=True)))

    def correct(found: re.Match[str]) -> str:
        left = middles[found[2]]
        return f"{left.pop(0) if len(left) > 1 else left[0]:.1f}{found[1]}{found[2]}"

    return re.sub(rf"\d+(?:\.\d+)?( ?s: )({longest_first})(?!\w)", correct, evidence)


def _groundings(pair: str, found: CitedEvidence) -> list[GroundTask]:
    """Look for a key item in the frames whose captions name it, or in all if none does."""
    tasks = []
    for each, labels in zip(found.scenes, labels_by_text(found.labels, [each.scene.text for each in found.scenes]), strict=True):
        others = tuple(label for label in found.labels if label not in labels)
        if labels:
            tasks.append(GroundTask(pair=pair, frame=each.scene.core, labels=labels, others=others))
    return tasks
