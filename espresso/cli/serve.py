"""`espresso serve models --profile tiny`: serve the models of a profile with vLLM."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Serve models.")


@app.callback()
def serve() -> None:
    """Serve models."""


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
