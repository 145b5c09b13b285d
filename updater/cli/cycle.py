"""Commands that run one cycle: once, check."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from updater.cli.options import Config, Json, Name, choose, counted, load, print_json, warn

if TYPE_CHECKING:
    from updater.config.settings import Settings
    from updater.model.limits import Limits
    from updater.pipeline.look import World
    from updater.pipeline.report import Report
    from updater.store.database import Database


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

    Prints the table, and with --diff the exact diff that `once` would push. A folder or kubeconfig of the
    configuration that is not on this machine is a mistake.
    """
    report = _cycle(ctx, name, config, write=False)
    _show(report, json=json, diff=diff)


def _cycle(ctx: typer.Context, name: str | None, config: Config, *, write: bool) -> Report:
    from updater.cli.show import progress
    from updater.daemon.build import build, prepare
    from updater.daemon.remember import known_before, open_state
    from updater.pipeline.report import remembered
    from updater.pipeline.update import update

    settings = load(ctx, config, here=not write)
    items = choose(settings.items, name)
    if not write:
        warn(settings)
    now = datetime.now(UTC)
    prepare(settings.data)
    with closing(open_state(settings)) as database, build(settings, database=database) as world:
        before = known_before(database)
        with progress() as shown:
            report = update(world, items, now, write=write, progress=shown)
        if write:
            _tell(settings, database, world, report, now, limits=ctx.obj.limits)
    remembered(report, before)
    return report


def _tell(
    settings: Settings, database: Database, world: World, report: Report, now: datetime, *, limits: Limits
) -> None:
    """Store what the cycle tells, and send it; what was pushed is still shown where that fails."""
    from updater.daemon.couriers import couriers, deliver
    from updater.daemon.remember import remember
    from updater.errors import UpdaterError
    from updater.pipeline.report import Failure

    try:
        remember(settings, world.memory().journal, report, now)
        with couriers(settings, database, limits=limits) as made:
            deliver(made, limits)
        if settings.notifications is not None:
            _say_left(database)
    except UpdaterError as err:
        report.failures.append(Failure("state", str(err)))


def _say_left(database: Database) -> None:
    """Say on standard error how many messages wait. Raises StoreError."""
    from updater.store.outbox import Outbox

    figures = Outbox(database).figures(()).values()
    if left := sum(one.states.get("waiting", 0) for one in figures):
        typer.echo(f"{counted(left, 'message waits', 'messages wait')}: updater notify queue", err=True)


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
