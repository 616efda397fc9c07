"""`espresso serve models`: a profile's models with vLLM. `espresso serve api`: the pipeline."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Serve models, or the pipeline as an API.")


@app.callback()
def serve() -> None:
    """Serve models, or the pipeline as an API."""


@app.command()
def models(
    profile: str | None = typer.Option(None, help="Profile name or TOML file. Default: ESPRESSO_PROFILE, else tiny."),
    port: int = typer.Option(8000, min=1, max=65535, help="Port of the first server; each further one is a port higher."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the plan and the command instead of running it."),
) -> None:
    """Start the vLLM servers of a profile; Ctrl-C stops all of them."""
    import shlex
    import signal
    from time import perf_counter

    from espresso import profiles
    from espresso.cli import show
    from espresso.models.vllm import launch

    loaded = profiles.load(profile)
    servers = launch.plan(loaded, port, download=not dry_run)
    if dry_run:
        for line in launch.describe(servers):
            typer.echo(line, err=True)
        typer.echo(shlex.join(launch.command(servers)))
        return
    # A script's background job ignores SIGINT; a kill -INT stops the servers there too.
    stops = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, signal.default_int_handler) for number in stops}
    console, start = show.console(stderr=True), perf_counter()
    try:
        with console.status("starting") as status, launch.running(servers, status.update) as watch:
            status.stop()
            for server in servers:
                typer.echo(f"{server.base_url}  {', '.join(server.models)}")
            typer.echo(f"ready in {perf_counter() - start:.0f} s; use it with --profile {loaded.name}@localhost:{port}")
            watch()
    except KeyboardInterrupt:
        console.print("all servers stopped")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@app.command()
def api(
    profile: list[str] = typer.Option(
        [], help="Profile name or TOML file; repeat it for several. Default: ESPRESSO_PROFILE, else tiny."
    ),
    host: str = typer.Option("127.0.0.1", help="Address to listen on. The default is reachable from this machine only."),
    port: int = typer.Option(8080, min=0, max=65535, help="Port to listen on; 0 is any free one."),
    allow_media: list[Path] = typer.Option([], help="A folder whose files requests may name by path; repeat it for several."),
    allow_host: list[str] = typer.Option([], help="A host that media may be downloaded from; repeat it for several."),
    allow_network: list[str] = typer.Option([], help="A private network that downloads may contact, such as 10.1.0.0/16."),
    max_mb: float = typer.Option(64, min=0.01, help="Largest image or video in MB."),
    max_megapixels: float = typer.Option(16.8, min=0.0001, help="Largest frame in million pixels."),
    max_seconds: float = typer.Option(3600, min=0.1, help="Longest video in seconds."),
    max_frames: int = typer.Option(250_000, min=1, help="Most frames of a video."),
    at_once: int = typer.Option(16, min=1, help="Requests in progress at once."),
    waiting: int = typer.Option(256, min=0, help="Requests that wait for their turn; a further one gets 429."),
    timeout: float = typer.Option(300, min=0.1, help="Seconds that a request may take, its waiting time included."),
    cache: bool = typer.Option(True, "--cache/--no-cache", help="Cache captions for later questions."),
) -> None:
    """Serve the pipeline as an OpenAI-compatible API; Ctrl-C stops it.

    API keys are read from ESPRESSO_API_KEYS, separated by commas. Without any, none is needed.
    """
    import logging

    from pydantic import ValidationError

    from espresso import profiles
    from espresso.cli import show
    from espresso.errors import DataError
    from espresso.media import Limits
    from serving.process import serve as run
    from serving.settings import Settings, keys_from_environment

    try:
        settings = Settings(
            profiles=tuple(profile) or (profiles.load().name,),
            host=host,
            port=port,
            keys=keys_from_environment(),
            folders=tuple(allow_media),
            hosts=tuple(allow_host),
            networks=tuple(allow_network),  # type: ignore[arg-type]  # pydantic reads them
            limits=Limits(int(max_mb * 1024**2), int(max_megapixels * 1e6), max_seconds, max_frames),
            at_once=at_once,
            waiting=waiting,
            timeout_s=timeout,
            cache=cache,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"--allow-network {first['input']}: {first['msg']}. Give a network such as 10.1.0.0/16.") from None
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("espresso.serving").setLevel(logging.INFO)
    console = show.console(stderr=True)
    if not settings.loopback and not settings.keys:
        console.print("no API key is set (ESPRESSO_API_KEYS): everybody who reaches this address can ask")

    def started(address: str) -> None:
        typer.echo(f"{address}/v1  {', '.join(settings.profiles)}; API: {address}/docs")

    run(settings, started, lambda: typer.echo("ready"))
    console.print("the server stopped")
