"""Ask a question and follow the answer graph: a view after each event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from espresso.errors import EspressoError, QuestionError
from serving.app.shown import Shown, Visuals
from serving.app.view import View
from serving.service import AskRequest, Service

log = logging.getLogger("espresso.serving")

INTERNAL = "the app failed; its log has the reason."


async def follow(
    service: Service, visuals: Visuals, sources: Sequence[str], text: str, options: Sequence[str] | None, boxes: bool = False
) -> AsyncGenerator[View, None]:
    """Ask a question; yield what is known after each event, the answer or a problem last.

    Events that come while a view is shown are in the next one.

    The question is cancelled when the generator is closed.

    Args:
        service: answers it; its first profile is asked.
        visuals: the visuals of the page.
        sources: what the question is about.
        text: the question.
        options: two or more options, or None for a free answer.
        boxes: whether to locate the key items of the evidence.
    """
    view = View(())
    task: asyncio.Task[None] | None = None
    try:
        if not sources:
            raise QuestionError("no image or video is chosen. Upload one, or take an example.")
        shown: list[Shown] = [await asyncio.to_thread(visuals.open, source) for source in sources]
        view = View(shown)
        changed = asyncio.Event()

        def update(**fields: Any) -> None:
            nonlocal view
            view = replace(view, **fields)
            changed.set()

        request = AskRequest(
            model=next(iter(service.sessions)),
            visuals=tuple(sources),
            text=text,
            options=None if options is None else tuple(options),
            boxes=boxes,
        )

        async def work() -> None:
            async with asyncio.timeout(service.settings.timeout_s):
                answer = await service.ask(
                    request,
                    on_progress=lambda node: update(running=node),
                    on_state=lambda state: update(state=state),
                    on_captions=lambda captions: update(captions=(*view.captions, *captions)),
                )
            update(answer=answer, running=None)

        task = asyncio.create_task(work())
        task.add_done_callback(lambda _: changed.set())
        while True:
            await changed.wait()
            changed.clear()
            if task.done():
                await task
            now = view  # it can change while it is shown
            if now.state:
                await visuals.decode(shown, now.state.frames)
            yield now
            if now.answer:
                break
    except EspressoError as error:
        yield replace(view, running=None, problem=str(error))
    except TimeoutError:
        yield replace(view, running=None, problem=f"no answer within {service.settings.timeout_s:g} s. Ask about a shorter part.")
    except Exception:
        log.exception("the app failed")
        yield replace(view, running=None, problem=INTERNAL)
    finally:
        if task:
            task.cancel()
