"""What operators' templates can do, and that none of them gets out, takes long, or grows."""

from __future__ import annotations

import gc
import html
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from updater.config.problems import _SAID
from updater.messages.events import context
from updater.messages.grammar import FILTERS, SPOT, TESTS, TEXTS
from updater.messages.templates import MAX_OUTPUT, MAX_TEXT, compile_template
from updater.model.event import Event, Kind, Spot, Subject

AT = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
EVENT = Event(
    kind=Kind.IMAGE_UPDATED,
    at=AT,
    subject=Subject(image="api", item="api/prod", reference="ghcr.io/acme/api"),
    old="1.4.2",
    new="1.5.0@sha256:" + "ab" * 32,
    digest="sha256:" + "ab" * 32,
    why="semver 1.x, newest of 212",
    commit="0123456789abcdef0123456789abcdef01234567",
    commit_url="https://git.example.com/c/0123",
    spots=(Spot("fleet", "main", "a.yaml", 1, "ghcr.io/acme/api"), Spot("fleet", "main", "b.yaml", 2, "api")),
    images=("api", "web"),
    labels={"team": "core", "example.com/tier": "backend", "items": "three", "_private": "x"},
)
LARGEST = Event(
    kind=Kind.PUSH_REJECTED,
    at=AT,
    subject=Subject(**dict.fromkeys(("image", "item", "reference", "repository", "branch", "cluster"), "x" * 3000)),
    why="y" * 3000,
    spots=tuple(Spot("f" * 3000, "b" * 3000, "c" * 3000, n, "d" * 3000) for n in range(1000)),
    images=tuple("i" * 3000 for _ in range(1000)),
    labels={f"l{n}": "v" * 3000 for n in range(1000)},
)


LINE = "api/prod updated: 1.4.2 -> 1.5.0@sha256:abababababab (a.yaml:1, b.yaml:2 in fleet, branch main)"
MADE = {
    "names": ("**{{ subject }}** {{ old }} -> {{ new }}", "**api/prod** 1.4.2 -> 1.5.0@sha256:abababababab"),
    "a loop leaves no empty lines": (
        "{% for spot in spots %}\n- {{ spot.file }}:{{ spot.line }}\n{% endfor %}\nend",
        "- a.yaml:1\n- b.yaml:2\nend",
    ),
    "the last turn of a loop": (
        "{% for s in spots %}{{ s.file }}{{ ', ' if not loop.last else '' }}{% endfor %}",
        "a.yaml, b.yaml",
    ),
    "a loop with a condition": (
        "{% for s in spots if s.line > 1 %}{{ loop.index }}/{{ loop.length }} {{ s.file }}{% endfor %}",
        "1/1 b.yaml",
    ),
    "a loop in a loop": (
        "{% for a in images %}{% for b in images %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
        "apiapi apiweb webapi webweb",
    ),
    "names of labels": (
        "{% for a in labels %}{{ a }} {% else %}none{% endfor %}",
        "team example.com/tier items _private",
    ),
    "parts of lists": (
        "{{ spots|length }} {{ images[0] }} {{ spots[0].file }} {{ images[1] if images|length > 1 else '' }}",
        "2 api a.yaml web",
    ),
    "filters of lists": ("{{ images|join(', ') }} {{ images|last }} {{ images|first|upper }}", "api, web web API"),
    "labels, also absent ones": (
        "{{ labels.team }} {{ labels['example.com/tier'] }} {{ labels.items }} [{{ labels.absent }}]",
        "core backend three []",
    ),
    "choices": ("{% if severity in ('warning', 'error') %}!{% elif kind == 'image_updated' %}ok{% endif %}", "ok"),
    "defaults of what is empty": (
        "{{ application|default('none') }} {{ labels.owner|d('nobody') }} {{ subject|default('x') }}",
        "none nobody api/prod",
    ),
    "shortening": ("{{ commit|truncate(12, true, '') }} {{ why|truncate(10) }}", "0123456789ab semver ..."),
    "sums": ("{{ 'a' ~ subject ~ '!' }} {{ 'n' + old }} {{ '7'|int + 1 }}", "aapi/prod! n1.4.2 8"),
    "conditions": (
        "{{ image and 'yes' or 'no' }} {{ not cluster }}{% if spots and image %} places{% endif %}",
        "yes True places",
    ),
    "tests": ("{{ reason is defined }} {{ 3 is odd }} {{ old is string }}", "True True True"),
    "case": (
        "{{ subject|upper }} {{ subject|title }} {{ ' x '|trim }} {{ 'ab'|capitalize }}",
        "API/PROD Api/Prod x Ab",
    ),
    "raw text and comments": ("{% raw %}{{ subject }}{% endraw %}{# nothing #}", "{{ subject }}"),
    "time and our own words": (
        "{{ time }} {{ language }} {{ text }}",
        f"2026-12-01T08:00:00Z en {LINE}",
    ),
    "plain text": ("plain", "plain"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "made"), MADE.values(), ids=list(MADE))
