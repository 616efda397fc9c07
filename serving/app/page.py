"""The page: four tabs of Gradio components, and what their events do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from espresso import media
from espresso.datasets.raiv.questions import OPTIONS
from espresso.errors import EspressoError
from espresso.schema import Question
from serving.app import view
from serving.app.ask import INTERNAL, follow
from serving.app.examples import Examples
from serving.app.reports import Reports
from serving.app.shown import Visuals
from serving.service import Service

log = logging.getLogger("espresso.serving")

EXAMPLE_PX = 112
"""Longest side in pixels of the pictures of examples."""

MAX_FILES = 500
"""Files of the allowed folders that the page lists."""

ENDINGS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".heic", ".avif"}
"""Endings of the files that the page lists."""


def build(service: Service, visuals: Visuals, examples: Examples, reports: Reports, folders: Sequence[Path]) -> gr.Blocks:
    """Build the page.

    Args:
        service: answers the questions.
        visuals: the visuals of the page.
        examples: what the page offers to ask.
        reports: pages about runs and datasets.
        folders: folders whose files the page lists.
    """
    profile = next(iter(service.sessions.values())).profile
    with gr.Blocks(title="Espresso", analytics_enabled=False, delete_cache=(600, 600)) as page:
        _html(
            '<header class="e-header"><h1>Espresso</h1><p>Questions about images and videos, answered with evidence.</p>'
            f'<p><b title="{escape(profile.about)}">{escape(profile.name)}</b></p></header>'
        )
        with gr.Tabs():
            with gr.Tab("Ask", elem_id="ask"):
                _ask_tab(service, visuals, examples.questions, _files(folders))
            with gr.Tab("Pairs", elem_id="pairs"):
                _pairs_tab(service, visuals, examples.statements)
            with gr.Tab("Runs", elem_id="runs") as runs:
                _runs_tab(reports, runs)
            with gr.Tab("Review", elem_id="review"):
                _review_tab(reports)
    settings = service.settings
    page.queue(default_concurrency_limit=settings.at_once, max_size=settings.waiting or None)
    return page


def theme() -> gr.themes.Base:
    """Return the theme: the colours of the reports, and fonts of the system."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="lg").set(
        body_background_fill="#f6f4f1", body_background_fill_dark="#161311",
        body_text_color="#221c17", body_text_color_dark="#efe8e1",
        body_text_color_subdued="#6d635b", body_text_color_subdued_dark="#a99e94",
        background_fill_primary="#ffffff", background_fill_primary_dark="#201c19",
        background_fill_secondary="#f6f4f1", background_fill_secondary_dark="#161311",
        block_background_fill="#ffffff", block_background_fill_dark="#201c19",
        block_label_background_fill="#ffffff", block_label_background_fill_dark="#201c19",
        block_label_text_color="#6d635b", block_label_text_color_dark="#a99e94",
        block_title_text_color="#6d635b", block_title_text_color_dark="#a99e94",
        border_color_primary="#e3ddd6", border_color_primary_dark="#38312b",
        block_border_color="#e3ddd6", block_border_color_dark="#38312b",
        input_background_fill="#ffffff", input_background_fill_dark="#161311",
        input_border_color="#e3ddd6", input_border_color_dark="#38312b",
        input_border_color_focus="#a4500f", input_border_color_focus_dark="#f0a35e",
        input_border_width="1px", block_shadow="none", block_shadow_dark="none", button_primary_shadow="none",
        border_color_accent="#a4500f", border_color_accent_dark="#f0a35e",
        color_accent="#a4500f", color_accent_soft="#fbeee2", color_accent_soft_dark="#33261a",
        button_primary_background_fill="#a4500f", button_primary_background_fill_dark="#f0a35e",
        button_primary_background_fill_hover="#8a430c", button_primary_background_fill_hover_dark="#f5b981",
        button_primary_text_color="#ffffff", button_primary_text_color_dark="#161311",
        button_secondary_background_fill="#ffffff", button_secondary_background_fill_dark="#201c19",
        button_secondary_text_color="#221c17", button_secondary_text_color_dark="#efe8e1",
        link_text_color="#a4500f", link_text_color_dark="#f0a35e",
    )  # fmt: skip


def _html(value: str, name: str | None = None) -> gr.HTML:
    """Return a component for HTML with the styles of `page.css` only."""
    return gr.HTML(value, elem_id=name, apply_default_css=False, padding=False)


