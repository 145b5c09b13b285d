"""`updater`: its commands, its options and its exit codes.

0 done · 1 something failed that another run may mend; the rest was still done · 2 wrong usage or configuration.

Commands import their rooms when they run, so that `--version` and `--help` cost no more than typer itself.
"""

from __future__ import annotations

import gc
import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from updater.cli import apps, configuration, cycle, inspect, notify, people, serve
from updater.cli.options import Config, Given
from updater.model.limits import USUAL, Limits


class _Front(TyperGroup):
    """Turns the errors of the tree into one plain message and an exit code; bugs keep their trace."""

    def invoke(self, ctx: Any) -> Any:
        from updater.errors import ConfigError, UpdaterError

        json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except ConfigError as err:
            _say(str(err))
            if json:
                _document(*(("configuration", str(problem)) for problem in err.problems))
            raise typer.Exit(2) from err
        except UpdaterError as err:
            _say(str(err))
            if json:
                _document((type(err).__name__.removesuffix("Error").lower(), str(err)))
            raise typer.Exit(1) from err
        except typer.BadParameter as err:
            if json:
                _document(("usage", err.format_message()))
            raise


app = typer.Typer(
    name="updater",
    cls=_Front,
    help="Watches container registries and commits new image tags to Git, a few bytes at a time.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        from updater import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def front(
    ctx: typer.Context,
    config: Config = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keep the path of the configuration, beside the limits, for the command that follows."""
    del version  # its callback did all
    ctx.obj = Given(config, ctx.obj or USUAL)


def _say(text: str) -> None:
    from updater.secrets import redact

    sys.stderr.write(f"{redact(text)}\n")


def _document(*failures: tuple[str, str]) -> None:
    """Print what a script reads where a command had to give up: failures in the shape that every command has."""
    from updater.cli.options import print_json
    from updater.secrets import redact

    print_json({"failures": [{"what": what, "error": redact(error), "retry_at": None} for what, error in failures]})


for command in (
    serve.run,
    cycle.once,
    cycle.check,
    inspect.explain,
    inspect.policy,
    inspect.find,
    inspect.history,
    people.hold,
    people.resume,
    people.approve,
    people.rollback,
    apps.apps,
    apps.diff,
    apps.sync,
    configuration.validate,
    configuration.schema,
    configuration.doctor,
    serve.health,
    serve.demo,
):
    app.command()(command)
app.add_typer(notify.app, name="notify")


def main(limits: Limits = USUAL) -> None:
    """Run the command line; it exits with the code of the command."""
    gc.set_threshold(100_000, 20, 50)  # tags and references live on: a fifth of the time went into looking at them
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # paths in Git are UTF-8, whatever the locale; diffs must apply
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    app(obj=limits)
