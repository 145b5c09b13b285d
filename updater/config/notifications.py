"""Who is told what, when, and by which service.

Imported only for a file that has the section: the whole family of notifiers comes with it, and its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, RootModel, create_model, field_validator

from updater.config.base import MAX_TEXT, Section
from updater.config.network import Network
from updater.model.durations import Duration, duration
from updater.model.event import Kind, Severity
from updater.model.message import Language
from updater.notifiers.base import Notifier
from updater.plugins import members
from updater.sync.windows import Window

ALL = ("*",)
LEAST_REMINDER = 3_600  # seconds
MAX_NEAR = 4  # kinds that are shown for a glob that means none
MAX_GLOB = 60  # characters of a glob that are compared and shown


def matching(glob: str) -> frozenset[Kind]:
    """Return the kinds of events that a glob means."""
    return frozenset(kind for kind in Kind if fnmatchcase(kind, glob))


def event_glob(value: str) -> str:
    """Check a glob over the kinds of events. Raises ValueError."""
    if not matching(value):
        raise ValueError(f"it matches no kind of event; expected {_near(value)}")
    return value


def template_key(value: str) -> str:
    """Check what a template is for: a kind of event, or a glob over them. Raises ValueError."""
    if not matching(value):
        raise ValueError(f"found a template for {value[:MAX_GLOB]!r}, no kind of event, expected {_near(value)}")
    return value


def _near(glob: str) -> str:
    """Name the kinds that resemble a glob, or begin like it."""
    text = glob.lower().replace("*", "")
    likeness = {kind: max(_likeness(text, kind), _likeness(text, kind[: len(text)])) for kind in Kind}
    return f"a kind such as {', '.join(sorted(Kind, key=lambda kind: -likeness[kind])[:MAX_NEAR])}, or a glob over them"


def _likeness(text: str, other: str) -> float:
    return SequenceMatcher(None, text[:MAX_GLOB], other).ratio()


def template(value: str) -> str:
    """Check that a template compiles. Raises ValueError."""
    from updater.messages.templates import compile_template

    if not value.strip():
        raise ValueError("expected a Jinja template that says something")
    compile_template(value)
    return value


def name_glob(value: str) -> str:
    """Check a glob over names. Raises ValueError."""
    if not value.strip() or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError('expected a name, or a glob such as "team-a/*"')
    return value


def _reminder(length: int) -> int:
    if length < LEAST_REMINDER:
        raise ValueError("what comes more often than every hour is no longer read; expected at least 1h, or null")
    return length


def _nothing(value: dict[str, str]) -> dict[str, str]:
    if value:
        raise ValueError("found templates for what is data, not text, expected a channel without them")
    return value


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


EventGlob = Annotated[str, AfterValidator(event_glob)]
NameGlobs = Annotated[tuple[Annotated[str, AfterValidator(name_glob)], ...], Field(min_length=1)]
Templates = dict[Annotated[str, AfterValidator(template_key)], Annotated[str, AfterValidator(template)]]
NoTemplates = Annotated[dict[str, str], AfterValidator(_nothing)]
Reminder = Annotated[Duration, AfterValidator(_reminder)]


class Channel(Notifier):
    """What every channel has beside the fields of its kind."""

    network: Network = Field(Network(), description="overrides the network section, key by key")

    @field_validator("name")
    @classmethod
    def _in_one_line(cls, value: str | None) -> str | None:
        if value is not None and (value != value.strip() or not value.isprintable()):
            raise ValueError("expected a name in one line")
        return value


def _channel(member: type[Notifier]) -> type[Channel]:
    """Return the member as a channel of the file: with a network of its own, and templates that are checked."""
    kind = Templates if member.templated else NoTemplates
    described: Any = Field({}, description=member.model_fields["templates"].description)
    bases: Any = (member, Channel)  # what the member says itself wins
    made = create_model(
        f"{member.__name__}Channel",
        __base__=bases,
        __doc__=member.__doc__,
        __module__=__name__,
        templates=(kind, described),
    )
    return cast("type[Channel]", made)


if TYPE_CHECKING:
    AnyChannel = Channel
else:
    AnyChannel = Annotated[reduce(or_, map(_channel, members(Notifier).values())), Field(discriminator="kind")]


class ChannelEntry(RootModel[AnyChannel]):
    """One entry of `channels`."""


class QuietWindow(Window):
    """A span of time in which messages wait, or outside of which they do."""

    kind: Literal["allow", "deny"] = Field("deny", description="deny: nothing is sent within it; allow: only within it")


class Route(Section):
    """Which events go to which channels; an event goes to every channel of every route that it fits.

    `lasts`, `group` and `remind` are seconds.
    """

    model_config = ConfigDict(validate_by_name=True)  # for our own calls; files speak of `for` alone

    events: tuple[EventGlob, ...] = Field(ALL, min_length=1, description="kinds of events, or globs over them")
    severity: Severity = Field(Severity.INFO, description="the least: info | warning | error")
    images: NameGlobs = Field(ALL, description="globs over names of images")
    repositories: NameGlobs = Field(ALL, description="globs over names of repositories")
    applications: NameGlobs = Field(ALL, description="globs over names of applications")
    projects: NameGlobs = Field(ALL, description="globs over names of projects")
    clusters: NameGlobs = Field(ALL, description="globs over names of clusters")
    lasts: Duration = Field(
        0,
        alias="for",
        description="only what still holds after this time; what ends before is not told",
        json_schema_extra={"default": "0s"},
    )
    group: Duration = duration(30, "what follows within it is merged into the next message")
    quiet: tuple[QuietWindow, ...] = Field((), description="when messages wait; []: never")
    remind: Reminder | None = Field(None, description="tell again as long as it holds, at least 1h; null: never")
    channels: Annotated[tuple[str, ...], AfterValidator(_once)] = Field(min_length=1, description="names of channels")

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of events that `events` means."""
        return frozenset[Kind]().union(*map(matching, self.events))


class Notifications(Section):
    """Who is told what; without routes every channel gets what matters."""

    language: Language = Field("en", description="en | zh; a channel may have its own")
    baseline: Literal["silent", "tell"] = Field("silent", description="tell: also what was merely found at first")
    channels: tuple[AnyChannel, ...] = Field((), description="services that messages go to")
    routes: tuple[Route, ...] = Field((), description="none: image_updated, update_available, and from warning on all")


def channel_name(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name of a channel as written, and the key that says it; None where neither does."""
    named = ((entry.get(key), key) for key in ("name", "kind"))
    return next(((name, key) for name, key in named if isinstance(name, str) and name), None)
