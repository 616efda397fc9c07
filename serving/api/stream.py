"""Stream a chat reply: progress by node, the text of the answer, the whole answer, the usage."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from agents.answer.graph import NodeStarted
from espresso.errors import EspressoError
from espresso.schema import Answer
from serving.api.chat import Asked, ChatChunk, ChunkChoice, Delta, Progress, ReplyExtension, new_id, token_usage
from serving.api.replies import ErrorContent, ErrorReply, error_content, event

log = logging.getLogger("espresso.serving")

Answering = Callable[[Callable[[NodeStarted], None]], Awaitable[Answer]]
"""Answers the question; calls its argument when a node starts."""


async def stream(asked: Asked, answering: Answering, with_usage: bool) -> AsyncIterator[str]:
    """Yield the events of a reply.

    An error is the last event. When the stream is closed, the question is cancelled.

    Args:
        asked: the request.
        answering: answers the question.
        with_usage: whether to end with the usage.
    """
    chunk = ChatChunk(id=new_id(), created=int(time.time()), model=asked.question.model)
    started: asyncio.Queue[NodeStarted | None] = asyncio.Queue()
    task = asyncio.ensure_future(answering(started.put_nowait))
    task.add_done_callback(lambda _: started.put_nowait(None))
    try:
        yield event(_with_delta(chunk, Delta(role="assistant", content="")))
        while node := await started.get():
            progress = Progress(node=node.node, text=node.text)
            yield event(chunk.model_copy(update={"espresso": ReplyExtension(progress=progress)}))
        answer = task.result()
        yield event(_with_delta(chunk, Delta(content=asked.content(answer))))
        end = {"choices": (ChunkChoice(finish_reason="stop"),), "espresso": ReplyExtension(answer=answer, notes=asked.notes)}
        yield event(chunk.model_copy(update=end))
        if with_usage:
            yield event(chunk.model_copy(update={"choices": (), "usage": token_usage(answer)}))
        yield "data: [DONE]\n\n"
    except EspressoError as error:
        yield event(error_content(error))
    except Exception:
        log.exception("a question failed")
        yield event(INTERNAL)
    finally:
        task.cancel()


INTERNAL = ErrorReply(error=ErrorContent(message="internal error; the server's log has its cause.", type="server_error"))
"""The reply to a request that failed unexpectedly."""


def _with_delta(chunk: ChatChunk, delta: Delta) -> ChatChunk:
    return chunk.model_copy(update={"choices": (ChunkChoice(delta=delta),)})
