"""Commands that run one cycle: once, check."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from updater.cli.options import Config, Json, Name, choose, load, print_json

if TYPE_CHECKING:
    from updater.pipeline.report import Report


def once(ctx: typer.Context, name: Name = None, config: Config = None, json: Json = False) -> None:
    """Run one cycle: look, decide, commit and push."""
    report = _cycle(ctx, name, config, write=True)
    _show(report, json=json, diff=False)


def check(
    ctx: typer.Context,
    name: Name = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the exact diff that `once` would push.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Run one cycle without writing.

    Prints the table, and with --diff the exact diff that `once` would push.
    """
    report = _cycle(ctx, name, config, write=False)
    _show(report, json=json, diff=diff)


def _cycle(ctx: typer.Context, name: str | None, config: Config, *, write: bool) -> Report:
    from updater.cli.show import progress
    from updater.daemon.build import build
    from updater.daemon.remember import remember
    from updater.errors import UpdaterError
    from updater.pipeline.report import Failure
    from updater.pipeline.update import update

    settings = load(ctx, config)
    items = choose(settings.items, name)
    now = datetime.now(UTC)
    with build(settings) as world, progress() as shown:
        report = update(world, items, now, write=write, progress=shown)
    if write:
        try:
            remember(settings, report, now)
        except UpdaterError as err:  # what was pushed is still told
            report.failures.append(Failure("state", str(err)))
    return report


def _show(report: Report, *, json: bool, diff: bool) -> None:
    from updater.cli import show

    if json:
        document = report.as_json()
        print_json(document | {"diff": show.diff(report)} if diff else document)
    else:
        show.table(report)
        if diff:
            show.print_diff(show.diff(report))
        show.commits(report)
    show.failures(report)
    if report.failed:
        raise typer.Exit(1)
