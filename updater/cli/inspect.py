"""Commands that answer questions and write nothing: explain, policy, find, history."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from updater.cli.options import Config, Json, Name, choose, load, print_json

if TYPE_CHECKING:
    from updater.config.images import Item
    from updater.model.decision import Verdict
    from updater.pipeline.report import Report, Row

MAX_TAGS_FILE = 32 << 20  # bytes: a hundred thousand tags of 128 characters, twice over


def explain(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An image's name or name/item, or any end of it that is unambiguous.")
    ],
    config: Config = None,
    json: Json = False,
) -> None:
    """Say why an image is, or is not, updated.

    Shows every tag with its verdict and why, the decision, and every place in Git that mentions the image.
    """
    from updater.cli.show import failures, progress
    from updater.daemon.build import build, prepare
    from updater.daemon.remember import known_before, open_state
    from updater.pipeline.report import remembered
    from updater.pipeline.update import update

    settings = load(ctx, config)
    items = choose(settings.items, name)
    prepare(settings.data)
    with closing(open_state(settings)) as database, build(settings, database=database) as world, progress() as shown:
        before = known_before(database)
        report = update(world, items, datetime.now(UTC), write=False, progress=shown)
    remembered(report, before)
    if json:
        print_json({"images": [_explained(i, report) for i in items], "failures": report.as_json()["failures"]})
    else:
        for item in items:
            _print_explained(item, report)
    failures(report)
    if report.failed:
        raise typer.Exit(1)


def _decided(item: Item, report: Report) -> dict[str, list[Row]]:
    """Group an item's rows by the distinct values in Git."""
    found: dict[str, list[Row]] = {}
    for row in report.rows:
        if row.item.name == item.name:
            found.setdefault(str(row.reference.image) if row.reference else "-", []).append(row)
    return found


def _explained(item: Item, report: Report) -> dict[str, Any]:
    from updater.secrets import redact

    decisions = [
        {
            "image": image,
            "current": rows[0].current,
            "outcome": rows[0].outcome.value,
            "target": rows[0].target,
            "reason": redact(rows[0].reason),
            "why": redact(rows[0].why),
            "tags": tags_json(rows[0].decision.verdicts) if rows[0].decision else [],
            "references": [row.place() for row in rows if row.reference],
        }
        | ({"known": rows[0].before.as_json()} if rows[0].before else {})
        for image, rows in _decided(item, report).items()
    ]
    return {"name": item.name, "image": item.image, "policy": item.rule.policy.words, "decisions": decisions}


def _print_explained(item: Item, report: Report) -> None:
    from rich.markup import escape

    from updater.cli.show import out, verdicts
    from updater.secrets import redact

    out.print(f"[bold]{escape(item.name)}[/]  policy {escape(item.rule.policy.words)}")
    for image, rows in _decided(item, report).items():
        first = rows[0]
        arrow = f" -> {first.target}" if first.target else ""
        why = "" if first.why == first.outcome else f": {redact(first.why)}"
        reason = f" ({first.reason})" if first.decision and first.reason != first.why else ""
        out.print(f"\n{escape(image)}{escape(arrow)}  [bold]{first.outcome}[/]{escape(reason)}{escape(why)}")
        if first.decision:
            verdicts(first.decision.verdicts)
        out.print("in Git:" if any(row.reference for row in rows) else "mentioned nowhere in Git")
        for row in rows:
            if row.reference:
                note = f"  not writable: {row.reference.unwritable}" if row.reference.unwritable else ""
                place = f"{row.repository} {row.branch} {row.reference.file}:{row.reference.line}"
                out.print(f"  {escape(place)}  {escape(row.reference.spelled)}{escape(note)}")


def tags_json(marks: tuple[Verdict, ...]) -> list[dict[str, str]]:
    """Return the verdicts as the contract shapes them."""
    return [{"tag": verdict.tag, "verdict": verdict.mark.value, "why": verdict.why} for verdict in marks]


