"""Operators' templates of messages: Jinja2, cut down to what a message needs, and bounded in time and size.

A template makes the text of one event, in the markup of the service that it is for. What it prints of the event is
escaped for that service; what stands in the template itself is markup. An event has these names, empty where they
do not apply, in one line each:

    kind severity text        `image_updated`, `info`, our own words for all of it
    time                      `2026-12-01T08:00:00Z`
    subject                   what it is about, as commands take it
    image item reference      names in the configuration, and the image as it is written there
    registry repository branch application project cluster
    old new digest            values as shown, `1.5.0@sha256:0123456789ab`; the whole digest
    reason why                a word of the contract, e.g. `level`; the same in words, or an error
    commit commit_url release_notes
    language                  `en` or `zh`
    images                    a list of names, at most 100
    spots                     a list of at most 100 places, each with `file line repository branch spelled`
    labels                    of the image: `{{ labels.team }}`, `{{ labels["example.com/team"] }}`

It may use `if`, `for` (two deep), `and or not in == != < <= > >=`, `a if b else c`, `~`, a few `+`, and the filters
and tests of grammar.py. There are no calls, no assignments, no macros, no arithmetic and no other templates,
so that no template can reach further than its context or grow what it was given. A line that holds only a block
leaves no empty line behind. Templates of commits and pull requests have other names, COMMITS and GROUPS of grammar.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from updater.messages.grammar import EVENTS, FILTERS, TESTS, check, sample

if TYPE_CHECKING:
    import jinja2

MAX_TEXT = 4096  # characters of a template
MAX_OUTPUT = 16 << 10  # bytes of what one makes, and characters of any value on the way
MAX_SECONDS = 0.1  # of processor time; an ordinary template takes a hundredth of it
MAX_SHOWN = 120  # characters of an explanation

_ESCAPE = "escape()"  # where the service's escaping stands in the context: no template can spell this name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was compiled and tried once."""

    text: str
    _compiled: jinja2.Template = field(repr=False, compare=False)

    def render(self, context: Mapping[str, object], escape: Callable[[str], str] = str) -> str:
        """Return the text of one event. Raises ValueError, in words, also for one that takes too long or grows."""
        from jinja2 import TemplateError

        watch = _Watch()
        values = {name: _watched(value, watch) for name, value in context.items()}
        pieces, size = [], 0
        try:
            for piece in self._compiled.generate(values | {_ESCAPE: escape}):
                watch.check()
                size += len(piece.encode(errors="replace"))
                if size > MAX_OUTPUT:
                    raise ValueError(f"it makes more than {MAX_OUTPUT} bytes")
                pieces.append(piece)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as err:
            raise ValueError(f"{_shown(err)}{_line_of(err)}") from err
        return "".join(pieces).strip()


def compile_template(text: str, names: Mapping[str, str] = EVENTS) -> Template:
    """Check a template over these names of grammar.py, compile it and try it once.

    Raises ValueError, which names the line and what was expected.
    """
    from jinja2 import TemplateSyntaxError

    if len(text) > MAX_TEXT:
        raise ValueError(f"found {len(text)} characters, expected at most {MAX_TEXT}")
    environment = _environment()
    try:
        tree = environment.parse(text)
        check(tree, names)
        template = Template(text, environment.from_string(tree))
    except TemplateSyntaxError as err:
        # "expected" is what an error of the configuration is cut at.
        said = _shown(err.message or "").replace("expected", "wanted")
        raise ValueError(f"found a mistake in line {err.lineno} ({said}), expected a Jinja template") from err
    except (RecursionError, MemoryError) as err:
        raise ValueError("found parts too deep in one another, expected a simpler template") from err
    _try(template, names)
    return template


def _try(template: Template, names: Mapping[str, str]) -> None:
    """Render made-up values, so that what can never work is said before anything has happened."""
    try:
        template.render(sample(names))
    except ValueError as err:
        raise ValueError(f"found a template that fails ({err}), expected one that can be rendered") from err


