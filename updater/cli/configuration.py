"""Commands about the configuration: validate, schema."""

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
