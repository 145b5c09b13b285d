"""Clusters, applications, how they are synced, and the logins that repositories share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.config import marked, rows, settings, write
from updater.config.load import load
from updater.config.network import Network
from updater.config.repositories import RepositorySettings, below, same
from updater.config.schema import schema
from updater.config.settings import Settings, repository_for
from updater.errors import ConfigError
from updater.git.credentials.basic import Basic
from updater.git.credentials.ssh_key import SshKey
from updater.git.credentials.token import Token

CLUSTER = "clusters:\n  - {name: a, in_cluster: true, %s}\n"
KUBE = "clusters:\n  - {name: a, kubeconfig: 'env:KUBE', %s}\n"
FOLDER = "clusters:\n  - {directory: clusters, %s}\n"
TOKEN = "git_hosts: [{host: g.example.com, credentials: {kind: token, token: 'env:T'}}]\n"
PLACES = "one of kubeconfig, in_cluster, directory"
FLEET = "repositories: [{url: https://git.example.com/fleet.git}]\n"


def test_a_cluster_has_these_defaults(tmp_path: Path) -> None:
    [cluster] = settings(tmp_path, "clusters: [{name: home, in_cluster: true}]\n").clusters
    assert cluster.model_dump() == {
        "name": "home",
        "kubeconfig": None,
        "context": None,
        "in_cluster": True,
        "directory": None,
        "labels": {},
        "exec": (),
        "impersonate": None,
        "concurrency": 10,
        "rate": 20.0,
        "network": {"ca_file": None, "proxy": None, "no_proxy": ()},
    }


def test_a_cluster_takes_everything_that_it_may(tmp_path: Path) -> None:
    text = (
        "clusters: [{name: cloud, kubeconfig: 'file:cloud.kubeconfig', context: prod, labels: {tier: '1'},"
        " exec: [aliyun, /opt/login], impersonate: 'system:serviceaccount:ns:name', concurrency: 3, rate: 100/m}]\n"
    )
    [cluster] = settings(tmp_path, text).clusters
    assert cluster.kubeconfig is not None
    assert cluster.kubeconfig.reference == f"file:{tmp_path}/cloud.kubeconfig"
    assert (cluster.context, cluster.labels, cluster.exec) == ("prod", {"tier": "1"}, ("aliyun", "/opt/login"))
    assert (cluster.impersonate, cluster.concurrency) == ("system:serviceaccount:ns:name", 3)
    assert cluster.rate == pytest.approx(100 / 60)


def test_a_cluster_may_have_no_limit(tmp_path: Path) -> None:
    assert settings(tmp_path, CLUSTER % "rate: null").clusters[0].rate is None


def test_folders_count_from_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, "clusters: [{directory: kubes, exec: [aliyun]}]\napplications: [{directory: apps}]\n", "sub/a.yaml")
    loaded = settings(tmp_path, "include: [sub/a.yaml]\n")
    assert loaded.clusters[0].directory == tmp_path / "sub/kubes"
    assert loaded.applications[0].directory == tmp_path / "sub/apps"


def test_clusters_and_applications_of_several_files_are_joined(tmp_path: Path) -> None:
    write(tmp_path, "clusters: [{name: b, in_cluster: true}]\napplications: [{directory: b}]\n", "b.yaml")
    text = "include: [b.yaml]\nclusters: [{name: a, kubeconfig: 'env:A'}]\napplications: [{directory: a}]\n"
    loaded = settings(tmp_path, text)
    assert [cluster.name for cluster in loaded.clusters] == ["a", "b"]
    assert [entry.directory for entry in loaded.applications] == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("", "applications"),
        ("path: apps/prod", "apps/prod"),
        ("path: ./apps//prod/", "apps/prod"),
        ("path: .", "."),
        ("path: ./", "."),
    ],
    ids=["nothing", "a folder", "needless parts", "the root", "the root with a slash"],
)
def test_the_folder_of_applications_is_kept_short(tmp_path: Path, path: str, kept: str) -> None:
    [entry] = settings(tmp_path, FLEET + f"applications: [{{repository: fleet, {path}}}]\n").applications
    assert (entry.repository, entry.path, entry.directory) == ("fleet", kept, None)


def test_syncing_has_these_defaults(tmp_path: Path) -> None:
    assert settings(tmp_path, "").sync.model_dump() == {"poll": 30, "resync": 600, "deadline": 600}


def test_without_sections_there_is_nothing_to_deliver(tmp_path: Path) -> None:
    loaded = settings(tmp_path, "")
    assert (loaded.clusters, loaded.applications, loaded.git_hosts) == ((), (), ())


@pytest.mark.parametrize(
    ("own", "whole"),
    [
        ("", Network(proxy="http://p:1", no_proxy=("a",))),
        ("network: {proxy: 'http://q:2'}", Network(proxy="http://q:2", no_proxy=("a",))),
        ("network: {proxy: null, no_proxy: []}", Network()),
    ],
    ids=["inherited", "one key", "every key"],
)
def test_the_network_of_a_cluster_and_of_a_git_host_is_merged_key_by_key(
    tmp_path: Path, own: str, whole: Network
) -> None:
    text = (
        "network: {proxy: 'http://p:1', no_proxy: [a]}\n" + CLUSTER % own + "git_hosts: [{host: g.example.com, %s}]\n"
    )
    loaded = settings(tmp_path, text % own)
    assert (loaded.clusters[0].network, loaded.git_hosts[0].network) == (whole, whole)


MISTAKES = [
    # what, the file with § before the mistake, where, found, expected
    ("sections that are no list", "clusters: §{}\n", "clusters", "an empty mapping", "a list"),
    ("applications that are no list", "applications: §{}\n", "applications", "an empty mapping", "a list"),
    ("an entry that is no mapping", "clusters: [§cloud]\n", "clusters[0]", "'cloud'", "a mapping"),
    ("unknown key", CLUSTER % "§lables: {}", "clusters[0].lables", "unknown key `lables`", "`labels`"),
    (
        "kubeconfig as a path",
        "clusters: [{name: a, kubeconfig: §cloud.yaml}]\n",
        "clusters[0].kubeconfig",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "kubeconfig written out",
        "clusters: [{name: a, kubeconfig: §{users: [{token: hunter2}]}}]\n",
        "clusters[0].kubeconfig",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "kubeconfig of a later version",
        "clusters: [{name: a, kubeconfig: §'k8s:ns/name#key'}]\n",
        "clusters[0].kubeconfig",
        "a text (not shown) (a k8s: secret reference is not supported yet)",
        "env:NAME or file:/path",
    ),
    ("no place", "clusters:\n  - §{name: a}\n", "clusters[0]", "no place", PLACES),
    ("no place but false", "clusters:\n  - §{name: a, in_cluster: false}\n", "clusters[0]", "no place", PLACES),
    (
        "two places",
        "clusters: [{name: a, kubeconfig: 'env:A', in_cluster: §true}]\n",
        "clusters[0].in_cluster",
        "`kubeconfig` and `in_cluster`",
        PLACES,
    ),
    (
        "three places",
        "clusters: [{kubeconfig: 'env:A', in_cluster: §true, directory: x}]\n",
        "clusters[0].in_cluster",
        "`kubeconfig` and `in_cluster` and `directory`",
        PLACES,
    ),
    (
        "a kubeconfig without a name",
        "clusters: [{kubeconfig: §'env:A'}]\n",
        "clusters[0].kubeconfig",
        "`kubeconfig` without a name",
        "`name` beside it",
    ),
    (
        "this cluster without a name",
        "clusters: [{in_cluster: §true}]\n",
        "clusters[0].in_cluster",
        "`in_cluster` without a name",
        "`name` beside it",
    ),
    (
        "a folder with a name",
        FOLDER % "name: §a",
        "clusters[0].name",
        "a name beside a directory",
        "none: each file names its cluster",
    ),
    (
        "a context without a kubeconfig",
        CLUSTER % "context: §x",
        "clusters[0].context",
        "`context` beside `in_cluster`",
        "it beside kubeconfig only",
    ),
    (
        "a context of many kubeconfigs",
        FOLDER % "context: §x",
        "clusters[0].context",
        "`context` beside `directory`",
        "it beside kubeconfig only",
    ),
    (
        "commands without a kubeconfig",
        CLUSTER % "exec: §[x]",
        "clusters[0].exec",
        "`exec` beside `in_cluster`",
        "it beside kubeconfig or directory only",
    ),
    ("a command for a list", KUBE % "exec: §aliyun", "clusters[0].exec", "'aliyun'", "a list"),
    ("a command that is empty", KUBE % "exec: [§'']", "clusters[0].exec[0]", "''", "a text of at least 1 characters"),
    (
        "a name with a slash",
        "clusters: [{name: §a/b, in_cluster: true}]\n",
        "clusters[0].name",
        "'a/b'",
        "one word without blanks and slashes",
    ),
    ("no requests at all", CLUSTER % "concurrency: §0", "clusters[0].concurrency", "0", "at least 1"),
    ("too many requests", CLUSTER % "concurrency: §65", "clusters[0].concurrency", "65", "at most 64"),
    ("a rate without a unit", CLUSTER % "rate: §20", "clusters[0].rate", "20", "a rate such as 10/s, 100/m or 5000/h"),
    (
        "a rate of nothing",
        CLUSTER % "rate: §0/s",
        "clusters[0].rate",
        "'0/s'",
        "a rate such as 10/s, 100/m or 5000/h",
    ),
    ("a label that is a list", CLUSTER % "labels: {a: §[]}", "clusters[0].labels.a", "an empty list", "a text"),
    (
        "a user that ends a header",
        CLUSTER % 'impersonate: §"a\\r\\nX: y"',
        "clusters[0].impersonate",
        "'a\\r\\nX: y'",
        "a text without control characters",
    ),
    (
        "an empty user",
        CLUSTER % "impersonate: §''",
        "clusters[0].impersonate",
        "''",
        "a text without control characters",
    ),
    (
        "a password in the proxy of a cluster",
        CLUSTER % "network: {proxy: §'http://u:p@proxy:1'}",
        "clusters[0].network.proxy",
        "a literal secret inside a URL",
        "the address alone, secrets as env:NAME or file:/path",
    ),
    (
        "applications nowhere",
        "applications:\n  - §{path: x}\n",
        "applications[0]",
        "neither `repository` nor `directory`",
        "one of them",
    ),
    (
        "applications in two places",
        FLEET + "applications: [{repository: fleet, directory: §x}]\n",
        "applications[0].directory",
        "`repository` and `directory`",
        "one of them",
    ),
    (
        "a path in a folder of this machine",
        "applications: [{directory: x, path: §y}]\n",
        "applications[0].path",
        "`path` beside `directory`",
        "it beside `repository` only",
    ),
    (
        "applications in an unknown repository",
        FLEET + "applications: [{repository: §flet}]\n",
        "applications[0].repository",
        "unknown repository 'flet'",
        "one of fleet",
    ),
    *(
        (
            f"applications in {what}",
            FLEET + f"applications: [{{repository: fleet, path: §{path}}}]\n",
            "applications[0].path",
            shown,
            'a folder inside the repository, such as "applications"',
        )
        for what, path, shown in [
            ("a folder above", "a/../../b", "'a/../../b'"),
            ("a folder from the root of the machine", "/etc", "'/etc'"),
            ("no folder", "''", "''"),
            ("a folder with a line break", '"a\\nb"', "'a\\nb'"),
        ]
    ),
    (
        "a poll without a unit",
        "sync: {poll: §30}\n",
        "sync.poll",
        "30",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    ("a deadline of nothing", "sync: {deadline: §0s}\n", "sync.deadline", "'0s'", "a duration of at least 1s"),
    ("unknown key of sync", "sync: {§resinc: 1m}\n", "sync.resinc", "unknown key `resinc`", "`resync`"),
    (
        "a Git host without its host",
        "git_hosts:\n  - §{credentials: null}\n",
        "git_hosts[0].host",
        "no `host`",
        "`host`",
    ),
    *(
        (
            f"a Git host with {what}",
            f"git_hosts: [{{host: §'{host}'}}]\n",
            "git_hosts[0].host",
            shown,
            "host[:port][/path] without a scheme, such as github.com/acme",
        )
        for what, host, shown in [
            ("a scheme", "https://github.com", "'https://github.com'"),
            ("a user", "git@github.com", "'git@github.com'"),
            ("nothing in it", "", "''"),
            ("a blank", "git hub.com", "'git hub.com'"),
            ("a way out", "github.com/acme/..", "'github.com/acme/..'"),
            ("a hidden way out", "github.com/acme/%2E%2e", "'github.com/acme/%2E%2e'"),
            ("a port that is none", "github.com:99999", "'github.com:99999'"),
        ]
    ),
    (
        "a login that is a literal",
        "git_hosts: [{host: g.example.com, credentials: {kind: token, token: §hunter2}}]\n" + FLEET,
        "git_hosts[0].credentials.token",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "a broken login that a repository would use",
        "git_hosts: [{host: git.example.com, credentials: {kind: token, token: §hunter2}}]\n" + FLEET,
        "git_hosts[0].credentials.token",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "SSH where the shared login is none for SSH",
        TOKEN + "repositories: [{url: §'git@g.example.com:a/b.git'}]\n",
        "repositories[0].url",
        "'git@g.example.com:a/b.git' (SSH without a login)",
        "credentials of kind ssh_key beside it",
    ),
]


@pytest.mark.parametrize(
    ("file", "place", "found", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_names_its_place(tmp_path: Path, file: str, place: str, found: str, expected: str) -> None:
    text, at = marked(file)
    assert rows(tmp_path, text) == [(f"updater.yaml:{at} {place}", found, expected)]


def test_mistakes_of_all_sections_come_in_one_report(tmp_path: Path) -> None:
    text = "clusters: [{name: a}]\napplications: [{}]\nsync: {poll: x}\ngit_hosts: [{host: '@'}]\n"
    assert [place.split()[1] for place, _, _ in rows(tmp_path, text)] == [
        "clusters[0]",
        "applications[0]",
        "sync.poll",
        "git_hosts[0].host",
    ]


BELOW = [
    # what, the address, what counts of the hosts
    ("HTTPS", "https://github.com/acme/api.git", "github.com/acme"),
    ("another group", "https://github.com/other/api.git", "github.com"),
    ("a group whose name only begins alike", "https://github.com/acme-labs/api", "github.com"),
    ("a repository of its own", "https://github.com/acme/secret.git", "github.com/acme/secret"),
    ("a name that begins like that repository", "https://github.com/acme/secrets", "github.com/acme"),
    ("the case of names", "https://GitHub.com/Acme/API", "github.com/acme"),
    ("SSH in short", "git@github.com:acme/api.git", "github.com/acme"),
    ("SSH in full", "ssh://git@github.com/acme/api.git", "github.com/acme"),
    ("SSH at another port", "ssh://git@github.com:2222/acme/api.git", "github.com/acme"),
    ("the usual port spelled out", "https://github.com:443/acme/api", "github.com/acme"),
    ("another port of a host without one", "https://github.com:8443/acme/api", None),
    ("a port that is named", "https://git.example.com:8443/a/b", "git.example.com:8443"),
    ("a port that nobody named", "https://git.example.com:9443/a/b", None),
    ("a host with a named port, without one", "https://git.example.com/a/b", None),
    ("a way out of the group", "https://github.com/acme/../other/x", None),
    ("a hidden way out of the group", "https://github.com/acme/%2e%2e/other/x", None),
    ("another host", "https://example.com/github.com/acme/x", None),
    ("a host that ends alike", "https://notgithub.com/acme/x", None),
    ("no address", "github.com/acme/api", None),
]


@pytest.mark.parametrize(("url", "host"), [row[1:] for row in BELOW], ids=[row[0] for row in BELOW])
def test_the_longest_host_that_an_address_lies_at_counts(url: str, host: str | None) -> None:
    assert below(url, ["github.com", "github.com/acme", "github.com/acme/secret", "git.example.com:8443"]) == host


SAME = [
    ("the same text", "https://h/a/b", "https://h/a/b", True),
    ("the ending", "https://h/a/b.git", "https://h/a/b", True),
    ("a slash", "https://h/a/b/", "https://h/a/b", True),
    ("the case", "https://H/A/b", "https://h/a/B", True),
    ("the usual port", "https://h:443/a", "https://h/a", True),
    ("SSH in short", "git@h:a/b.git", "https://h/a/b", True),
    ("SSH at its own port", "ssh://git@h:2222/a/b", "https://h:8443/a/b", True),
    ("the user of SSH", "ssh://alice@h/a", "git@h:a", True),
    ("two servers of SSH", "ssh://git@h:2222/a", "ssh://git@h:2223/a", False),
    ("two servers of HTTPS", "https://h:8443/a", "https://h/a", False),
    ("another path", "https://h/a/b", "https://h/a/c", False),
    ("another host", "https://h/a", "https://i/a", False),
    ("no address", "nonsense", "nonsense", False),
]


@pytest.mark.parametrize(("one", "other", "equal"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_two_addresses_mean_one_repository_apart_from(one: str, other: str, equal: bool) -> None:
    assert (same(one, other), same(other, one)) == (equal, equal)


HOSTS = """\
network: {proxy: "http://p:1", no_proxy: [a]}
git_hosts:
  - {host: git.example.com, credentials: {kind: token, token: "env:SHARED"}, network: {proxy: "http://q:2"}}
  - {host: git.example.com/keys, credentials: {kind: ssh_key, private_key: "file:k", known_hosts: "file:h"}}
  - {host: git.example.com/open, credentials: null}
