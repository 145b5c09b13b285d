"""Which settings a registry's images get, and how aliases become one identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import problems, settings
from updater.config.network import Network
from updater.config.registries import mirror
from updater.config.settings import canonical, registry_for
from updater.model.image import ImageRef

TEXT = """\
network: {ca_file: /ca.pem, no_proxy: [internal]}
registries:
  - {host: r.example.com, concurrency: 1}
  - {host: r.example.com/team, concurrency: 2, network: {proxy: "http://proxy.example.com:3128"}}
  - {host: r.example.com/team/deep, concurrency: 3}
  - {host: "r.example.com:5000", concurrency: 5}
  - {host: registry-1.docker.io, concurrency: 6}
  - {host: a.example.com, aliases: [b.example.com, {name: c.example.com/mirror}, c.example.com/mirror/x]}
"""

MATCHES = [
    # host, repository, the concurrency of the entry that wins (4: no entry)
    ("r.example.com", "api", 1),
    ("r.example.com", "team", 2),
    ("r.example.com", "team/api", 2),
    ("r.example.com", "team-b/api", 1),
    ("r.example.com", "team/deep/api", 3),
    ("r.example.com", "team/deeper", 2),
    ("r.example.com:5000", "team/api", 5),
    ("docker.io", "library/nginx", 6),
    ("other.example.com", "team/api", 4),
]


@pytest.mark.parametrize(("host", "repository", "wanted"), MATCHES, ids=[f"{row[0]}/{row[1]}" for row in MATCHES])
def test_the_longest_match_at_a_path_boundary_wins(tmp_path: Path, host: str, repository: str, wanted: int) -> None:
    assert registry_for(settings(tmp_path, TEXT), host, repository).concurrency == wanted


@pytest.mark.parametrize("host", ["r.example.com", "other.example.com"], ids=["with an entry", "without one"])
def test_the_section_network_holds_for_every_registry(tmp_path: Path, host: str) -> None:
    found = registry_for(settings(tmp_path, TEXT), host, "api").network
    assert found == Network(ca_file=Path("/ca.pem"), no_proxy=("internal",))


def test_a_registry_overrides_the_network_key_by_key(tmp_path: Path) -> None:
    found = registry_for(settings(tmp_path, TEXT), "r.example.com", "team/x").network
    assert (found.ca_file, found.proxy) == (Path("/ca.pem"), "http://proxy.example.com:3128")


def test_a_repository_overrides_the_network_key_by_key(tmp_path: Path) -> None:
    entry = "repositories: [{url: https://git.example.com/x.git, network: {ca_file: own.pem}}]\n"
    [repository] = settings(tmp_path, TEXT + entry).repositories
    assert repository.network == Network(ca_file=tmp_path / "own.pem", no_proxy=("internal",))


ALIASES = [
    ("b.example.com/team/api:1.2", "a.example.com/team/api:1.2"),
    ("b.example.com:5000/team/api", "b.example.com:5000/team/api"),
    ("c.example.com/mirror/api", "a.example.com/api"),
    ("c.example.com/mirror/x/api", "a.example.com/api"),
    ("c.example.com/mirrored/api", "c.example.com/mirrored/api"),
    ("a.example.com/api@sha256:" + "0" * 64, "a.example.com/api@sha256:" + "0" * 64),
    ("nginx", "docker.io/library/nginx"),
]


@pytest.mark.parametrize(("spelled", "wanted"), ALIASES, ids=[row[0][:40] for row in ALIASES])
def test_an_alias_is_its_registry(tmp_path: Path, spelled: str, wanted: str) -> None:
    """Tag and digest stay as they are."""
    assert str(canonical(settings(tmp_path, TEXT), ImageRef.parse(spelled))) == wanted


RATES = [("10/s", 10.0), ("90/m", 1.5), ("3600/h", 1.0), ("86400/d", 1.0)]


@pytest.mark.parametrize(("text", "wanted"), RATES)
def test_a_rate_is_requests_a_second(tmp_path: Path, text: str, wanted: float) -> None:
    [entry] = settings(tmp_path, f"registries: [{{host: r.example.com, rate: {text}}}]\n").registries
    assert entry.rate == wanted


DURATIONS = [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1h30m", 5400), ("1d12h", 129600)]


@pytest.mark.parametrize(("text", "wanted"), DURATIONS)
def test_a_duration_is_seconds(tmp_path: Path, text: str, wanted: int) -> None:
    [item] = settings(tmp_path, f"images: [{{image: a.io/a, poll: {{interval: {text}}}}}]\n").items
    assert item.poll_interval == wanted


def test_hosts_are_spelled_as_images_spell_them(tmp_path: Path) -> None:
    text = "registries: [{host: R.Example.com/team/, trusted_realms: [Auth.Example.com], endpoint: 'Mirror:5000'}]\n"
    [entry] = settings(tmp_path, text).registries
    assert (entry.host, entry.trusted_realms, entry.endpoint) == (
        "r.example.com/team",
        ("auth.example.com",),
        "mirror:5000",
    )


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("url: https://git.example.com/platform/fleet.git", "fleet"),
        ("url: https://git.example.com/platform/fleet/", "fleet"),
        ("url: http://127.0.0.1:8080/fleet.git", "fleet"),
        ("url: http://git.example.com/fleet.git, insecure: true", "fleet"),
        ("url: https://git.example.com/platform/fleet.git, name: main", "main"),
        (
            "url: 'git@a.io:p/fleet.git', credentials: {kind: ssh_key, private_key: 'env:K', known_hosts: 'env:H'}",
            "fleet",
        ),
    ],
)
def test_a_repository_is_named_by_its_url(tmp_path: Path, entry: str, name: str) -> None:
    [repository] = settings(tmp_path, f"repositories: [{{{entry}}}]\n").repositories
    assert repository.name == name


MIRRORS = """\
registries:
  - host: a.example.com
    aliases:
      - {name: b.example.com, must_exist: true}
      - b.example.com/plain
      - {name: c.example.com/x, must_exist: true}
  - {host: b.example.com, concurrency: 7}