def _ask_tab(service: Service, visuals: Visuals, examples: Sequence[Question], files: Sequence[tuple[str, str]]) -> None:
    source = gr.State(None)
    detects = next(iter(service.sessions.values())).roles.detector is not None
    chosen = _examples(visuals, examples, "ask-examples")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            stage = _html(view.player(None), "ask-stage")
            upload = gr.File(label="Upload an image or video", elem_id="ask-upload", elem_classes="e-upload", height=84)
            listed = gr.Dropdown(
                files, label="Or choose a file of an allowed folder", value=None, visible=bool(files), elem_id="ask-file"
            )
            text = gr.Textbox(
                label="Question", placeholder="What hits the blue square?", elem_id="ask-question", lines=1, max_lines=4
            )
            options = gr.Textbox(
                label="Options (one per line; leave empty for a free answer)", elem_id="ask-options", lines=2, max_lines=8
            )
            boxes = gr.Checkbox(detects, label="Draw boxes on the things in the evidence", visible=detects, elem_id="ask-boxes")
            go = gr.Button("Ask", variant="primary", elem_id="ask-go")
        with gr.Column(scale=6, min_width=300):
            result = _html(
                view.hint("Ask about a clip: its captions, core frames, evidence and answer appear here."), "ask-result"
            )

    async def on_upload(path: str) -> tuple[Any, ...]:
        shown, problem = await _guarded(lambda: visuals.upload(Path(path)))
        return shown and shown.source, view.player(shown, problem), None, view.hint("Ask a question about it.")

    async def on_file(path: str | None) -> tuple[Any, ...]:
        if not path:
            return gr.skip(), gr.skip(), gr.skip()
        shown, problem = await _guarded(lambda: visuals.open(path))
        return shown and shown.source, view.player(shown, problem), view.hint("Ask a question about it.")

    async def on_example(number: int) -> tuple[Any, ...]:
        question = examples[number]
        shown, problem = await _guarded(lambda: visuals.open(question.visuals[0]))
        asked = question.text, "\n".join(question.options or ())
        return shown and shown.source, view.player(shown, problem), *asked, view.hint("Press Ask, or change the question.")

    async def on_ask(source: str | None, text: str, options: str, boxes: bool) -> AsyncGenerator[tuple[str, Any], None]:
        lines = [line.strip() for line in options.splitlines() if line.strip()]
        async for html in _answering(service, visuals, [source] if source else [], text, lines or None, boxes):
            yield html

    upload.upload(on_upload, upload, [source, stage, upload, result], api_visibility="private", show_progress="hidden")
    listed.input(on_file, listed, [source, stage, result], api_visibility="private", show_progress="hidden")
    chosen.click(on_example, chosen, [source, stage, text, options, result], api_visibility="private", show_progress="hidden")
    gr.on(
        [go.click, text.submit], on_ask, [source, text, options, boxes], [result, go],
        api_visibility="private", show_progress="hidden", trigger_mode="once",
    )  # fmt: skip


def _pairs_tab(service: Service, visuals: Visuals, examples: Sequence[Question]) -> None:
    sources, stages, uploads = [], [], []
    chosen = _examples(visuals, examples, "pairs-examples")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            with gr.Row(elem_classes="e-pair"):
                for name in ("first", "second"):
                    with gr.Column(min_width=140):
                        sources.append(gr.State(None))
                        stages.append(_html(view.player(None), f"pairs-{name}"))
                        uploads.append(
                            gr.File(
                                label=f"Upload the {name}", elem_id=f"pairs-upload-{name}", elem_classes="e-upload", height=84
                            )
                        )
            text = gr.Textbox(
                label="Statement",
                placeholder="A blue triangle can be seen in both images.",
                elem_id="pairs-statement",
                max_lines=4,
            )
            go = gr.Button("True or false?", variant="primary", elem_id="pairs-go")
        with gr.Column(scale=6, min_width=300):
            result = _html(view.hint("Two images or videos and a statement: is it true, and why?"), "pairs-result")

    async def on_upload(path: str) -> tuple[Any, ...]:
        shown, problem = await _guarded(lambda: visuals.upload(Path(path)))
        return shown and shown.source, view.player(shown, problem), None

    async def on_example(number: int) -> tuple[Any, ...]:
        question = examples[number]
        opened = [await _guarded(lambda source=source: visuals.open(source)) for source in question.visuals]  # type: ignore[misc]
        names = [shown and shown.source for shown, _ in opened]
        return *names, *(view.player(*each) for each in opened), question.text, view.hint("Ask whether the statement is true.")

    async def on_ask(first: str | None, second: str | None, text: str) -> AsyncGenerator[tuple[str, Any], None]:
        if not (first and second):
            yield view.problem("two images or videos are needed. Upload both, or take an example."), gr.skip()
            return
        async for html in _answering(service, visuals, [first, second], text, OPTIONS):
            yield html

    for source, stage, upload in zip(sources, stages, uploads, strict=True):
        upload.upload(on_upload, upload, [source, stage, upload], api_visibility="private", show_progress="hidden")
    chosen.click(
        on_example, chosen, [*sources, *stages, text, result], api_visibility="private", show_progress="hidden"
    )  # fmt: skip
    gr.on(
        [go.click, text.submit], on_ask, [*sources, text], [result, go],
        api_visibility="private", show_progress="hidden", trigger_mode="once",
    )  # fmt: skip


