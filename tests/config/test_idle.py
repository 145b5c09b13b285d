"""Routes that tell nobody anything: warnings with their place, and none for what has its use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import marked, settings

BASE = """\
repositories: [{name: fleet, url: https://git.example.com/fleet.git}]
images: [{image: ghcr.io/acme/api, name: api}, {image: registry.example.com/team-a/**}]
clusters: [CLUSTERS]
notifications:
  channels: [{name: ops, kind: slack, url: 'env:A'}, {name: dev, kind: slack, url: 'env:B'}]
  routes:
"""
ALL = "{channels: [ops]}"


def warnings(tmp_path: Path, *routes: str, clusters: str = "{name: cloud, in_cluster: true}") -> list[str]:
    text = BASE.replace("CLUSTERS", clusters) + "".join(f"    - {route}\n" for route in routes)
    return [str(one).replace(f"{tmp_path}/", "") for one in settings(tmp_path, text).warnings]


UNKNOWN = [
    ("images: [§'team-b/*']", "images[0]", "images"),
    ("images: [api, §apy]", "images[1]", "images"),
    ("repositories: [§'shop-*']", "repositories[0]", "repositories"),
    ("clusters: [§clout]", "clusters[0]", "clusters"),
]


@pytest.mark.parametrize(("route", "where", "key"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_a_name_that_nothing_is_called_is_a_warning_at_its_place(
    tmp_path: Path, route: str, where: str, key: str
) -> None:
    text, at = marked(f"    - {{channels: [ops], {route}}}")
    line, _, column = at.partition(":")
    [told] = warnings(tmp_path, text.strip().removeprefix("- "))
    glob = route.partition("§")[2].strip("']")
    place = f"updater.yaml:{int(line) + BASE.count(chr(10))}:{column}: notifications.routes[0].{where}"
    none = f"which none of the {key} of the configuration is called"
    assert told == f"{place}: found {glob!r}, {none}, expected a name, or a glob, of one that is"


@pytest.mark.parametrize(
    "route",
    [
        "images: [api, 'ghcr.io/*', 'registry.example.com/team-a/*', '*']",
        "repositories: [fleet, 'f*'], clusters: [cloud, '*']",
        "applications: ['shop-*'], projects: [team-a]",
    ],
    ids=["images", "repositories and clusters", "what only Git knows"],
)
def test_names_that_are_there_or_may_be_are_no_warning(tmp_path: Path, route: str) -> None:
    assert warnings(tmp_path, f"{{channels: [ops], {route}}}") == []


def test_a_cluster_of_a_folder_has_any_name(tmp_path: Path) -> None:
    assert warnings(tmp_path, "{channels: [ops], clusters: [edge]}", clusters="{directory: kubes}") == []


SHADOWED = [
    ("all before all", ALL, ALL),
    ("all before a few", ALL, "{channels: [ops], events: ['image_*'], severity: error, images: [api]}"),
    ("more channels", "{channels: [dev, ops], for: 5m}", "{channels: [ops, dev], group: 1m}"),
    ("the same and more names", "{channels: [ops], images: [api, 'g*']}", "{channels: [ops], images: [api]}"),
    ("a wider glob of kinds", "{channels: [ops], events: ['*_failed']}", "{channels: [ops], events: [sync_failed]}"),
]


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in SHADOWED], ids=[row[0] for row in SHADOWED])
def test_a_route_that_nothing_reaches_is_a_warning(tmp_path: Path, first: str, second: str) -> None:
    [told] = warnings(tmp_path, first, second)
    assert told == (
        "updater.yaml:8:7: notifications.routes[1]: found a route that nothing reaches (the one at "
        "updater.yaml:7:7 takes it all), expected the narrower route first"
    )


REACHED = [
    ("the narrow one first", "{channels: [ops], events: ['image_*']}", ALL),
    ("another channel", ALL, "{channels: [dev]}"),
    ("one more channel", ALL, "{channels: [ops, dev]}"),
    ("other kinds", "{channels: [ops], events: ['image_*']}", "{channels: [ops], events: ['sync_*']}"),
    ("less severe", "{channels: [ops], severity: error}", "{channels: [ops], severity: warning}"),
    ("other images", "{channels: [ops], images: [api]}", "{channels: [ops], images: ['ghcr.io/*']}"),
    ("a reminder", ALL, "{channels: [ops], remind: 7d}"),
]


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in REACHED], ids=[row[0] for row in REACHED])
def test_a_route_that_something_reaches_is_none(tmp_path: Path, first: str, second: str) -> None:
    assert warnings(tmp_path, first, second) == []