"""


@pytest.mark.parametrize(
    ("spelled", "wanted"),
    [
        ("b.example.com/team/api:1.2", "b.example.com/team/api"),
        ("c.example.com/x/api@sha256:" + "0" * 64, "c.example.com/x/api"),
        ("b.example.com/plain/api", None),
        ("a.example.com/team/api", None),
        ("nginx", None),
    ],
    ids=["an alias", "a digest", "the longer one", "the registry itself", "another"],
)
def test_only_what_git_spells_by_such_an_alias_must_be_there(tmp_path: Path, spelled: str, wanted: str | None) -> None:
    found = mirror(settings(tmp_path, MIRRORS).registries, spelled)
    assert (str(found) if found else None) == wanted


def test_an_alias_at_which_tags_must_exist_may_have_an_entry_of_its_own(tmp_path: Path) -> None:
    """It is asked as another registry; its images are those of the registry that it is an alias of."""
    read = settings(tmp_path, MIRRORS)
    assert registry_for(read, "b.example.com", "team/api").concurrency == 7
    assert canonical(read, ImageRef.parse("b.example.com/team/api")).registry == "a.example.com"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIRRORS.replace("{name: b.example.com, must_exist: true}", "b.example.com"), "b.example.com"),
        (MIRRORS + "  - {host: d.example.com, aliases: [{name: b.example.com, must_exist: true}]}\n",
         "b.example.com (as an alias)"),
        ("registries: [{host: a.example.com, aliases: [{name: a.example.com, must_exist: true}]}]", "a.example.com"),
    ],
    ids=["an alias that nobody asks", "of two registries", "of itself"],
)  # fmt: skip
def test_no_other_name_is_used_twice(tmp_path: Path, text: str, name: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.found.startswith(f"the name {name!r} a second time")
