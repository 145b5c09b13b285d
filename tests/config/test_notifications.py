"""The section `notifications`: who is told what, with every mistake at its place; and no cost where it is absent."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.lab.config import marked, problems, rows, settings, write
from updater.config.network import Network
from updater.config.notifications import Notifications, Route
from updater.config.problems import known_keys
from updater.config.schema import schema
from updater.config.settings import Settings
from updater.model.event import Kind, Severity
from updater.notifiers.base import Notifier
from updater.plugins import members
from updater.sync.windows import Window

CANARY = "hunter2-canary"
SECTION = "notifications:\n  channels:\n    - {name: ops, kind: dingtalk, url: 'env:HOOK'}\n"
ROUTE = SECTION + "  routes:\n    - {channels: [ops], %s}\n"
CHANNEL = "notifications:\n  channels:\n    - {kind: dingtalk, url: 'env:HOOK', %s}\n"
QUIET = "quiet: [{%s}]"


def section(loaded: Settings) -> Notifications:
    """Return the section of a file that has it."""
    assert loaded.notifications is not None
    return loaded.notifications


def test_without_the_section_nobody_is_told_anything(tmp_path: Path) -> None:
    assert settings(tmp_path, "images: []\n").notifications is None


def test_an_empty_section_is_the_section_with_its_defaults(tmp_path: Path) -> None:
    found = section(settings(tmp_path, "notifications: {}\n"))
    assert found.model_dump() == {"language": "en", "baseline": "silent", "channels": (), "routes": ()}


def test_what_a_route_does_not_say_is_everything_at_once_and_at_any_time(tmp_path: Path) -> None:
    [route] = section(settings(tmp_path, SECTION + "  routes: [{channels: [ops]}]\n")).routes
    assert route.model_dump() == {
        "events": ("*",),
        "severity": Severity.INFO,
        "images": ("*",),
        "repositories": ("*",),
        "applications": ("*",),
        "projects": ("*",),
        "clusters": ("*",),
        "lasts": 0,
        "group": 30,
        "quiet": (),
        "remind": None,
        "channels": ("ops",),
    }
    assert route.kinds == frozenset(Kind)


def test_what_a_route_says_holds(tmp_path: Path) -> None:
    text = ROUTE % (
        "events: [image_*, sync_failed], severity: warning, images: ['team-a/*', api], repositories: [fl*],"
        "applications: [a], projects: [b], clusters: [c], for: 5m, group: 0s, remind: 1d, quiet: ["
        "{schedule: '0 22 * * *', duration: 9h},"
        "{kind: allow, schedule: '0 8 * * *', duration: 2h, time_zone: Asia/Shanghai}]"
    )
    [route] = section(settings(tmp_path, text)).routes
    assert (route.events, route.severity) == (("image_*", "sync_failed"), Severity.WARNING)
    assert (route.images, route.repositories) == (("team-a/*", "api"), ("fl*",))
    assert (route.applications, route.projects, route.clusters) == (("a",), ("b",), ("c",))
    assert (route.lasts, route.group, route.remind) == (300, 0, 86_400)
    assert all(isinstance(window, Window) for window in route.quiet)
    assert [(window.kind, window.time_zone) for window in route.quiet] == [("deny", "UTC"), ("allow", "Asia/Shanghai")]


GLOBS = [
    (["image_*"], {Kind.IMAGE_UPDATED}),
    (["*_recovered"], {Kind.SCAN_RECOVERED, Kind.HEALTH_RECOVERED, Kind.CLUSTER_RECOVERED}),
    (["moved_tag", "update_f*"], {Kind.MOVED_TAG, Kind.UPDATE_FAILED}),
    (["*"], set(Kind)),
]


@pytest.mark.parametrize(("events", "kinds"), GLOBS, ids=[" ".join(events) for events, _ in GLOBS])
def test_events_are_kinds_or_globs_over_them(events: list[str], kinds: set[Kind]) -> None:
    assert Route(events=tuple(events), channels=("ops",)).kinds == kinds


def test_a_channel_named_twice_in_a_route_is_told_once(tmp_path: Path) -> None:
    [route] = section(settings(tmp_path, SECTION + "  routes: [{channels: [ops, ops]}]\n")).routes
    assert route.channels == ("ops",)


def test_a_channel_is_its_member_and_is_named_by_its_kind(tmp_path: Path) -> None:
    channels = "[{kind: dingtalk, url: 'env:A'}, {name: b, kind: wecom, url: 'env:B'}]"
    found = section(settings(tmp_path, f"notifications: {{language: zh, channels: {channels}}}\n"))
    assert [channel.title for channel in found.channels] == ["dingtalk", "b"]
    assert all(isinstance(channel, members(Notifier)[str(channel.model_dump()["kind"])]) for channel in found.channels)
    assert (found.language, found.channels[0].language, found.channels[0].templates) == ("zh", None, {})


def test_a_channel_overrides_the_network_key_by_key(tmp_path: Path) -> None:
    text = "network: {ca_file: /ca.pem, no_proxy: [a]}\n" + CHANNEL % "network: {no_proxy: [], proxy: 'env:PROXY'}"
    [channel] = section(settings(tmp_path, text)).channels
    assert (channel.network.ca_file, channel.network.no_proxy) == (Path("/ca.pem"), ())
    assert channel.network.proxy is not None


def test_the_section_network_holds_for_every_channel(tmp_path: Path) -> None:
    [channel] = section(settings(tmp_path, "network: {ca_file: /ca.pem}\n" + SECTION)).channels
    assert channel.network == Network(ca_file=Path("/ca.pem"))


def test_secrets_are_kept_as_references_and_printed_as_stars(tmp_path: Path) -> None:
    loaded = settings(tmp_path, CHANNEL % "secret: 'file:robot'")
    assert "HOOK" not in repr(loaded)
    assert "robot" not in repr(loaded)


MISTAKES = [
    # what, the file with § before the mistake, where, found, expected (* = contains)
    ("list for the section", "notifications: §[x]\n", "notifications", "a list", "a mapping"),
    ("nothing for the section", "§notifications:\n", "notifications", "nothing", "a mapping"),
    ("section misspelled", "§notification: {}\n", "notification", "unknown key `notification`", "`notifications`"),
    (
        "unknown key",
        "notifications: {§chanels: []}\n",
        "notifications.chanels",
        "unknown key `chanels`",
        "`channels`",
    ),
    (
        "key of the file within the section",
        "notifications: {§defaults: {}}\n",
        "notifications.defaults",
        "unknown key `defaults`",
        "one of baseline, channels, language, routes",
    ),
    ("language", "notifications: {language: §de}\n", "notifications.language", "'de'", "one of en, zh"),
    ("baseline", "notifications: {baseline: §loud}\n", "notifications.baseline", "'loud'", "one of silent, tell"),
    (
        "channel that is a word",
        "notifications: {channels: [§dingtalk]}\n",
        "notifications.channels[0]",
        "'dingtalk'",
        "a mapping with its kind",
    ),
    (
        "channel without a kind",
        "notifications: {channels: [§{url: 'env:A'}]}\n",
        "notifications.channels[0].kind",
        "no `kind`",
        f"a kind, one of {', '.join(members(Notifier))}",
    ),
    (
        "channel of no kind, its other keys unmentioned",
        "notifications: {channels: [{kind: §pager, number: 1}]}\n",
        "notifications.channels[0].kind",
        "'pager'",
        f"one of {', '.join(members(Notifier))}",
    ),
    (
        "unknown key of a channel",
        CHANNEL % "§secrt: 'env:X'",
        "notifications.channels[0].secrt",
        "unknown key `secrt`",
        "`secret`",
    ),
    (
        "key of another kind of channel",
        "notifications: {channels: [{kind: wecom, url: 'env:A', §secret: 'env:B'}]}\n",
        "notifications.channels[0].secret",
        "unknown key `secret`",
        "*one of at, base_url, kind, language, name, network, templates, token, url",
    ),
    (
        "unknown key deep in a channel",
        CHANNEL % "at: {§mobile: []}",
        "notifications.channels[0].at.mobile",
        "unknown key `mobile`",
        "`mobiles`",
    ),
    (
        "neither url nor token",
        "notifications: {channels: [{kind: §dingtalk}]}\n",
        "notifications.channels[0].kind",
        "neither `url` nor `token`",
        "one of them",
    ),
    (
        "both url and token",
        "notifications: {channels: [{kind: §dingtalk, url: 'env:A', token: 'env:B'}]}\n",
        "notifications.channels[0].kind",
        "both `url` and `token`",
        "one of them",
    ),
    (
        "plain HTTP beyond loopback",
        CHANNEL % "base_url: §'http://gateway.example.com'",
        "notifications.channels[0].base_url",
        "plain HTTP beyond loopback",
        "https://host[:port][/path]",
    ),
    (
        "proxy of a channel",
        CHANNEL % "network: {proxy: §proxy}",
        "notifications.channels[0].network.proxy",
        "'proxy'",
        "an address such as https://host:port",
    ),
    (
        "template where there is no text",
        "notifications: {channels: [{kind: webhook, url: 'env:A', templates: §{'*': x}}]}\n",
        "notifications.channels[0].templates",
        "templates for what is data, not text",
        "a channel without them",
    ),
    (
        "name of two lines",
        'notifications: {channels: [{kind: dingtalk, url: "env:A", name: §"a\\nb"}]}\n',
        "notifications.channels[0].name",
        "'a\\nb'",
        "a name in one line",
    ),
    ("route that is a word", SECTION + "  routes: [§ops]\n", "notifications.routes[0]", "'ops'", "a mapping"),
    (
        "route to nowhere",
        SECTION + "  routes: [§{severity: info}]\n",
        "notifications.routes[0].channels",
        "no `channels`",
        "`channels`",
    ),
    (
        "route to an empty list",
        SECTION + "  routes: [{channels: §[]}]\n",
        "notifications.routes[0].channels",
        "an empty list",
        "a list of at least 1",
    ),
    (
        "route to an unknown channel",
        SECTION + "    - {kind: slack, url: 'env:A'}\n  routes: [{channels: [ops, §dingtalk]}]\n",
        "notifications.routes[0].channels[1]",
        "unknown channel 'dingtalk'",
        "one of ops, slack",
    ),
    (
        "route to a glob of channels",
        SECTION + "  routes: [{channels: [§'o*']}]\n",
        "notifications.routes[0].channels[0]",
        "unknown channel 'o*'",
        "one of ops",
    ),
    (
        "route where there is no channel",
        "notifications: {routes: [{channels: [§ops]}]}\n",
        "notifications.routes[0].channels[0]",
        "unknown channel 'ops'",
        "one that is listed",
    ),
    (
        "route of an unknown repository",
        "repositories: [{url: https://git.example.com/fleet.git}]\n"
        + ROUTE % "repositories: ['f*', fleet, §flet, 'x*']",
        "notifications.routes[0].repositories[2]",
        "unknown repository 'flet'",
        "one of fleet",
    ),
    (
        "unknown kind of event",
        ROUTE % "events: [image_*, §imge_updated]",
        "notifications.routes[0].events[1]",
        "'imge_updated' (it matches no kind of event)",
        "*a kind such as image_updated,*",
    ),
    (
        "glob over no kind of event",
        ROUTE % "events: [§hlth_*]",
        "notifications.routes[0].events[0]",
        "'hlth_*' (it matches no kind of event)",
        "*health_degraded*",
    ),
    (
        "no kind of event",
        ROUTE % "events: §[]",
        "notifications.routes[0].events",
        "an empty list",
        "a list of at least 1",
    ),
    (
        "severity",
        ROUTE % "severity: §fatal",
        "notifications.routes[0].severity",
        "'fatal'",
        "one of info, warning, error",
    ),
    ("no image", ROUTE % "images: §[]", "notifications.routes[0].images", "an empty list", "a list of at least 1"),
    (
        "empty name",
        ROUTE % "clusters: [§'']",
        "notifications.routes[0].clusters[0]",
        "''",
        'a name, or a glob such as "team-a/*"',
    ),
    (
        "duration of for",
        ROUTE % "for: §5",
        "notifications.routes[0].for",
        "5",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "name that only Python uses",
        ROUTE % "§lasts: 5m",
        "notifications.routes[0].lasts",
        "unknown key `lasts`",
        "*`",
    ),
    (
        "reminder every minute",
        ROUTE % "remind: §1m",
        "notifications.routes[0].remind",
        "'1m' (what comes more often than every hour is no longer read)",
        "at least 1h, or null",
    ),
    (
        "window of no kind",
        ROUTE % (QUIET % "kind: §maybe, schedule: '0 8 * * *', duration: 8h"),
        "notifications.routes[0].quiet[0].kind",
        "'maybe'",
        "one of allow, deny",
    ),
    (
        "window without a length",
        ROUTE % "quiet: [§{schedule: '0 8 * * *'}]",
        "notifications.routes[0].quiet[0].duration",
        "no `duration`",
        "`duration`",
    ),
    (
        "cron of four fields",
        ROUTE % (QUIET % "schedule: §'0 8 * *', duration: 8h"),
        "notifications.routes[0].quiet[0].schedule",
        "'0 8 * *'",
        "five fields: minute hour day month weekday",
    ),
    (
        "unknown key of a window",
        ROUTE % (QUIET % "schedule: '0 8 * * *', duration: 8h, §zone: UTC"),
        "notifications.routes[0].quiet[0].zone",
        "unknown key `zone`",
        "`time_zone`",
    ),
    (
        "template for no kind of event",
        CHANNEL % "templates: {image_*: x, §imge_updated: x}",
        "notifications.channels[0].templates.imge_updated",
        "a template for 'imge_updated', no kind of event",
        "*a kind such as image_updated,*",
    ),
    (
        "template that is no text",
        CHANNEL % "templates: {'*': §[x]}",
        "notifications.channels[0].templates.*",
        "a list",
        "a text",
    ),
]


@pytest.mark.parametrize(
    ("file", "place", "found", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_one_mistake_one_row(tmp_path: Path, file: str, place: str, found: str, expected: str) -> None:
    """It names file, line and column, the setting, what was found and what was expected."""
    text, at = marked(file)
    [(where, was, wanted)] = rows(tmp_path, text)
    assert where == f"updater.yaml:{at} {place}"
    assert was == found
    assert expected.strip("*") in wanted if expected.startswith("*") else wanted == expected, wanted


TEMPLATES = [
    ("no Jinja", '"first\\n{% if %}"', "a mistake in line 2*", "a Jinja template"),
    ("unknown filter", '"{{ new | shout }}"', "unknown filter `shout` in line 1", "one of capitalize, *"),
    ("too long", f"'{'x' * 4_097}'", "4097 characters", "at most 4096"),
    ("empty", "' '", "' '", "a Jinja template that says something"),
]


@pytest.mark.parametrize(("text", "was", "wanted"), [row[1:] for row in TEMPLATES], ids=[row[0] for row in TEMPLATES])
def test_templates_are_compiled_when_they_are_read(tmp_path: Path, text: str, was: str, wanted: str) -> None:
    """A template that does not parse would otherwise fail when the first message is due."""
    file, at = marked(CHANNEL % f'templates: {{image_updated: "fine {{{{ new }}}}", "image_*": §{text}}}')
    [(where, found, expected)] = rows(tmp_path, file)
    assert where == f"updater.yaml:{at} notifications.channels[0].templates.image_*"
    assert (fnmatchcase(found, was), fnmatchcase(expected, wanted)) == (True, True)


def test_a_template_may_be_long(tmp_path: Path) -> None:
    text = CHANNEL % f"templates: {{'*': '{'x' * 4_000}'}}"
    [channel] = section(settings(tmp_path, text)).channels
    assert len(channel.templates["*"]) == 4_000


LITERALS = [
    (
        "url",
        f"notifications: {{channels: [{{kind: dingtalk, url: §'https://oapi.dingtalk.com/robot/send?x={CANARY}'}}]}}\n",
    ),
    ("token", f"notifications: {{channels: [{{kind: dingtalk, token: §{CANARY}}}]}}\n"),
    ("secret", CHANNEL % f"secret: §SEC{CANARY}"),
    ("proxy", CHANNEL % f"network: {{proxy: §'http://ci:{CANARY}@proxy.example.com'}}"),
]


@pytest.mark.parametrize("file", [row[1] for row in LITERALS], ids=[row[0] for row in LITERALS])
def test_a_literal_secret_is_refused_and_not_printed(tmp_path: Path, file: str) -> None:
    text, at = marked(file)
    [problem] = problems(tmp_path, text)
    assert f"{problem.line}:{problem.column}" == at
    assert problem.found.startswith("a literal secret")
    assert CANARY not in str(problem)


@pytest.mark.parametrize("entry", ["kind: dingtalk, token: 'env:A'", "kind: telegram, token: 'env:A', chat_id: '1'"])
@pytest.mark.parametrize("address", [f"https://ci:{CANARY}@gateway", f"https://gateway/?token={CANARY}"])
def test_a_secret_in_the_address_of_a_gateway_is_refused_and_not_printed(
    tmp_path: Path, entry: str, address: str
) -> None:
    [problem] = problems(tmp_path, f"notifications: {{channels: [{{{entry}, base_url: '{address}'}}]}}\n")
    assert problem.where == "notifications.channels[0].base_url"
    assert CANARY not in str(problem)


ELSEWHERE = [
    ("an address alone", f"[§'https://hooks.example.com/services/{CANARY}']"),
    ("an address for a kind", f"[{{kind: §'https://hooks.example.com/services/{CANARY}'}}]"),
    ("an address of apprise as a list", f"§'slack://{CANARY}/{CANARY}'"),
    ("an address for a section", f"[{{kind: dingtalk, url: 'env:A', at: §'https://hooks.example.com/{CANARY}'}}]"),
    ("a login for all headers", f"[{{kind: webhook, url: 'env:A', headers: §'Bearer {CANARY}'}}]"),
    ("a login in the headers", f"[{{kind: webhook, url: 'env:A', headers: {{Authorization: §'Bearer {CANARY}'}}}}]"),
    ("a topic", f"[{{kind: ntfy, topic: §'{CANARY}/x'}}]"),
]


@pytest.mark.parametrize("channels", [row[1] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE])
def test_what_could_be_a_secret_is_not_printed_with_any_mistake(tmp_path: Path, channels: str) -> None:
    text, at = marked(f"notifications: {{channels: {channels}, routes: [{{channels: [x]}}]}}\n")
    report = problems(tmp_path, text)
    assert at in {f"{problem.line}:{problem.column}" for problem in report}
    assert CANARY not in "\n".join(map(str, report))


TWICE = [
    ("two names", "{name: a, kind: slack, url: 'env:A'}, {name: §a, kind: wecom, url: 'env:A'}", "a", "1:29"),
    ("two of a kind", "{kind: slack, url: 'env:A'}, {url: 'env:B', kind: §slack}", "slack", "1:29"),
    ("a name and a kind", "{name: slack, kind: wecom, url: 'env:A'}, {kind: §slack, url: 'env:B'}", "slack", "1:29"),
    ("no name is none", "{name: null, kind: slack, url: 'env:A'}, {kind: §slack, url: 'env:B'}", "slack", "1:41"),
]


@pytest.mark.parametrize(("entries", "name", "first"), [row[1:] for row in TWICE], ids=[row[0] for row in TWICE])
def test_a_name_used_twice_names_both_places(tmp_path: Path, entries: str, name: str, first: str) -> None:
    text, at = marked(f"notifications: {{channels: [{entries}]}}\n")
    [(where, found, expected)] = rows(tmp_path, text)
    assert where.startswith(f"updater.yaml:{at} notifications.channels[1].")
    assert (found, expected) == (
        f"the name '{name}' a second time (first at updater.yaml:{first})",
        "a name of its own",
    )


def test_all_mistakes_come_in_one_report(tmp_path: Path) -> None:
    """A channel that is wrong hides no other, and routes may name it; what stands outside is said too."""
    text = """\
        log: {level: loud}
        notifications:
          channels:
            - {name: a, kind: pager}
            - {name: b, kind: slack, url: plain}
            - {name: c, kind: dingtalk, url: "env:A", network: {proxi: x}}
          routes:
            - {channels: [a, b, c, d], for: x}
            - {channels: [c], events: [zzz]}
          languages: en
        """
    assert [(problem.line, problem.where) for problem in problems(tmp_path, text)] == [
        (1, "log.level"),
        (4, "notifications.channels[0].kind"),
        (5, "notifications.channels[1].url"),
        (6, "notifications.channels[2].network.proxi"),
        (8, "notifications.routes[0].channels[3]"),
        (8, "notifications.routes[0].for"),
        (9, "notifications.routes[1].events[0]"),
        (10, "notifications.languages"),
    ]


def test_a_wrong_network_is_one_mistake_however_many_channels_inherit_it(tmp_path: Path) -> None:
    text, at = marked("network: {proxy: §x}\n" + SECTION + "    - {kind: slack, url: 'env:A'}\n")
    assert [place for place, _, _ in rows(tmp_path, text)] == [f"updater.yaml:{at} network.proxy"]


def test_channels_and_routes_of_all_files_are_joined(tmp_path: Path) -> None:
    write(tmp_path, "notifications: {language: zh, channels: [{kind: slack, url: 'env:A'}]}\n", "conf.d/a.yaml")
    write(tmp_path, "notifications: {routes: [{channels: [ops]}]}\n", "conf.d/b.yaml")
    found = section(settings(tmp_path, "include: [conf.d/*.yaml]\n" + SECTION + "  routes: [{channels: [slack]}]\n"))
    assert [channel.title for channel in found.channels] == ["ops", "slack"]
    assert [route.channels for route in found.routes] == [("slack",), ("ops",)]
    assert found.language == "zh"


BETWEEN = [
    (
        "a name",
        "notifications: {channels: [{name: ops, kind: slack, url: 'env:A'}]}\n",
        "b.yaml:1:35 notifications.channels[0].name",
        "the name 'ops' a second time (first at updater.yaml:4:8)",
    ),
    (
        "a setting",
        "notifications: {language: zh}\n",
        "b.yaml:1:17 notifications.language",
        "the key a second time (first at updater.yaml:5:3)",
    ),
    (
        "a mistake",
        "notifications: {routes: [{channels: [pager]}]}\n",
        "b.yaml:1:38 notifications.routes[0].channels[0]",
        "unknown channel 'pager'",
    ),
]


@pytest.mark.parametrize(("other", "place", "found"), [row[1:] for row in BETWEEN], ids=[row[0] for row in BETWEEN])
def test_mistakes_between_files_name_both(tmp_path: Path, other: str, place: str, found: str) -> None:
    write(tmp_path, other, "b.yaml")
    text = "include: [b.yaml]\n" + SECTION + "  language: en\n"
    assert [row[:2] for row in rows(tmp_path, text)] == [(place, found)]


def test_the_schema_knows_every_kind_of_channel_and_every_key() -> None:
    document = schema()
    where = document["properties"]["notifications"]["$ref"].removeprefix("#/$defs/")
    channels = document["$defs"][where]["properties"]["channels"]["items"]["discriminator"]["mapping"]
    assert set(channels) == set(members(Notifier))
    entries = [document["$defs"][ref.removeprefix("#/$defs/")]["properties"] for ref in channels.values()]
    assert {key for entry in entries for key in entry} == known_keys("notifications")["notifications.channels[]"]
    assert all("network" in entry for entry in entries)
    assert set(document["$defs"]["Route"]["properties"]) == known_keys("notifications")["notifications.routes[]"]
    assert "for" in document["$defs"]["Route"]["properties"]


def test_every_setting_of_a_channel_says_what_it_means() -> None:
    document = schema()
    channels = [model for name, model in document["$defs"].items() if name.endswith("Channel")]
    assert len(channels) == len(members(Notifier))
    assert [model["title"] for model in channels if not model.get("description")] == []
    silent = [f"{m['title']}.{key}" for m in channels for key, entry in m["properties"].items()
              if key != "kind" and not entry.get("description")]  # fmt: skip
    assert silent == []


PROGRAM = """
import json, sys
from pathlib import Path
from updater.config.load import load
from updater.errors import ConfigError
try:
    load(Path(sys.argv[1]), {})
except ConfigError:
    pass
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("updater.notifiers", "jinja2")))))
"""


def _imported(file: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "images: []\n",
        "imags: []\n",
        "log: {levl: info}\nimages: [{image: x, policy: {kind: best}}]\n",
        "notifcations: {}\n",
    ],
    ids=["good", "wrong at the top", "wrong below", "section misspelled"],
)
def test_a_file_without_the_section_loads_no_notifier(tmp_path: Path, text: str) -> None:
    """Memory of a daemon that tells nobody anything is not spent on it, also where its file is broken."""
    assert _imported(write(tmp_path, text)) == []


def test_a_file_with_the_section_loads_the_family_and_no_template_engine(tmp_path: Path) -> None:
    found = _imported(write(tmp_path, SECTION))
    assert "updater.notifiers.dingtalk" in found
    assert [name for name in found if name.startswith("jinja2")] == []
