"""Commands of the second loop by hand: apps, diff, sync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from updater.cli.options import Config, Json, counted, load, print_json

if TYPE_CHECKING:
    from updater.config.settings import Settings
    from updater.daemon.teller import Teller
    from updater.model.application import ApplicationStatus
    from updater.model.sync import Difference
    from updater.pipeline.known import Known
    from updater.pipeline.world import Stepped, World

AT_ONCE = 16  # applications that are looked at together
MAX_WHY = 100  # characters of a reason in a table
MAX_KNOWN = 50  # names that are listed for one that is not known

App = Annotated[str, typer.Argument(metavar="APP", help="An application's name.")]


def apps(
    ctx: typer.Context,
    *,
    differ: Annotated[bool, typer.Option("--differ", help="Where clusters that should be alike are not.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """List the applications, as they stand now.

    Every cluster is asked, and nothing is written. Exit 1 where one cannot be reached, or an application is refused.
    """
    from updater.cli.show import progress
    from updater.pipeline.alike import differing, groups

    with _loop(ctx, config) as (world, known, _, unasked), progress() as shown, ThreadPoolExecutor(AT_ONCE) as pool:
        found: list[ApplicationStatus] = []
        for stepped in pool.map(lambda name: _step(world, known, name, write=False), sorted(known.assigned)):
            found.append(stepped.status)
            shown("applications", len(found), len(known.assigned))
        statuses = {status.name: status for status in found}
        unlike = {}
        for group, those in groups(one.application for one in known.assigned.values()).items():
            if has := differing(those, statuses):
                unlike[group] = has
    failures = [_failed("applications", problem) for problem in known.problems]
    failures += [failure for status in found for failure in _failures(known, status)]
    found = sorted([*found, *unasked], key=lambda one: one.name)  # the failure of these is that of their cluster
    if json:
        rows = [_row(status) for status in found]
        words = {group: {name: str(one) for name, one in those.items()} for group, those in unlike.items()}
        print_json({"applications": rows, "differ": words, "failures": failures})
    elif differ:
        _print_unlike(unlike, [f"{one.name} (cluster {one.cluster})" for one in found if one.stale])
    else:
        _print(found)
    _end(failures, json=json)


def diff(ctx: typer.Context, app: App, config: Config = None, json: Json = False) -> None:
    """Show what a sync would change in the cluster.

    The cluster itself says so, by a dry run; values of Secrets are shown as hashes.
    """
    from updater.cli import show
    from updater.sync.diff import unified

    with _loop(ctx, config) as (world, known, _, _):
        _expect(known, app, json=json)
        stepped = _step(world, known, app, write=False)
    found = _differences(stepped, world.secret_key)
    if json:
        rows = [_difference(one) | {"diff": unified(one)} for one in found]
        print_json({"application": _row(stepped.status), "differences": rows,
                    "failures": _failures(known, stepped.status)})  # fmt: skip
    else:
        for one in found:
            show.print_diff(_text(one))
        if not found and stepped.compared:
            typer.echo(f"{app}: {stepped.status.sync.value}, nothing would change")
    _end(_failures(known, stepped.status), json=json)


def sync(
    ctx: typer.Context,
    app: App,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try everything, and write nothing.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Sync an application once, now.

    With its own syncPolicy, prune included, and without retries. Exit 1 where the cluster cannot be reached, or
    the sync fails.
    """
    with _loop(ctx, config) as (world, known, teller, _):
        _expect(known, app, json=json)
        one = known.assigned[app]
        before = one.memory.status.last if one.memory.status else None
        stepped = _step(world, known, app, write=not dry_run, by_hand=True, dry_run=dry_run)
        status = stepped.status
        ended = status.last is not None and status.last != before
        if not dry_run:
            teller.stepped(one, known.repositories[app], stepped, datetime.now(UTC), ended=ended)
    results = status.last.resources if status.last and ended else ()
    failed = not ended or status.last is None or status.last.phase.value != "Succeeded"
    if json:
        rows = [
            {"object": str(one.task.key), "action": one.task.action.value, "done": one.done, "message": one.message,
             "taken": [{"field": path, "manager": manager} for path, manager in one.taken]}
            for one in results
        ]  # fmt: skip
        print_json({"application": _row(status), "results": rows, "failures": _failures(known, status)})
    elif ended:
        _print_results(status)
    else:
        _end(_failures(known, status), json=False)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _loop(ctx: typer.Context, config: Config) -> Iterator[tuple[World, Known, Teller, list[ApplicationStatus]]]:
    """Yield the clients of the second loop, what Git says now, and how applications stood whose cluster is broken."""
    from updater.daemon.build import prepare
    from updater.daemon.remember import open_state
    from updater.daemon.sites import sites
    from updater.daemon.teller import Teller
    from updater.pipeline.known import Known, Looker
    from updater.store.applications import Applications
    from updater.store.journal import Journal

    settings = load(ctx, config)
    _expect_clusters(settings)
    prepare(settings.data)
    with closing(open_state(settings)) as database, sites(settings, limits=ctx.obj.limits) as found:
        known = Looker(found.world, found.sources, found.broken).look(Known())
        for name, why in found.broken.items():
            number = len(known.waiting.get(name, ()))
            wait = f"; {counted(number, 'application waits', 'applications wait')}" if number else ""
            known.problems.append(f"cluster {name}: {why}{wait}")
        waiting = {name: cluster for cluster, names in known.waiting.items() for name in names}
        stored = Applications(database).read(known.assigned.keys() | waiting.keys())
        for name, one in known.assigned.items():
            status = stored.get(name)
            one.memory.status = status if status and status.cluster == one.cluster else None
        unasked = [_stale(name, cluster, stored.get(name), found.broken[cluster]) for name, cluster in waiting.items()]
        teller = Teller(settings, Journal(database))
        found.world.started = teller.started
        yield found.world, known, teller, unasked