repositories:
"""


def repository(tmp_path: Path, entry: str) -> RepositorySettings:
    [found] = settings(tmp_path, f"{HOSTS}  - {{{entry}}}\n").repositories
    return found


def test_a_repository_without_a_login_has_that_of_its_host(tmp_path: Path) -> None:
    login = repository(tmp_path, "url: https://git.example.com/a/b").credentials
    assert isinstance(login, Token)
    assert login.token.reference == "env:SHARED"


def test_null_is_no_login_of_its_own(tmp_path: Path) -> None:
    assert isinstance(repository(tmp_path, "url: https://git.example.com/a/b, credentials: null").credentials, Token)


def test_a_repository_keeps_its_own_login(tmp_path: Path) -> None:
    entry = "url: https://git.example.com/a/b, credentials: {kind: basic, username: u, password: 'env:P'}"
    assert isinstance(repository(tmp_path, entry).credentials, Basic)


def test_keys_are_shared_too(tmp_path: Path) -> None:
    assert isinstance(repository(tmp_path, "url: 'git@git.example.com:keys/a.git'").credentials, SshKey)


def test_a_key_is_no_login_over_https(tmp_path: Path) -> None:
    """The repository is read as anybody; a shorter host does not stand in."""
    assert repository(tmp_path, "url: https://git.example.com/keys/a.git").credentials is None


def test_a_longer_host_without_a_login_means_anonymous(tmp_path: Path) -> None:
    assert repository(tmp_path, "url: https://git.example.com/open/a.git").credentials is None


def test_a_repository_elsewhere_is_anonymous(tmp_path: Path) -> None:
    assert repository(tmp_path, "url: https://elsewhere.example.com/a").credentials is None


@pytest.mark.parametrize(
    ("entry", "whole"),
    [
        ("url: https://git.example.com/a/b", Network(proxy="http://q:2", no_proxy=("a",))),
        (
            "url: https://git.example.com/a/b, network: {no_proxy: [z]}",
            Network(proxy="http://q:2", no_proxy=("z",)),
        ),
        ("url: https://elsewhere.example.com/a", Network(proxy="http://p:1", no_proxy=("a",))),
    ],
    ids=["host over section", "repository over host", "no host"],
)
def test_the_network_of_a_repository_is_its_own_over_that_of_its_host(
    tmp_path: Path, entry: str, whole: Network
) -> None:
    assert repository(tmp_path, entry).network == whole


REPOSITORIES = f"""{HOSTS}  - {{name: fleet, url: https://git.example.com/platform/fleet.git, branch: main}}
  - {{name: release, url: https://git.example.com/platform/fleet, branch: release}}
  - {{name: charts, url: http://git.internal/charts, insecure: true}}
"""


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return settings(tmp_path, REPOSITORIES)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://git.example.com/platform/fleet.git", "fleet"),
        ("https://git.example.com/platform/fleet", "release"),
        ("git@git.example.com:platform/fleet.git", "fleet"),
        ("https://git.internal/charts.git", "charts"),
        ("http://git.internal/charts.git", "charts"),
    ],
    ids=["its address", "the address of the second", "over SSH", "over HTTPS", "plain, where that is allowed"],
)
def test_an_address_means_the_configured_repository(configured: Settings, url: str, name: str) -> None:
    assert repository_for(configured, url) in configured.repositories
    assert repository_for(configured, url).name == name


def test_an_address_at_a_host_gets_its_login_and_network(configured: Settings) -> None:
    found = repository_for(configured, "https://git.example.com/team/apps.git")
    assert isinstance(found.credentials, Token)
    assert found.network == Network(proxy="http://q:2", no_proxy=("a",))
    assert (found.name, found.branch, found.insecure) == ("apps", None, False)


def test_an_address_elsewhere_is_read_as_anybody(configured: Settings) -> None:
    found = repository_for(configured, "https://github.com/argoproj/argocd-example-apps.git")
    assert (found.name, found.credentials, found.network) == ("argocd-example-apps", None, configured.network)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("git@elsewhere.example.com:a/b.git", "SSH without a login"),
        ("git@git.example.com:open/b.git", "SSH without a login"),
        ("http://elsewhere.example.com/a", "plain text on the way"),
        ("https://u:hunter2@elsewhere.example.com/a", "a literal secret inside a URL"),
        ("nonsense", "this is no URL of a repository"),
    ],
    ids=["SSH", "SSH at a host without a key", "plain HTTP", "a password", "no address"],
)
def test_an_address_that_cannot_be_used_is_refused_in_words(configured: Settings, url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        repository_for(configured, url)
    assert "hunter2" not in str(refused.value)


def test_a_name_that_is_taken_gets_a_hash(configured: Settings) -> None:
    names = [repository_for(configured, f"https://github.com/{group}/fleet.git").name for group in ("a", "b", "a")]
    assert all(name.startswith("fleet-") and len(name) == len("fleet-") + 6 for name in names)
    assert names[0] == names[2] != names[1]


def test_names_of_other_applications_count_in_any_order(configured: Settings) -> None:
    urls = ["https://github.com/a/deploy", "https://github.com/b/deploy.git", "https://github.com/b/deploy"]
    names = {url: repository_for(configured, url, urls).name for url in urls}
    assert names == {url: repository_for(configured, url, reversed(urls)).name for url in reversed(urls)}
    assert "deploy" not in names.values()
    assert names[urls[0]] != names[urls[1]]


def test_the_same_repository_takes_no_name_from_itself(configured: Settings) -> None:
    urls = ["https://github.com/a/deploy", "https://github.com/a/deploy.git", "https://github.com/a/other"]
    assert [repository_for(configured, url, urls).name for url in urls] == ["deploy", "deploy", "other"]


def definition(name: str) -> dict[str, Any]:
    return dict(schema()["$defs"][name]["properties"])


def test_the_schema_knows_the_sections_and_writes_defaults_as_the_file_does() -> None:
    assert {"clusters", "applications", "sync", "git_hosts"} <= schema()["properties"].keys()
    assert definition("ClusterSettings")["rate"]["default"] == "20/s"
    assert {key: entry["default"] for key, entry in definition("SyncSettings").items()} == {
        "poll": "30s",
        "resync": "10m",
        "deadline": "10m",
    }


PROBE = """
import sys
from pathlib import Path
from updater.config.load import load
load(Path(sys.argv[1]), {})
print(sorted(name for name in sys.modules if name.split(".")[0] == "kubernetes"
             or name in {"updater.cluster", "updater.config.manifests", "updater.config.notifications"}))
"""


@pytest.mark.parametrize("text", ["", "clusters: [{name: a, kubeconfig: 'env:K'}]\n"], ids=["without", "with clusters"])
def test_reading_a_configuration_loads_no_client_of_kubernetes(tmp_path: Path, text: str) -> None:
    """It costs half a second and 24 MiB, and who only updates images never needs it."""
    file = write(tmp_path, text)
    done = subprocess.run([sys.executable, "-c", PROBE, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_kubeconfig_is_never_printed(tmp_path: Path) -> None:
    file = write(tmp_path, "clusters: [{name: a, kubeconfig: 'env:KUBE'}]\n")
    assert "KUBE" not in repr(load(file, {}))


ABSENT = [
    ("applications: [{directory: §apps}]", "applications[0].directory", "no folder 'apps'", "a folder that is there"),
    ("applications: [{directory: §file}]", "applications[0].directory", "a file 'file'", "a folder that is there"),
    ("clusters: [{directory: §kubes}]", "clusters[0].directory", "no folder 'kubes'", "a folder that is there"),
    (
        "clusters: [{name: a, kubeconfig: §'file:a.yaml'}]",
        "clusters[0].kubeconfig",
        "no file 'a.yaml'",
        "a kubeconfig that is there",
    ),
]


@pytest.mark.parametrize(("text", "where", "found", "expected"), ABSENT, ids=[row[2] for row in ABSENT])
def test_what_is_not_on_this_machine_is_a_mistake_where_that_is_asked(
    tmp_path: Path, text: str, where: str, found: str, expected: str
) -> None:
    (tmp_path / "file").touch()
    text, at = marked(text)
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(file, {}, here=True)
    told = [(f"{p.line}:{p.column}", p.where, p.found.replace(f"{tmp_path}/", ""), p.expected)
            for p in refused.value.problems]  # fmt: skip
    assert told == [(at, where, found, expected)]
    assert load(file, {}).clusters or load(file, {}).applications


def test_what_is_on_this_machine_or_elsewhere_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    write(tmp_path, "", "kube")
    clusters = "clusters: [{name: a, kubeconfig: 'file:kube'}, {name: b, kubeconfig: 'env:B'}, {directory: apps}]\n"
    places = "applications: [{directory: apps}, {repository: fleet, path: nowhere}]\n"
    assert len(load(write(tmp_path, FLEET + clusters + places), {}, here=True).clusters) == 3
