"""Commands around the daemon: run, health, demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from updater.cli.options import Config, Json, load, print_json


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Let what is imported here do without these: httpx and structlog load them for what a daemon never shows.

    It takes 4 MiB less for its whole life. Both know that these packages may be missing.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def run(ctx: typer.Context, config: Config = None) -> None:
    """Run the daemon: poll, decide, commit, sync, tell, serve.

    SIGHUP reloads the configuration; SIGTERM drains within 20 s and exits 0.
    """
    with _without("rich", "pygments"):
        from updater.daemon.run import Daemon
        from updater.web.serve import serve

    given = ctx.obj
    raise typer.Exit(Daemon(load(ctx, config), config or given.config, given.limits, serve).run())


def health(ctx: typer.Context, config: Config = None, json: Json = False) -> None:
    """Say whether the daemon lives.

    Exit 0 when the heartbeat of `run` is younger than three ticks, else 1.
    """
    from updater.daemon.heartbeat import age

    # Where the environment names the folder nothing else is read: `run` lives on while a new file is broken.
    data = os.environ.get("UPDATER_DATA")
    beat = age(Path(data).expanduser().absolute() if data else load(ctx, config).data)
    if json:
        print_json({"healthy": beat.healthy, "age_seconds": beat.seconds, "why": beat.why})
    else:
        typer.echo(beat.why)
    if not beat.healthy:
        raise typer.Exit(1)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
) -> None:
    """Show the whole path on this machine.

    A registry, a Git server and the daemon on loopback; then a tag is pushed and becomes a commit.
    """
    from updater.demo.story import tell

    raise typer.Exit(tell(keep=keep))