def _stale(name: str, cluster: str, stored: ApplicationStatus | None, why: str) -> ApplicationStatus:
    """Return how an application stood, as far as it is known, whose cluster cannot be asked as it is configured."""
    from updater.model.application import ApplicationStatus

    last = stored if stored and stored.cluster == cluster else ApplicationStatus(name, cluster)
    return replace(last, stale=why)


def _step(world: World, known: Known, name: str, **ask: Any) -> Stepped:
    from updater.pipeline.deliver import step
    from updater.pipeline.world import Ask

    return step(world, known.assigned[name], known.tree(name), Ask(**ask), datetime.now(UTC))


def _expect_clusters(settings: Settings) -> None:
    if not settings.clusters or not settings.applications:
        lacking = "clusters" if not settings.clusters else "applications"
        raise typer.BadParameter(f"the configuration has no {lacking}")


def _expect(known: Known, name: str, *, json: bool) -> None:
    """Exit 2 where there is no such application, 1 where it cannot be used, or may be among what cannot be read."""
    if name in known.assigned:
        return
    if name not in known.refused and known.certain:
        raise typer.BadParameter(f"no application is named {name!r}; known: {_names(known, name)}")
    unsure = [f"not among those that could be read: {error}" for error in known.unread]
    reasons = known.why.get(name) or unsure or ["it cannot be used"]
    failures = [_failed(f"application {name}", error) for error in reasons]
    if json:
        print_json({"failures": failures})
    _fail(failures, json=json)


def _names(known: Known, name: str) -> str:
    """Return the names that are known, those first that come near to one that is not."""
    names = sorted(known.assigned.keys() | known.refused)
    near = get_close_matches(name, names, n=3)
    listed = [*near, *(one for one in names if one not in near)]
    more = f", and {len(listed) - MAX_KNOWN} more" if len(listed) > MAX_KNOWN else ""
    return (", ".join(listed[:MAX_KNOWN]) or "none") + more


def _differences(stepped: Stepped, secret_key: bytes) -> list[Difference]:
    """Return what differs; of what is not there, what would be made."""
    from updater.model.sync import Verdict
    from updater.sync.diff import compare

    if stepped.compared is None or stepped.wanted is None:
        return []
    wanted = {one.key: one.manifest for one in stepped.wanted.members}
    return [
        compare(one.key, None, wanted[one.key], secret_key=secret_key)
        if one.verdict is Verdict.MISSING and one.after is None and one.key in wanted
        else one
        for one in stepped.compared.differences
        if one.verdict is not Verdict.SAME
    ]


def _difference(one: Difference) -> dict[str, Any]:
    fields = [{"field": path, "managers": managers} for path, managers in one.fields]
    return {"object": str(one.key), "verdict": one.verdict.value, "fields": fields, "why": one.why}