def _runs_tab(reports: Reports, tab: gr.Tab) -> None:
    known = reports.runs()
    with gr.Row(equal_height=True):
        run = gr.Dropdown(known, label="Run", value=None, elem_id="runs-run")
        other = gr.Dropdown(known, label="Compare with", value=None, elem_id="runs-other")
        go = gr.Button("Open", variant="primary", elem_id="runs-open", min_width=120, scale=0)
    nothing = "Choose a run. A second one is compared with it question by question."
    if not known:
        nothing = "There is no run here. `espresso eval run` writes some; start the app with --runs FOLDER."
    result = _html(view.hint(nothing), "runs-result")

    def on_tab() -> tuple[Any, ...]:
        names = reports.runs()
        return gr.update(choices=names), gr.update(choices=names)

    async def on_open(run: str | None, other: str | None) -> AsyncGenerator[str, None]:
        if not run:
            yield view.problem("no run is chosen. Choose one of the list.")
            return
        yield view.hint("Decoding the pictures of the samples …")
        names = [run, other] if other and other != run else [run]
        page, problem = await _guarded(lambda: reports.run_page(names))
        yield view.problem(problem) if problem else view.frame(f"pages/runs/{page}", " and ".join(names))

    tab.select(on_tab, None, [run, other], api_visibility="private", show_progress="hidden")
    go.click(on_open, [run, other], result, api_visibility="private", show_progress="hidden")


def _review_tab(reports: Reports) -> None:
    names = reports.datasets()
    if not names:
        _html(view.hint("Nothing to review. `espresso annotate` constructs questions; start the app with --review FILE."))
        return
    dataset = gr.Dropdown(names, label="Dataset", value=names[0], elem_id="review-data", visible=len(names) > 1)
    result = _html(_review_frame(names[0]), "review-result")
    dataset.input(_review_frame, dataset, result, api_visibility="private", show_progress="hidden")


def _review_frame(name: str) -> str:
    return view.frame(f"pages/review/{quote(name)}", f"Review of {name}")


def _examples(visuals: Visuals, examples: Sequence[Question], name: str) -> gr.Dataset:
    """Show questions with pictures of their visuals, to choose one."""
    samples = [[_example(visuals, question)] for question in examples]
    return gr.Dataset(
        components=[gr.HTML(visible=False)],
        samples=samples,
        label="Examples",
        type="index",
        layout="gallery",
        elem_id=name,
        elem_classes="e-examples",
    )


def _example(visuals: Visuals, question: Question) -> str:
    pictures = []
    for source in question.visuals:
        opened = visuals.open(source).opened
        (middle,) = opened.decode([len(opened.times) // 2], size=EXAMPLE_PX)
        pictures.append(f'<img src="{media.thumbnail_url(middle)}" alt="">')
    return f'<span class="e-example"><span>{"".join(pictures)}</span><span>{escape(question.text)}</span></span>'


def _files(folders: Sequence[Path]) -> list[tuple[str, str]]:
    """Return (name, path) of the files in the allowed folders, the first ones."""
    found = (
        (str(file.relative_to(folder)), str(file))
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in ENDINGS and file.is_file()
    )
    return [each for each, _ in zip(found, range(MAX_FILES), strict=False)]


async def _answering(
    service: Service, visuals: Visuals, sources: Sequence[str], text: str, options: Sequence[str] | None, boxes: bool = False
) -> AsyncGenerator[tuple[str, Any], None]:
    """Yield the result as HTML after each event, and the state of the button."""
    try:
        async for each in follow(service, visuals, sources, text, options, boxes):
            yield view.render(each), gr.update(interactive=False)
            last = each
        yield view.render(last), gr.update(interactive=True)
    except Exception:
        log.exception("the app failed")
        yield view.problem(INTERNAL), gr.update(interactive=True)


async def _guarded(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """Run work in a thread; return its result, or None and one sentence for the user."""
    try:
        return await asyncio.to_thread(work), None
    except EspressoError as error:
        return None, str(error)
    except Exception:
        log.exception("the app failed")
        return None, INTERNAL
