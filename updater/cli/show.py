"""How people see a cycle: tables, diffs, failures and progress. Colour and progress only on a terminal."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table

from updater.model.decision import Mark
from updater.pipeline.report import Outcome, Report, unique
from updater.secrets import redact

if TYPE_CHECKING:
    from updater.model.decision import Verdict
    from updater.pipeline.examine import Finding
    from updater.pipeline.look import Progress

WIDE = 1_000_000  # characters of a line on a pipe: nothing is cut there


def _console(*, stderr: bool) -> Console:
    """Return a console that asks the stream alone whether it is a terminal, not $FORCE_COLOR or $COLUMNS."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else WIDE
    return Console(stderr=stderr, force_terminal=terminal, width=width, highlight=False, emoji=False, soft_wrap=True)


out = _console(stderr=False)
err = _console(stderr=True)

_COLOUR = {
    Outcome.FAILED: "red",
    Outcome.UPDATED: "green",
    Outcome.AVAILABLE: "cyan",
    Outcome.HELD: "yellow",
    Outcome.UP_TO_DATE: "dim",
}
_MARKS = {Mark.CHOSEN: "green", Mark.CANDIDATE: "default", Mark.REJECTED: "dim"}


def grid(*headings: str) -> Table:
    """Return a plain table; its cells are markup, and nothing in it is cut on a pipe."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=not out.is_terminal)
    return table


def plain(table: Table, *cells: str) -> None:
    """Add a row of text from outside: a bracket in a path is a bracket."""
    table.add_row(*map(escape, cells))


def table(report: Report, updated: str = Outcome.UPDATED.value) -> None:
    """Print a row for each item, weightiest outcome first in each; `updated` is how people call what was written."""
    shown = grid("NAME", "CURRENT", "TARGET", "OUTCOME", "WHY")
    for row in report.images():
        colour = _COLOUR[Outcome(row["outcome"])]
        words = {Outcome.HELD: f"held: {row['reason']}", Outcome.UPDATED: updated}
        outcome = words.get(row["outcome"], row["outcome"])
        cells = (row["name"], row["current"] or "-", row["target"] or "-", f"[{colour}]{outcome}[/]")
        shown.add_row(*(escape(cell) for cell in cells[:3]), cells[3], escape(redact(row["why"])))
    out.print(shown)


def diff(report: Report) -> str:
    """Return the unified diff of every change, one repository and branch after the other."""
    parts: list[str] = []
    for written in report.written:
        for change in written.changes:
            lines = difflib.unified_diff(
                change.before.splitlines(keepends=True),
                change.after.splitlines(keepends=True),
                f"a/{change.path}",
                f"b/{change.path}",
            )
            parts += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join(parts)


def print_diff(text: str) -> None:
    """Print a diff, coloured on a terminal, to the letter on a pipe."""
    if out.is_terminal:
        out.print(Syntax(text, "diff", background_color="default"))
    else:
        out.file.write(text)


def commits(report: Report) -> None:
    """Print the commits that were pushed."""
    for commit in report.commits:
        subject = commit.message.partition("\n")[0]
        out.print(f"{escape(commit.repository)} {escape(commit.branch)} {commit.revision[:12]} {escape(subject)}")


def failures(report: Report) -> None:
    """Print what failed, on standard error."""
    for failure in unique(report.failures):
        later = f" (again at {failure.retry_at:%H:%M:%S} UTC)" if failure.retry_at else ""
        err.print(f"[red]failed:[/] {escape(failure.what)}: {escape(redact(failure.error))}{later}")


def findings(found: Sequence[Finding]) -> None:
    """Print what was tried, a block for each registry and repository, and under what failed what to change."""
    last = ""
    for one in found:
        if one.subject != last:
            out.print(f"[bold]{escape(one_line(one.subject))}[/]")
            last = one.subject
        mark = "[green]ok[/]  " if one.ok else "[red]FAIL[/]"
        out.print(f"  {mark} {escape(f'{one.step}: {one_line(redact(one.said))}')}")
        if one.advice:
            out.print(f"       [cyan]{escape(one.advice)}[/]")


def verdicts(marks: Sequence[Verdict]) -> None:
    """Print every tag with its verdict and why, in the order of the policy; a table of 100,000 rows is too slow."""
    wide = max((len(verdict.tag) for verdict in marks), default=0)
    styles = {mark: Style.parse(colour) for mark, colour in _MARKS.items()}
    out.print(f"[bold]{'TAG':<{wide}}  {'VERDICT':<9}  WHY[/]")
    for verdict in marks:
        line = f"{one_line(verdict.tag):<{wide}}  {verdict.mark:<9}  {one_line(verdict.why)}"
        out.file.write(f"{styles[verdict.mark].render(line) if out.is_terminal else line}\n")


def one_line(text: str) -> str:
    """Keep a text from outside on its line, and the terminal from reading it as commands."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield what shows the progress of a cycle; on standard error, and only on a terminal."""
    from updater.pipeline.look import no_progress

    if not err.is_terminal:
        yield no_progress
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, int] = {}

        def shown(what: str, done: int, total: int) -> None:
            task = tasks.setdefault(what, len(tasks))
            if task not in bars.task_ids:
                bars.add_task(what)
            bars.update(bars.task_ids[task], completed=done, total=total)

        yield shown
