"""Options and arguments that several commands share, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from updater.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from updater.config.images import Item
    from updater.config.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration; default $UPDATER_CONFIG, else the usual places.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="An image's name or name/item, or any end of it that is unambiguous.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Given:
    """What stands before the command, as `ctx.obj`: the configuration's path, and how long others are waited for."""

    config: Path | None
    limits: Limits


def load(ctx: typer.Context, config: Path | None, *, here: bool = False) -> Settings:
    """Read the configuration named here or before the command; with `here` see `config.load`. Raises ConfigError."""
    from updater.config.load import load as read

    return read(config or ctx.obj.config, here=here)


def warn(settings: Settings) -> None:
    """Say on standard error what of the configuration is no mistake and does nothing."""
    for one in settings.warnings:
        typer.echo(f"warning: {one}", err=True)


def choose(items: Sequence[Item], name: str | None) -> list[Item]:
    """Return the items that a NAME means, all for None; no item, or items of two images, is wrong usage."""
    if name is None:
        return list(items)
    ranked = [(max(_fit(item.name, name), _fit(item.image_name, name)), item) for item in items]
    best = max((fit for fit, _ in ranked), default=0)
    found = [item for fit, item in ranked if fit == best]
    if best and len({item.image_name for item in found}) > 1:
        raise typer.BadParameter(f"{name!r} is ambiguous: {', '.join(sorted({item.name for item in found}))}")
    if best:
        return found
    known = ", ".join(sorted({item.image_name for item in items})) or "none"
    raise typer.BadParameter(f"no image is named {name!r}; known: {known}")


def _fit(text: str, end: str) -> int:
    """How well an end means a name: 3 all of it, 2 from a slash on, 1 its last characters, 0 not at all."""
    return 3 if text == end else 2 if text.endswith(f"/{end}") else int(text.endswith(end))


def counted(number: int, one: str, many: str) -> str:
    """Return a number and what it counts, `1 image item`."""
    return f"{number} {one if number == 1 else many}"


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    import json

    typer.echo(json.dumps(document, ensure_ascii=False))