def test_what_a_template_makes(text: str, made: str) -> None:
    assert compile_template(text).render(context(EVENT, "en")) == made


def test_every_documented_name_is_there_and_no_other() -> None:
    given = context(EVENT, "en")
    assert given.keys() == TEXTS | {"spots", "images", "labels"}
    assert all(isinstance(given[name], str) for name in TEXTS)
    spots = given["spots"]
    assert isinstance(spots, list)
    assert spots[0].keys() == SPOT
    everything = " ".join(f"{{{{ {name} }}}}" for name in TEXTS)
    assert compile_template(everything).render(context(Event(Kind.CONFIG_REJECTED, AT, Subject()), "zh"))


def test_what_is_printed_is_escaped_once_and_markup_of_the_template_is_not() -> None:
    template = compile_template(
        "<b>{{ why }}</b> {{ why|e }} {{ why|escape }} {{ '<i>' }} {{ why ~ '<u>' }} {{ 1 < 2 }}"
    )
    made = template.render({**context(EVENT, "en"), "why": "<&>"}, html.escape)
    assert made == "<b>&lt;&amp;&gt;</b> &lt;&amp;&gt; &lt;&amp;&gt; &lt;i&gt; &lt;&amp;&gt;&lt;u&gt; True"


def test_each_service_escapes_in_its_own_way_with_one_template() -> None:
    template = compile_template("{{ why }}{{ '<' }}")
    given = {**context(EVENT, "en"), "why": "a_b"}
    assert template.render(given, lambda text: text.replace("_", "\\_")) == "a\\_b<"
    assert template.render(given, html.escape) == "a_b&lt;"


