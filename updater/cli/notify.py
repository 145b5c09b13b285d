"""Commands about messages: notify test, notify queue."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from updater.cli.options import Config, Json, load, print_json

if TYPE_CHECKING:
    from updater.config.notifications import Notifications
    from updater.config.settings import Settings
    from updater.store.outbox import Figures, Letter

app = typer.Typer(no_args_is_help=True, help="Prove a channel; see what waits.", rich_markup_mode=None)


@app.command("test")
def try_channel(
    ctx: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A channel's name, which is its kind by default.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Send a real message to a channel.

    Prints what the service answered, and what that means; exit 1 where it was not delivered.
    """
    from updater.daemon.build import prepare
    from updater.daemon.couriers import try_out
    from updater.daemon.remember import open_state
    from updater.notifiers.base import Verdict

    settings = load(ctx, config)
    _expect_channel(settings, channel)
    prepare(settings.data)
    with closing(open_state(settings)) as database:
        reply = try_out(settings, database, channel, ctx.obj.limits)
    delivered = reply.verdict is Verdict.DELIVERED
    told = {"verdict": reply.verdict.value, "code": reply.code, "said": reply.said, "meaning": reply.meaning}
    if json:
        print_json({"channel": channel, "delivered": delivered, **told})
    else:
        answer = " ".join(filter(None, (reply.code, reply.said))) or "nothing"
        typer.echo(f"{channel}: {'delivered' if delivered else f'not delivered ({reply.verdict.value})'}")
        typer.echo(f"  the service answered: {_one_line(answer)}")
        if reply.meaning:
            typer.echo(f"  which means: {_one_line(reply.meaning)}")
    if not delivered:
        raise typer.Exit(1)


@app.command()
def queue(
    ctx: typer.Context,
    channel: Annotated[
        str | None, typer.Argument(metavar="CHANNEL", help="Only this channel.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="N messages: what waits, then what was given up.")
    ] = 100,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show what waits, what was given up, and why.

    A count for each channel, then each message that was not delivered.
    """
    from updater.daemon.build import prepare
    from updater.daemon.remember import open_state
    from updater.store.outbox import Outbox

    settings, now = load(ctx, config), datetime.now(UTC)
    if channel is not None:
        _expect_channel(settings, channel)
    prepare(settings.data)
    with closing(open_state(settings)) as database:
        outbox = Outbox(database)
        names = [channel] if channel else _names(settings.notifications)
        figures = {name: one for name, one in outbox.figures(names).items() if channel in {None, name}}
        letters = outbox.queue(channel, limit)
    if json:
        rows = {name: _figures(one, now) for name, one in figures.items()}
        print_json({"channels": rows, "messages": [_row(letter) for letter in letters]})
    else:
        _print(figures, letters, now)


def _print(figures: dict[str, Figures], letters: list[Letter], now: datetime) -> None:
    from updater.cli import show
    from updater.secrets import redact

    counts = show.grid("CHANNEL", "WAITING", "OLDEST", "SENT", "GIVEN UP")
    for name, one in figures.items():
        row = _figures(one, now)
        oldest = f"{row['oldest_seconds']:.0f} s" if row["oldest_seconds"] is not None else "-"
        show.plain(counts, name, str(row["waiting"]), oldest, str(row["sent"]), str(row["dead"]))
    show.out.print(counts)
    if not letters:
        return
    table = show.grid("CHANNEL", "STATE", "SINCE", "NEXT", "TRIES", "WHAT", "LAST ANSWER")
    for letter in letters:
        told = _row(letter)
        due = f"{letter.due:%m-%d %H:%M:%S}" if letter.state == "waiting" else "-"
        cells = (letter.channel, letter.state.value, f"{letter.wanted:%m-%d %H:%M:%S}", due, str(letter.attempts))
        show.plain(table, *cells, _one_line(told["text"]), _one_line(redact(letter.answer)))
    show.out.print(table)


def _figures(one: Figures, now: datetime) -> dict[str, Any]:
    late = (now - one.oldest).total_seconds() if one.oldest else None
    states = {state: one.states.get(state, 0) for state in ("waiting", "sent", "dead", "cancelled")}
    return {**states, "oldest_seconds": max(0.0, late) if late is not None else None}


def _row(letter: Letter) -> dict[str, Any]:
    from updater.messages.events import held_back, line
    from updater.secrets import redact

    event = letter.event
    if letter.broken:
        text = "an event that cannot be read back"
    else:
        text = line(event) if event else held_back(letter.held, letter.since or letter.wanted, "en")
    return {
        "channel": letter.channel,
        "state": letter.state.value,
        "event": event.id if event else None,
        "kind": event.kind.value if event else None,
        "text": text,
        "since": letter.wanted.isoformat(),
        "due": letter.due.isoformat() if letter.state == "waiting" else None,
        "attempts": letter.attempts,
        "answer": redact(letter.answer),
    }


def _names(notifications: Notifications | None) -> list[str]:
    return [channel.title for channel in notifications.channels] if notifications else []


def _expect_channel(settings: Settings, name: str) -> None:
    known = _names(settings.notifications)
    if name not in known:
        raise typer.BadParameter(f"no channel is named {name!r}; known: {', '.join(known) or 'none'}")


def _one_line(text: str) -> str:
    from updater.cli.show import one_line

    return one_line(text)
