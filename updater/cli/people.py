"""Commands by which people say what is to happen to an image: hold, resume, approve, rollback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from updater.cli.options import Config, Json, choose, load, print_json

if TYPE_CHECKING:
    from updater.config.images import Item
    from updater.config.settings import Settings
    from updater.model.people import HeldBy
    from updater.store.holds import Holds

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An image's name or name/item, or any end of it that is unambiguous.")
]


def hold(
    ctx: typer.Context,
    name: Name,
    *,
    until: Annotated[
        str | None,
        typer.Option("--until", help="How long, e.g. 7d, or a time, e.g. 2026-12-01 (UTC).", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown wherever the hold is.", show_default=False)] = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Stop updates of an image.

    Without --until it holds until `resume`. A running daemon sees it within a tick.
    """
    from updater.pipeline.people import end_of, reason_of

    settings, now = load(ctx, config), datetime.now(UTC)
    items = choose(settings.items, name)
    with _as_usage("--until "):
        end = end_of(until, now)
    with _as_usage("--reason: "):
        why = reason_of(reason)
    with _holds(settings) as holds:
        for item in items:
            holds.hold(item.name, why, now, until=end)
    words = f"is held until {_time(end)}" if end else "is held until it is resumed"
    held = {"at": now.isoformat(), "until": _iso(end), "reason": why, "by": "hold", "tag": None}
    _print(json, [({"name": item.name, "held": held}, f"{item.name} {words}") for item in items])


def resume(ctx: typer.Context, name: Name, config: Config = None, json: Json = False) -> None:
    """Let an image go on.

    Ends a hold, that of a rollback too, and lets a version pass that a person went back from.
    """
    settings, now = load(ctx, config), datetime.now(UTC)
    items = choose(settings.items, name)
    with _holds(settings) as holds:
        ended = [(item, holds.resume(item.name, now)) for item in items]
    _print(json, [_resumed(item, was, now) for item, was in ended])


def approve(
    ctx: typer.Context,
    name: Name,
    tag: Annotated[
        str | None,
        typer.Option("--tag", help="Default: the newest, if a gate stops it; looked up now.", show_default=False),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Let one tag pass once.

    It passes level, max_major_step, min_age, windows and moved_tag; what is written is looked at as ever.
    """
    settings, now = load(ctx, config), datetime.now(UTC)
    items = choose(settings.items, name)
    failures: list[dict[str, Any]] = []
    if tag is not None:
        _expect_tag(tag)
        _expect_there(settings, items[0], tag)  # all are of one image
        found = [(item, tag, "") for item in items]
    else:
        found, failures = _stopped(settings, items, now)
    with _holds(settings) as holds:
        for item, one, _ in found:
            holds.approve(item.name, one, now)
    rows = [_approved(item.name, one, reason) for item, one, reason in found]
    _print(json, rows, {"failures": failures})
    _fail(failures)


def rollback(
    ctx: typer.Context,
    name: Name,
    to: Annotated[
        str | None, typer.Option("--to", help="A tag; default: what stood there before.", show_default=False)
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Go back to the previous tag, and hold it.

    One commit a branch; what stood there before our last update is read from Git. The hold ends after 7 days, or
    with `resume`.
    """
    from updater.cli import show
    from updater.daemon.build import build
    from updater.pipeline.rollback import HOLD, back_at
    from updater.pipeline.rollback import rollback as back

    settings, now = load(ctx, config), datetime.now(UTC)
    items = choose(settings.items, name)
    if to is not None:
        _expect_tag(to)
    with build(settings) as world:
        report = back(world, items, to, now, now + HOLD)
    held = [{"name": name, "to": tags, "until": _iso(now + HOLD)} for name, tags in back_at(report).items()]
    if json:
        print_json({"items": held, **report.as_json()})
    else:
        show.table(report, updated="rolled back")
        show.commits(report)
        for row in held:
            show.out.print(f"{row['name']} is held until {_time(now + HOLD)}", markup=False)
    show.failures(report)
    if report.failures:
        raise typer.Exit(1)


@contextmanager
def _holds(settings: Settings) -> Iterator[Holds]:
    from updater.daemon.build import prepare
    from updater.daemon.remember import open_state
    from updater.store.holds import Holds

    prepare(settings.data)
    database = open_state(settings)
    try:
        yield Holds(database)
    finally:
        database.close()


@contextmanager
def _as_usage(option: str) -> Iterator[None]:
    """Say of what cannot be used which option it is."""
    try:
        yield
    except ValueError as err:
        raise typer.BadParameter(f"{option}{err}") from None


def _expect_tag(text: str) -> None:
    from updater.pipeline.people import expect_tag

    with _as_usage(""):
        expect_tag(text)


def _expect_there(settings: Settings, item: Item, tag: str) -> None:
    """Refuse a tag that an image does not have. Raises RegistryError where nobody can say."""
    from updater.daemon.build import build
    from updater.pipeline.people import expect_there

    with build(settings) as world, _as_usage(""):
        expect_there(world, item, tag)


def _stopped(
    settings: Settings, items: Sequence[Item], now: datetime
) -> tuple[list[tuple[Item, str, str]], list[dict[str, Any]]]:
    """Look for tags that are stopped by a gate which an approval opens; return them, and what failed.

    Where no item has one, what holds them is the failure.
    """
    from updater.cli.show import progress
    from updater.daemon.build import build
    from updater.pipeline.people import gate_of
    from updater.pipeline.report import Failure, Outcome
    from updater.pipeline.update import update

    with build(settings) as world, progress() as shown:
        report = update(world, items, now, write=False, progress=shown)
    found = {(row.item.name, row.newest): (row.item, row.newest, gate) for row in report.rows
             if row.newest and (gate := gate_of(row))}  # fmt: skip
    if not found:
        said = {(row.item.name, row.why): None for row in report.rows if row.outcome is not Outcome.FAILED}
        report.failures += [Failure(f"image {name}", f"nothing to approve: {why}") for name, why in said]
    failures: list[dict[str, Any]] = report.as_json()["failures"]
    return list(found.values()), failures


def _resumed(item: Item, was: HeldBy | None, now: datetime) -> tuple[dict[str, Any], str]:
    ended = was and {
        "at": was.at.isoformat(), "until": _iso(was.until), "reason": was.reason, "by": was.by, "tag": was.tag
    }  # fmt: skip
    words = f"goes on; it was held since {_time(was.at)}" if was else "goes on; it was not held here"
    return {"name": item.name, "resumed_at": now.isoformat(), "ended": ended}, f"{item.name} {words}"


def _approved(name: str, tag: str, reason: str) -> tuple[dict[str, Any], str]:
    words = f"{name}: {tag} may pass once{f' ({reason})' if reason else ''}"
    return {"name": name, "approved": tag, "reason": reason or None}, words


def _print(json: bool, rows: Sequence[tuple[dict[str, Any], str]], more: dict[str, Any] | None = None) -> None:
    from updater.cli.show import out

    if json:
        print_json({"items": [row for row, _ in rows], **(more or {})})
    else:
        for _, words in rows:
            out.print(words, markup=False)


def _fail(failures: Sequence[dict[str, Any]]) -> None:
    from updater.cli.show import err

    for failure in failures:
        err.print(f"failed: {failure['what']}: {failure['error']}", markup=False)
    if failures:
        raise typer.Exit(1)


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