def policy(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="YAML of a policy, or of the fields policy, tags, level, max_major_step."
        ),
    ],
    current: Annotated[
        str | None, typer.Option("--current", help="The tag that Git holds.", show_default=False)
    ] = None,
    tags_file: Annotated[str, typer.Option("--tags-file", help="Tags, one a line; - for standard input.")] = "-",
    json: Json = False,
) -> None:
    """Try a policy on a list of tags.

    Needs no configuration file and no registry.
    """
    from updater.config.inline import rule
    from updater.model.tag import Tag
    from updater.policies.choose import judge

    parsed = rule(policy)
    tags = [Tag(line) for raw in _read(tags_file).splitlines() if (line := raw.strip())]
    judged = judge(parsed, tags, current)
    if json:
        outcome = "update" if judged.target else "hold"
        reason = judged.reason or judged.why
        document = {"outcome": outcome, "target": judged.target, "reason": reason, "why": judged.why}
        print_json(document | {"tags": tags_json(judged.verdicts)})
        return
    from rich.markup import escape

    from updater.cli.show import out, verdicts

    arrow = f"update to {judged.target}" if judged.target else f"hold: {judged.reason}"
    out.print(f"[bold]{escape(arrow)}[/]  {escape(judged.why)}")
    verdicts(judged.verdicts)


def _read(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_TAGS_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_TAGS_FILE + 1)
    except OSError as err:
        raise typer.BadParameter(f"{name}: {err.strerror}") from err
    if len(data) > MAX_TAGS_FILE:
        raise typer.BadParameter(f"{name}: larger than {MAX_TAGS_FILE} bytes")
    return data.decode(errors="replace")


def find(
    ctx: typer.Context,
    untracked: Annotated[bool, typer.Option("--untracked", help="Only images that no entry owns.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """List every image that Git mentions.

    Shows file:line, the entry that owns the reference or none, and why it can't be written.
    """
    from updater.cli.show import err, grid, out, plain, progress
    from updater.daemon.build import build
    from updater.pipeline.mentions import mentions

    settings = load(ctx, config)
    with build(settings, everything=True) as world, progress() as shown:
        found = mentions(world, progress=shown)
    rows = [row for row in found.rows if not (untracked and row["owner"])]
    if json:
        print_json({"references": rows, "skipped": found.skipped, "failures": found.failures})
    else:
        table = grid("REPOSITORY", "BRANCH", "FILE", "IMAGE", "CURRENT", "OWNER", "NOTE")
        for row in rows:
            place = f"{row['file']}:{row['line']}"
            note = row["unwritable"] or ("contested" if row["rivals"] else "")
            owner = row["owner"] or (" or ".join(row["rivals"]) if row["rivals"] else "-")
            plain(table, row["repository"], row["branch"], place, row["spelled"], row["current"], owner, note)
        out.print(table)
        for skipped in found.skipped:
            err.print(
                f"skipped: {skipped['repository']} {skipped['file']}:{skipped['line']}: {skipped['why']}", markup=False
            )
    for failure in found.failures:
        err.print(f"failed: {failure['what']}: {failure['error']}", markup=False)
    if found.failures:
        raise typer.Exit(1)


def history(
    ctx: typer.Context,
    name: Name = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The latest N changes.")] = 50,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show what was changed, when and why.

    Read from Git alone: the trailers of the commits.
    """
    from updater.cli.show import err, grid, out, plain
    from updater.daemon.build import build
    from updater.pipeline.history import history as read

    settings = load(ctx, config)
    items = choose(settings.items, name) if name else None
    with build(settings) as world:
        found = read(world, items, limit)
    if json:
        print_json({"changes": found.rows, "failures": found.failures})
    else:
        table = grid("WHEN", "IMAGE", "OLD", "NEW", "COMMIT", "WHERE", "WHY")
        for row in found.rows:
            where = f"{row['repository']} {row['branch']}"
            plain(table, row["at"], row["image"], row["old"], row["new"], row["revision"][:12], where, row["reason"])
        out.print(table)
    for failure in found.failures:
        err.print(f"failed: {failure['what']}: {failure['error']}", markup=False)
    if found.failures:
        raise typer.Exit(1)