class _Watch:
    """The time that one rendering has left: that of its own thread, so that a busy machine fails nothing."""

    def __init__(self) -> None:
        self._end = time.thread_time() + MAX_SECONDS

    def check(self) -> None:
        if time.thread_time() > self._end:
            raise ValueError(f"it takes more than {MAX_SECONDS * 1000:.0f} ms")


class _Items(Generic[T]):
    """A list that looks at the clock at every step; it has nothing else that a template could reach."""

    __slots__ = ("_items", "_watch")

    def __init__(self, items: Sequence[T], watch: _Watch) -> None:
        self._items, self._watch = items, watch

    def __iter__(self) -> Iterator[T]:
        for item in self._items:
            self._watch.check()
            yield item

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, at: int) -> T:
        return self._items[at]


class _Keys(_Items[str]):
    """A mapping that is empty wherever it has nothing, and whose keys are its only attributes."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object], watch: _Watch) -> None:
        super().__init__(list(values), watch)
        self._values = values

    def __getitem__(self, key: Any) -> Any:
        return self._values.get(key, "")


def _watched(value: object, watch: _Watch) -> object:
    if isinstance(value, Mapping):
        return _Keys(value, watch)
    if isinstance(value, list | tuple):
        return _Items([_watched(item, watch) for item in value], watch)
    return value


def _shown(said: object) -> str:
    words = str(said).replace(f"{__name__}.{_Items.__name__} object", "the list")
    text = "".join(c if c.isprintable() else " " for c in words).rstrip(".")
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _line_of(err: BaseException) -> str:
    """Return the template's line that failed; Jinja rewrites the trace for it."""
    line, trace = 0, err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""


# What filters do. They replace Jinja's own, whose results have no bound.


def _text(value: object) -> str:
    """Return a value as text, within the bound. Raises what Jinja raises where it is undefined."""
    if value is None:
        return ""
    if isinstance(value, _Items):
        raise TypeError("a list is not a text")
    text = str(value)
    if len(text) > MAX_OUTPUT:
        raise ValueError(f"it makes more than {MAX_OUTPUT} characters")
    return text


def _default(value: object, other: object = "", _also_empty: object = None) -> object:
    """Absent is empty here, so a default takes the place of both."""
    from jinja2 import Undefined

    return other if isinstance(value, Undefined) or not value else value


def _join(value: Any, separator: object = "") -> str:
    items, between = [_text(item) for item in value], _text(separator)
    if sum(map(len, items)) + len(between) * len(items) > MAX_OUTPUT:
        raise ValueError(f"it makes more than {MAX_OUTPUT} characters")
    return between.join(items)


def _truncate(value: object, length: int = 255, _words: object = None, end: str = "...") -> str:
    text = _text(value)
    return text if len(text) <= length else text[: max(0, length - len(end))] + end


def _int(value: object, default: int = 0) -> int:
    text = _text(value)
    try:
        return int(text) if len(text) <= 20 else default
    except ValueError:
        return default


def _length(value: Any) -> int:
    return len(value)


def _first(value: Any) -> object:
    return next(iter(value), "")


def _last(value: Any) -> object:
    return [*value, *([] if len(value) else [""])][-1]


_FILTERS: Mapping[str, Callable[..., object]] = {
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "capitalize": lambda value: _text(value).capitalize(),
    "title": lambda value: _text(value).title(),
    "trim": lambda value: _text(value).strip(),
    "string": _text,
    "escape": _text,  # whatever is printed is escaped once, so that asking for it must not do it twice
    "e": _text,
    "default": _default,
    "d": _default,
    "join": _join,
    "length": _length,
    "count": _length,
    "first": _first,
    "last": _last,
    "truncate": _truncate,
    "int": _int,
}


@cache
def _environment() -> jinja2.Environment:
    """Return the one environment: nothing in it but our own filters, and tests that only look."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    @jinja2.pass_context
    def finalize(context: jinja2.runtime.Context, value: object) -> str:
        escape: Callable[[str], str] = context.resolve(_ESCAPE)
        return escape(_text(value))

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, finalize=finalize, trim_blocks=True, lstrip_blocks=True, cache_size=0
    )
    environment.globals.clear()
    environment.filters = {name: _FILTERS[name] for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment
