"""The answer graph: a question about visuals goes in; core frames, evidence, an answer and, if it is judged, a verdict come out.

sample -> caption -> select -> evidence -> sufficient -> answer is the way of the `selector` strategy (VideoEspresso, section 4);
when the evidence is not enough, `sufficient` leads back to `select` once. `uniform`, `all` and `given` have their core frames
after `sample` and go on to `evidence`; `blind` goes straight to `answer`, and so does all else in a `direct` profile or where
the caller gives the evidence. Where a reference is given, `judge` comes last, and is the only node that gets to see it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agents.answer.answer import reply
from agents.answer.caption import caption
from agents.answer.context import Run
from agents.answer.evidence import evidence
from agents.answer.sample import sample
from agents.answer.select import select
from agents.answer.state import AnswerState, AnswerUpdate
from agents.answer.sufficient import sufficient
from agents.judge import judge


@dataclass(frozen=True)
class Progress:
    """A node has begun. text: what it does, for people ("captioning 16 frames")."""

    node: str
    text: str


_DOING: dict[str, Callable[[AnswerState], str]] = {
    "sample": lambda state: "sampling frames",
    "caption": lambda state: f"captioning {len(state.frames)} frames",
    "select": lambda state: f"choosing core frames among {len(state.frames)}",
    "evidence": lambda state: f"reading evidence from {len(state.core_frames)} frames",
    "sufficient": lambda state: "weighing the evidence",
    "answer": lambda state: "answering",
    "judge": lambda state: "judging the answer",
}


def _node(name: str, work: Callable[[AnswerState, Run], Awaitable[AnswerUpdate]]) -> Callable[..., Awaitable[AnswerUpdate]]:
    """Make `work` a node of the graph: announced to whoever streams progress, and timed."""

    async def node(state: AnswerState, runtime: Runtime[Run]) -> AnswerUpdate:
        run = runtime.context or Run()
        runtime.stream_writer(Progress(name, _DOING[name](state)))
        began = perf_counter()
        await run.open(state.question.visuals)
        update = await work(state if name == "judge" else state.model_copy(update={"reference": None}), run)
        (done,) = update["trace"]
        return AnswerUpdate(**{**update, "trace": (done.model_copy(update={"seconds": perf_counter() - began}),)})

    return node


def _after_sample(state: AnswerState, runtime: Runtime[Run]) -> str:
    return {"selector": "caption", "blind": "answer"}.get(state.strategy) or _to_reason(state, runtime)


def _to_reason(state: AnswerState, runtime: Runtime[Run]) -> str:
    direct = runtime.context is not None and runtime.context.settings.direct
    given = state.evidence and state.enough  # what was not enough is asked for again
    return "answer" if direct or given else "evidence"


def _after_sufficient(state: AnswerState) -> str:
    return "answer" if state.enough else "select"


def _after_answer(state: AnswerState) -> str:
    return END if state.reference is None else "judge"


def _build() -> CompiledStateGraph[Any, Run, Any, Any]:
    graph = StateGraph(AnswerState, context_schema=Run)
    nodes = {
        "sample": sample,
        "caption": caption,
        "select": select,
        "evidence": evidence,
        "sufficient": sufficient,
        "answer": reply,
        "judge": judge,
    }
    for name, work in nodes.items():
        graph.add_node(name, _node(name, work))
    graph.add_edge(START, "sample")
    graph.add_conditional_edges("sample", _after_sample, ["caption", "evidence", "answer"])
    graph.add_edge("caption", "select")
    graph.add_conditional_edges("select", _to_reason, ["evidence", "answer"])
    graph.add_edge("evidence", "sufficient")
    graph.add_conditional_edges("sufficient", _after_sufficient, ["select", "answer"])
    graph.add_conditional_edges("answer", _after_answer, ["judge", END])
    graph.add_edge("judge", END)
    return graph.compile()


graph = _build()
