"""`espresso app`: the pipeline in a browser."""

from __future__ import annotations

from pathlib import Path

import typer

STOP_S = 2
"""Seconds until open pages are disconnected when the app stops; they always hold a connection."""

app = typer.Typer(add_completion=False)


@app.command("app")
def start(
    *,
    profile: str | None = typer.Option(None, help="Profile name or TOML file. Default: ESPRESSO_PROFILE, else tiny."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on. The default is reachable from this machine only."),
    port: int = typer.Option(7860, min=0, max=65535, help="Port to listen on; 0 is any free one."),
    allow_media: list[Path] = typer.Option([], help="A folder whose files can be asked about; repeat it for several."),
    runs: Path = typer.Option(Path("runs"), help="Folder of the runs to browse."),
    review: list[Path] = typer.Option([], help="A JSONL file that `espresso annotate` wrote, to review; repeat it for several."),
    max_mb: float = typer.Option(64, min=0.01, help="Largest image or video in MB."),
    max_megapixels: float = typer.Option(16.8, min=0.0001, help="Largest frame in million pixels."),
    max_seconds: float = typer.Option(3600, min=0.1, help="Longest video in seconds."),
    max_frames: int = typer.Option(250_000, min=1, help="Most frames of a video."),
    timeout: float = typer.Option(300, min=0.1, help="Seconds that an answer may take."),
) -> None:
    """Ask, compare runs and review data in a browser; Ctrl-C stops the app."""
    import logging
    from importlib.util import find_spec

    from espresso import profiles
    from espresso.cli import show
    from espresso.errors import DataError
    from espresso.media import Limits
    from serving.process import check_folders
    from serving.settings import Settings

    if find_spec("gradio") is None:
        raise DataError('the app needs Gradio. Install it with: pip install "videoespresso[app]".')
    from serving.app import examples
    from serving.app.reports import Reports
    from serving.app.server import run

    loaded = profiles.load(profile)
    settings = Settings(
        profiles=(profile or loaded.name,),
        host=host,
        port=port,
        folders=tuple(allow_media),
        limits=Limits(int(max_mb * 1024**2), int(max_megapixels * 1e6), max_seconds, max_frames),
        timeout_s=timeout,
        stop_s=STOP_S,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    console = show.console(stderr=True)
    if not settings.loopback:
        console.print("everybody who reaches this address can use the app")
    check_folders(settings)
    reports = Reports(runs, review)
    with show.progress(lambda _: "") as on_progress:
        offered = examples.load(lambda done, total: on_progress(show.Count("rendering examples", done, total)))
    run(settings, offered, reports, on_start=typer.echo, on_ready=lambda: typer.echo("ready"))
    console.print("the app stopped")
