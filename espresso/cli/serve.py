"""`espresso serve models --profile tiny`: the models of a profile behind vLLM servers."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Serve models.")


@app.callback()
def serve() -> None:
    """Serve models."""


@app.command()
def models(
    profile: str | None = typer.Option(None, help="Whose models: a name or a TOML file. Else ESPRESSO_PROFILE, else tiny."),
    port: int = typer.Option(8000, min=1, max=65535, help="Of the first server; each further one is a port higher."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the command that would be run."),
) -> None:
    """Start the vLLM servers that a profile needs, and stop them all on Ctrl-C."""
    import os
    import shlex
    import signal
    from time import perf_counter

    from rich.console import Console

    from espresso import profiles
    from espresso.models.vllm import launch as serving

    settings = profiles.load(profile or os.environ.get("ESPRESSO_PROFILE") or "tiny")
    servers = serving.plan(settings, port)
    if dry_run:
        typer.echo(shlex.join(serving.command(servers)))
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    console, began = Console(stderr=True), perf_counter()
    try:
        with console.status("starting") as status, serving.running(servers, status.update) as watch:
            status.stop()
            for server in servers:
                typer.echo(f"{server.base_url}  {', '.join(server.models)}")
            typer.echo(f"ready in {perf_counter() - began:.0f} s; use it with --profile {settings.name}@localhost:{port}")
            watch()
    except KeyboardInterrupt:
        console.print("all servers are stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
