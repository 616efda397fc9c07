"""Ground key items in a core frame, see `agents.grounding`."""

from __future__ import annotations

from agents.annotate.graph.context import AnnotateContext
from agents.annotate.graph.nodes import Tasks
from agents.annotate.graph.state import Grounding, GroundTask, Update
from agents.grounding import locate
from agents.trace import make_step


async def ground(task: GroundTask, context: AnnotateContext) -> tuple[Update, Tasks]:
    """Find the boxes of key items in a core frame. Raises MediaError."""
    found = await locate(task.frame, task.labels, task.others, context)
    detector = context.session.roles.detector
    return {
        "groundings": (Grounding(pair=task.pair, frame=task.frame, items=found.items, detected=found.detected),),
        "trace": make_step("ground", found.replies, model=detector, prompt=found.prompt, frames=1, notes=[found.note]),
    }, []