# --- what is refused when the configuration loads ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("a\nb\n{{ imag }}", "unknown name `imag` in line 3", "one of application, branch"),
        ("\n{% if kind %}", "a mistake in line 2", "a Jinja template"),
        ("{{ 'unclosed }}", "a mistake in line 1", "a Jinja template"),
        ("{{ kind|uper }}", "unknown filter `uper` in line 1", "one of capitalize, count"),
        ("{{ kind is sameas(1) }}", "unknown test `sameas` in line 1", "one of defined"),
        ("{{ spots[0].name }}", "unknown part `name` of a place in line 1", "one of branch, file, line"),
        ("{{ kind.name }}", "unknown part `name` of a text in line 1", "the name alone"),
        ("{{ spots }}", "`spots` in place of a text in line 1", "a part of it, or a `for` over it"),
        ("{{ labels }}", "`labels` in place of a text in line 1", "a part of it"),
        ("{% for s in spots %}{{ s }}{% endfor %}", "a place in place of a text in line 1", "a part of it"),
        ("{% for c in why %}{{ c }}{% endfor %}", "`for` over a text in line 1", "`images` or `labels` or `spots`"),
        ("{% for a, b in spots %}{% endfor %}", "`for` with several names in line 1", "one name"),
        ("{{ 'a' if kind }}", "`if` without `else` in line 1", "`a if b else c`"),
        ("{{ why|join('x') }}", "filter `join` of a text in line 1", "a list before it"),
        ("{{ spots|upper }}", "filter `upper` of `spots` in line 1", "a text before it"),
        ("{{ ('x' if kind else images) ~ 'y' }}", "what may be a list in place of a text in line 1", "a part of it"),
        ("{{ spots|default('none') }}", "what may be a list in place of a text in line 1", "a part of it"),
        ("{{ 1 < 'a' }}", "a template that fails", "one that can be rendered"),
        ("{{ spots[7].file }}", "a template that fails", "one that can be rendered"),
        ("x" * (MAX_TEXT + 1), "4097 characters", "at most 4096"),
    ],
)
def test_a_mistake_is_said_with_its_line(text: str, found: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        compile_template(text)
    said = _SAID.fullmatch(str(refused.value))  # how the configuration reads a refusal
    assert said is not None
    assert said["found"].startswith(found)
    assert said["expected"].startswith(expected)


ESCAPES = {
    "a class": "{{ ''.__class__ }}",
    "all classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a class of a name": "{{ kind.__class__ }}",
    "a class by a subscript": "{{ kind['__class__'] }}",
    "a class by a filter": "{{ kind|attr('__class__') }}",
    "a class by map": "{{ images|map(attribute='__class__') }}",
    "a class of a label": "{{ labels.__class__ }}",
    "a label that is hidden": "{{ labels['_values'] }}",
    "a class of a loop": "{% for s in spots %}{{ loop.__class__ }}{% endfor %}",
    "a method": "{{ kind.format('x') }}",
    "a method that is not called": "{{ kind.format }}",
    "a method of a loop": "{% for s in spots %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "the template itself": "{{ self }}",
    "the context": "{{ context }}",
    "a global": "{{ range(10) }}",
    "another global": "{{ lipsum.__globals__ }}",
    "the escaping": "{{ escape() }}",
    "an assignment": "{% set kind = 'x' %}",
    "an assignment of a block": "{% set kind %}x{% endset %}",
    "a scope": "{% with a = 1 %}{{ a }}{% endwith %}",
    "a macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a call block": "{% call x() %}{% endcall %}",
    "a block": "{% block b %}{% endblock %}",
    "a filter block": "{% filter upper %}x{% endfilter %}",
    "an include": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}",
    "an import of names": "{% from 'os' import path %}",
    "an extension": "{% extends 'base' %}",
    "an unknown block": "{% do kind %}",
    "percent formatting": "{{ '%s' % kind }}",
    "a slice": "{{ kind[0:3] }}",
    "a list": "{{ [kind] }}",
    "a mapping": "{{ {'a': kind} }}",
    "arguments from a list": "{{ kind|truncate(*spots) }}",
    "the loop outside of it": "{% for s in spots %}{% endfor %}{{ loop.index }}",
    "the variable outside of its loop": "{% for s in spots %}{% endfor %}{{ s.file }}",
}

GROWTHS = {
    "multiplication": "{{ 'a' * 10**9 }}",
    "a power": "{{ 10**10**10 }}",
    "a centre": "{{ 'a'|center(1000000000) }}",
    "an indent": "{{ 'a'|indent(1000000000) }}",
    "a replacement": "{{ why|replace('', why) }}",
    "a format": "{{ '%1000000000d'|format(1) }}",
    "a word wrap": "{{ why|wordwrap(1) }}",
    "three loops": "{% for a in spots %}{% for b in spots %}{% for c in spots %}x{% endfor %}{% endfor %}{% endfor %}",
    "recursion": "{% for a in spots recursive %}{{ loop(spots) }}{% endfor %}",
    "many sums": "{{ " + "why~" * 900 + "why }}",
    "many additions": "{{ 1" + "+1" * 900 + " }}",
    "many filters": "{{ why" + "|title" * 600 + " }}",
    "deep parentheses": "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "deep negation": "{{ " + "not " * 900 + "1 }}",
    "deep blocks": "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "deep comparisons": "{{ " + "1 < (" * 600 + "1" + ")" * 600 + " }}",
    "many outputs": "{{ why }}" * 400 + "{{ imag }}",
    "opening braces": "{{" * 2000,
    "opening blocks": "{%-" * 1300,
    "opening comments": "{#" * 2000,
    "many ternaries": "{{ " + "1 if 1 else " * 300 + "1 }}",
    "many subscripts": "{{ labels" + "['a']" * 800 + " }}",
}