def _text(one: Difference) -> str:
    from updater.sync.diff import unified

    text = unified(one)
    return f"{text}\n" if text else f"# {one.key}: {one.verdict.value} {one.why}\n"


def _row(status: ApplicationStatus) -> dict[str, Any]:
    from updater.store.applications import document

    return {key: value for key, value in document(status).items() if key != "resources"} | {
        "resources": [
            {"object": str(one.key), "sync": one.sync.value, "health": one.health.health.value if one.health else None,
             "message": one.message or (one.health.message if one.health else "")}
            for one in status.resources
        ]
    }  # fmt: skip


def _failures(known: Known, status: ApplicationStatus) -> list[dict[str, Any]]:
    """Return why an application is not known to stand well; what is wrong with others is not its failure."""
    from updater.errors import UpdaterError

    tree = known.tree(status.name)
    git = str(tree) if isinstance(tree, UpdaterError) else ""
    error = status.stale or git or (status.message if status.sync.value == "Unknown" else "")
    return [_failed(f"application {status.name}", error)] if error else []


def _failed(what: str, error: str) -> dict[str, Any]:
    return {"what": what, "error": error, "retry_at": None}


def _print(statuses: list[ApplicationStatus]) -> None:
    """Print a row for each; of one that could not be asked nothing is known now, and what was is the reason's."""
    from updater.cli import show

    table = show.grid("NAME", "CLUSTER", "SYNC", "HEALTH", "REVISION", "WHY")
    for one in statuses:
        stands = ("Unknown", "Unknown") if one.stale else (one.sync.value, one.health.value)
        show.plain(table, one.name, one.cluster, *stands, one.revision[:12] or "-", _why(one))
    show.out.print(table)


def _why(status: ApplicationStatus) -> str:
    """Return the first reason in a line that fits a table, and how many more there are."""
    from updater.cli import show

    if status.stale:
        was = f"was {status.sync.value}, {status.health.value}; " if status.compared_at else ""
        return _short(was + show.one_line(status.stale))
    if status.message:
        return _short(show.one_line(status.message))
    bad = [one for one in status.resources if one.sync.value == "OutOfSync"]
    bad += [one for one in status.resources if one not in bad and one.health and one.health.health.value == "Degraded"]
    if not bad:
        return ""
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    words = bad[0].message or (bad[0].health.message if bad[0].health else "") or "is not as Git says"
    return _short(f"{bad[0].key}: {show.one_line(words)}") + more


def _short(text: str) -> str:
    return text if len(text) <= MAX_WHY else f"{text[: MAX_WHY - 3]}..."


def _print_unlike(unlike: Mapping[str, Mapping[str, object]], unasked: list[str]) -> None:
    from updater.cli import show

    if unlike:
        table = show.grid("GROUP", "NAME", "HAS")
        for group, has in unlike.items():
            for name, words in has.items():
                show.plain(table, group, name, str(words))
        show.out.print(table)
    elif not unasked:
        typer.echo("all applications that should be alike are")
    if unasked:
        typer.echo(f"{'' if unlike else 'no difference is known, but '}not all could be asked: {', '.join(unasked)}")


def _print_results(status: ApplicationStatus) -> None:
    from updater.cli import show

    if status.last is None or status.stale:
        show.err.print(f"{status.name}: {status.stale or status.message}", markup=False)
        return
    table = show.grid("OBJECT", "ACTION", "RESULT")
    for one in status.last.resources:
        taken = f" (took {', '.join(path for path, _ in one.taken[:3])} from {one.taken[0][1]})" if one.taken else ""
        show.plain(
            table, str(one.task.key), one.task.action.value, show.one_line(one.message.removeprefix("~") + taken)
        )
    if status.last.resources:
        show.out.print(table)
    words = f"{status.last.phase.value}, {status.sync.value}, {status.health.value}"
    why = f": {status.last.message}" if status.last.message else ""
    show.out.print(f"{status.name}: {words}{why}", markup=False)


def _end(failures: list[dict[str, Any]], *, json: bool) -> None:
    """Say what failed, and exit 1 where something did."""
    if failures:
        _fail(failures, json=json)


def _fail(failures: list[dict[str, Any]], *, json: bool) -> NoReturn:
    if not json:
        for one in failures:
            typer.echo(f"failed: {one['what']}: {one['error']}", err=True)
    raise typer.Exit(1)
