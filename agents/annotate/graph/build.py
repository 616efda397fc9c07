"""The construction graph; `agents.annotate` describes its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from agents.annotate.graph.context import AnnotateContext
from agents.annotate.graph.ground import ground
from agents.annotate.graph.nodes import Tasks, caption, evidence, filter_pair, group, match, sample, write
from agents.annotate.graph.options import check, distract, guess
from agents.annotate.graph.state import AnnotateState, Update
from espresso.errors import ProfileError
from espresso.schema import RoleName

Node = Callable[[Any, AnnotateContext], Awaitable[tuple[Update, Tasks]]]

NODES: dict[str, tuple[Node, RoleName | None]] = {
    "sample": (sample, None),
    "caption": (caption, "captioner"),
    "group": (group, None),
    "write": (write, "writer"),
    "filter": (filter_pair, "writer"),
    "evidence": (evidence, "writer"),
    "match": (match, None),
    "ground": (ground, "detector"),
    "distract": (distract, "writer"),
    "check": (check, "writer"),
    "guess": (guess, "reasoner"),
}
"""Each node, and the role of the model that it asks."""


def _run(node: Node, role: RoleName | None) -> Callable[..., Awaitable[Command[Any]]]:
    """Wrap a node: record role and time in its step, and start the tasks that follow."""

    async def run(task: Any, runtime: Runtime[AnnotateContext]) -> Command[Any]:
        context = runtime.context
        if context is None:
            raise ProfileError('the construction graph has no context. Give one, such as {"profile": "tiny"}.')
        start = perf_counter()
        if isinstance(task, AnnotateState):
            await context.open([task.source])
        update, tasks = await node(task, context)
        seconds = perf_counter() - start
        update["trace"] = tuple(step.model_copy(update={"role": role, "seconds": seconds}) for step in update["trace"])
        return Command(update=update, goto=[Send(name, each) for name, each in tasks])

    return run


def build() -> StateGraph[Any, AnnotateContext, Any, Any]:
    """Build the graph; compile it with a checkpointer to make it resumable."""
    graph = StateGraph(AnnotateState, context_schema=AnnotateContext)
    for name, (node, role) in NODES.items():
        graph.add_node(name, _run(node, role))
    graph.add_edge(START, "sample")
    graph.add_edge("caption", "group")
    return graph


graph = build().compile()
"""The graph without checkpoints, for LangGraph's own tools (`langgraph.json`)."""
