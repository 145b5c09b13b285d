"""Commands about the configuration: validate, schema, doctor."""

from __future__ import annotations

import typer

from updater.cli.options import Config, Json, counted, load, print_json, warn


def validate(ctx: typer.Context, config: Config = None, json: Json = False) -> None:
    """Check the configuration.

    Reports every mistake at once, with file:line:column, what was found and what was expected.
    """
    from dataclasses import asdict

    from updater.errors import ConfigError

    try:
        settings = load(ctx, config)
    except ConfigError as err:
        if not json:
            raise
        print_json({"valid": False, "problems": [asdict(problem) for problem in err.problems]})
        raise typer.Exit(2) from err
    warn(settings)
    files = [str(file.path) for file in settings.files.files]
    if json:
        print_json({"valid": True, "files": files, "images": len(settings.items), "problems": []})
    else:
        images = counted(len(settings.items), "image item", "image items")
        repositories = counted(len(settings.repositories), "repository", "repositories")
        typer.echo(f"{', '.join(files)}: valid, {images}, {repositories}")


def schema() -> None:
    """Print the JSON Schema of the configuration."""
    from updater.config.schema import schema as document

    print_json(document())


def doctor(ctx: typer.Context, config: Config = None, json: Json = False) -> None:
    """Try every registry, repository and login once, and say what to change; writes nothing.

    Exit code 1 where something does not work.
    """
    from datetime import UTC, datetime

    from updater.cli import show
    from updater.daemon.build import build
    from updater.pipeline.examine import examine

    settings = load(ctx, config)
    warn(settings)
    with build(settings) as world, show.progress() as progress:
        found = examine(world, datetime.now(UTC), progress)
    bad = [one for one in found if not one.ok]
    if json:
        print_json({"ok": not bad, "findings": [one.row() for one in found]})
    else:
        show.findings(found)
        typer.echo(f"{counted(len(bad), 'thing', 'things')} to change" if bad else "everything works")
    if bad:
        raise typer.Exit(1)
