"""Render what the page shows as HTML; values are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from agents.answer.graph import NodeStarted
from agents.answer.state import AnswerState
from espresso import report
from espresso.report import PlacedBox
from espresso.schema import Answer, Caption, Evidence, Frame, letter
from serving.app.shown import Shown

NODES = ("sample", "caption", "select", "evidence", "sufficient", "name", "ground", "answer", "classify", "judge")
"""Nodes of the answer graph, in the order in which the page names them."""


@dataclass(frozen=True)
class View:
    """The graph's work at one moment."""

    shown: Sequence[Shown]
    """The visuals of the question."""

    running: NodeStarted | None = None
    """The node that runs."""

    state: AnswerState | None = None
    """The state after the last finished node."""

    captions: tuple[Caption, ...] = ()
    """The captions that were made so far."""

    answer: Answer | None = None
    """The answer, when it is known."""

    problem: str | None = None
    """Why there is no answer."""

    @property
    def evidence(self) -> Evidence:
        """The evidence so far."""
        if self.answer:
            return self.answer.evidence
        return Evidence(text=self.state.evidence, key_items=self.state.key_items) if self.state else Evidence(text="")

    def boxes(self, frame: Frame) -> list[PlacedBox]:
        """Return the boxes of the key items in a frame."""
        return report.place_boxes(self.evidence.key_items, frame, self.shown[frame.visual].opened.visual)

    def picture(self, frame: Frame) -> str | None:
        """Return the URL of a frame's picture, or None if it is not decoded."""
        shown = self.shown[frame.visual]
        return f"frames/{shown.opened.digest}/{frame.index}.webp" if frame.index in shown.pictures else None


def render(view: View) -> str:
    """Render a view."""
    template = report.template(Path(__file__).with_name("answer.html.jinja"))
    now = view.answer or view.state
    captions = {each.frame: each.text for each in (*view.captions, *(now.captions if now else ()))}
    return template.render(view=view, now=now, captions=captions, letter=letter, nodes=NODES)


def player(shown: Shown | None, problem: str | None = None) -> str:
    """Render an image or the player of a video; a sentence if there is none."""
    if problem:
        return f'<p class="e-problem" role="alert">{escape(problem)}</p>'
    if shown is None:
        return '<div class="e-stage e-empty">No clip yet. Upload one, or take an example.</div>'
    visual, url, name = shown.opened, quote(shown.url, safe="/#=,."), escape(shown.name)
    if visual.visual.kind == "image":
        return f'<figure class="e-stage"><img src="{url}" alt="{name}"><figcaption>{name}</figcaption></figure>'
    about = f"{visual.width} × {visual.height} · {visual.visual.duration:.1f} s"
    return (
        f'<figure class="e-stage"><video src="{url}" data-offset="{shown.offset:g}" controls muted playsinline preload="auto" '
        f'aria-label="{name}"></video><figcaption>{name} <span>{about}</span></figcaption></figure>'
    )


def problem(message: str) -> str:
    """Render an error message."""
    return f'<p class="e-problem" role="alert">{escape(message)}</p>'


def hint(text: str) -> str:
    """Render a sentence in the place of something that is not there yet."""
    return f'<p class="e-hint">{escape(text)}</p>'


def frame(url: str, title: str) -> str:
    """Render a page of this server in a frame."""
    address, title = escape(url, quote=True), escape(title, quote=True)
    return (
        f'<p class="e-open"><a href="{address}" target="_blank">Open in a tab of its own</a></p>'
        f'<iframe class="e-frame" src="{address}" title="{title}"></iframe>'
    )
