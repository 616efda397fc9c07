"""The answer graph: from a question to core frames, evidence, an answer and a verdict.

With the `selector` strategy a question passes sample -> caption -> select -> evidence -> sufficient
-> answer (VideoEspresso, section 4). If the evidence does not suffice, `sufficient` leads back to
`select` once. `uniform`, `all` and `given` have their core frames after `sample` and continue with
`evidence`. `blind` continues with `answer`, and so does every strategy if the profile is `direct`
or the caller gives the evidence. With `boxes`, `name` lists the things in the evidence and `ground`
locates them in the core frames, before `answer`. `classifier` has only `classify` after `sample`.
If there is a reference, `judge` comes last; it is the only node that sees the reference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agents.answer.answer import answer
from agents.answer.caption import caption
from agents.answer.classify import classify
from agents.answer.context import AnswerContext
from agents.answer.evidence import evidence
from agents.answer.ground import ground
from agents.answer.name import name
from agents.answer.sample import sample
from agents.answer.select import select
from agents.answer.state import AnswerState, AnswerUpdate
from agents.answer.sufficient import sufficient
from agents.judge import judge
from espresso.schema import RoleName


@dataclass(frozen=True)
class NodeStarted:
    """Progress: a node has started."""

    node: str

    role: RoleName | None
    """The role of the model that the node asks."""

    text: str
    """What the node does, for people ("captioning 16 frames")."""


@dataclass(frozen=True)
class _Node:
    """A node of the graph: its work, the role of the model it asks, and a description."""

    work: Callable[[AnswerState, AnswerContext], Awaitable[AnswerUpdate]]
    role: RoleName | None
    describe: Callable[[AnswerState], str]


_NODES = {
    "sample": _Node(sample, None, lambda state: "sampling frames"),
    "caption": _Node(caption, "captioner", lambda state: f"captioning {len(state.frames)} frames"),
    "select": _Node(select, "selector", lambda state: f"selecting core frames among {len(state.frames)}"),
    "evidence": _Node(evidence, "reasoner", lambda state: f"writing evidence from {len(state.core_frames)} frames"),
    "sufficient": _Node(sufficient, None, lambda state: "checking the evidence"),
    "name": _Node(name, "reasoner", lambda state: "listing the things in the evidence"),
    "ground": _Node(ground, "detector", lambda state: f"locating {len({item.label for item in state.key_items})} things"),
    "answer": _Node(answer, "reasoner", lambda state: "answering"),
    "classify": _Node(classify, "classifier", lambda state: f"classifying {len(state.frames)} frames"),
    "judge": _Node(judge, "judge", lambda state: "judging the answer"),
}


def _run(title: str, node: _Node) -> Callable[..., Awaitable[AnswerUpdate]]:
    """Wrap a node: report its start, open the context, record role and time in its step."""

    async def run(state: AnswerState, runtime: Runtime[AnswerContext]) -> AnswerUpdate:
        context = runtime.context or AnswerContext()
        runtime.stream_writer(NodeStarted(title, node.role, node.describe(state)))
        start = perf_counter()
        await context.open(state.question.visuals)
        update = await node.work(state if title == "judge" else state.model_copy(update={"reference": None}), context)
        (step,) = update["trace"]
        step = step.model_copy(update={"role": node.role if step.model else None, "seconds": perf_counter() - start})
        return AnswerUpdate(**{**update, "trace": (step,)})

    return run


def _after_sample(state: AnswerState, runtime: Runtime[AnswerContext]) -> str:
    if state.strategy == "selector":
        return "select" if state.captions else "caption"
    if state.strategy == "classifier":
        return "classify"
    return "answer" if state.strategy == "blind" else _after_core_frames(state, runtime)


def _after_core_frames(state: AnswerState, runtime: Runtime[AnswerContext]) -> str:
    direct = runtime.context is not None and runtime.context.session.profile.direct
    given = state.evidence and state.enough  # evidence that did not suffice is written again
    return _after_evidence(state) if direct or given else "evidence"


def _after_sufficient(state: AnswerState) -> str:
    return _after_evidence(state) if state.enough else "select"


def _after_evidence(state: AnswerState) -> str:
    return "name" if state.boxes and state.evidence else "answer"


def _after_name(state: AnswerState) -> str:
    return "ground" if state.key_items else "answer"


def _after_answer(state: AnswerState) -> str:
    return END if state.reference is None else "judge"


def _build() -> CompiledStateGraph[Any, AnswerContext, Any, Any]:
    graph = StateGraph(AnswerState, context_schema=AnswerContext)
    for title, node in _NODES.items():
        graph.add_node(title, _run(title, node))
    graph.add_edge(START, "sample")
    graph.add_conditional_edges("sample", _after_sample, ["caption", "select", "evidence", "name", "answer", "classify"])
    graph.add_edge("caption", "select")
    graph.add_conditional_edges("select", _after_core_frames, ["evidence", "name", "answer"])
    graph.add_edge("evidence", "sufficient")
    graph.add_conditional_edges("sufficient", _after_sufficient, ["select", "name", "answer"])
    graph.add_conditional_edges("name", _after_name, ["ground", "answer"])
    graph.add_edge("ground", "answer")
    graph.add_conditional_edges("answer", _after_answer, ["judge", END])
    graph.add_conditional_edges("classify", _after_answer, ["judge", END])
    graph.add_edge("judge", END)
    return graph.compile()


graph = _build()