@pytest.mark.parametrize("text", [*ESCAPES.values(), *GROWTHS.values()], ids=[*ESCAPES, *GROWTHS])
def test_what_could_get_out_or_grow_is_refused_at_once(text: str) -> None:
    gc.disable()  # what other tests left in memory takes as long to look through as it likes
    try:
        began = time.thread_time()
        compile_template("{{ why }} " * 50)  # an ordinary one, as fast as this machine is now
        ordinary = time.thread_time() - began
        with pytest.raises(ValueError, match="expected"):
            compile_template(text)
        assert time.thread_time() - began < 100 * ordinary
    finally:
        gc.enable()


# --- what is bounded when a message is made ---------------------------------------------------------------------------

NESTED = "{% for a in spots %}{% for b in spots %}BODY{% endfor %}{% endfor %}"
COSTLY = {
    "loops that print": NESTED.replace("BODY", "x" * 3900),
    "loops that print values": NESTED.replace("BODY", "{{ a.file }}{{ b.spelled }}"),
    "loops that print nothing": NESTED.replace("BODY", "{% if a.file == 'x' %}y{% endif %}" * 60),
    "loops that filter": NESTED.replace("BODY", "{% if " + " ~ ".join(["a.file"] * 60) + " == 'x' %}y{% endif %}"),
    "loops with a condition": "{% for a in spots if a.file == 'x' %}{% endfor %}" * 50,
    "joins of joins": "{{ images|join(images|join(images|join(images|join('x')))) }}",
    "a long join": "{{ images|join(" + repr("x" * 3900) + ") }}",
    "sums that are only compared": "{% if (" + "~".join(["why"] * 64) + ")|upper == 'x' %}{% endif %}",
    "a huge number": "{{ " + "9" * 4000 + " }}",
    "the longest texts": "{{ why }}" * 290,
    "joins in conditions": "{% if images|join|title|title|title|title == 'x' %}{% endif %}" * 40,
}  # fmt: skip


@pytest.mark.parametrize("text", COSTLY.values(), ids=list(COSTLY))
def test_a_costly_template_ends_soon_with_a_bounded_text_or_an_error(text: str) -> None:
    template, given = compile_template(text), context(LARGEST, "en")
    tracemalloc.start()
    began = time.thread_time()
    try:
        assert len(template.render(given).encode()) <= MAX_OUTPUT
    except ValueError as err:
        assert "more than" in str(err)  # noqa: PT017 - either end is right
    finally:
        took, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert took < 2  # the deadline is a tenth of a second; tracing memory makes it slower
    assert peak < 8 << 20


def test_a_template_that_prints_too_much_is_stopped() -> None:
    template = compile_template(COSTLY["loops that print"])
    with pytest.raises(ValueError, match="more than 16384 bytes"):
        template.render(context(LARGEST, "en"))


def test_a_template_that_takes_too_long_is_stopped() -> None:
    template = compile_template(COSTLY["loops that print nothing"])
    with pytest.raises(ValueError, match="more than 100 ms"):
        template.render(context(LARGEST, "en"))


def test_what_a_place_lacks_is_said_with_the_line() -> None:
    template = compile_template("a\n{{ spots[0].file }}")
    with pytest.raises(ValueError, match=r"^the list has no element 0 in line 2$"):
        template.render({**context(EVENT, "en"), "spots": []})


def test_tables_of_the_grammar_and_of_the_environment_are_the_same() -> None:
    for name in FILTERS:
        value = "images" if name == "join" else "kind"
        assert compile_template(f"{{{{ {value}|{name} }}}}").render(context(EVENT, "en"))
    for name in TESTS:
        compile_template(f"{{{{ 1 is {name} }}}}").render(context(EVENT, "en"))


def test_jinja_is_loaded_only_where_there_is_a_template() -> None:
    code = "import sys, updater.messages.events; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
