"""Every mistake names its place, what was found and what was expected; all of them come in one report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.config import marked, problems, rows, settings

IMAGE = "images:\n  - {image: ghcr.io/acme/api, %s}\n"
REPOSITORY = "repositories:\n  - {url: https://git.example.com/fleet.git, %s}\n"
REGISTRY = "registries:\n  - {host: r.example.com, %s}\n"
GIT_HOST = "git_hosts:\n  - {host: git.example.com, %s}\n"
WINDOW = "windows: [{%s}]"

TWO = "images:\n  - {image: ghcr.io/acme/api, replaces: [r.io/old]}\n  - {image: %s}\n"

TABLE = [
    # what, the file with § before the mistake, where, found, expected (* = contains)
    (
        "a former name that is tracked",
        "images:\n  - {image: r.io/old}\n  - {image: r.io/a, replaces: [§r.io/old]}\n",
        "images[1].replaces[0]",
        "*'r.io/old', which is tracked under this name (at updater.yaml:2:6)",
        "a name that no image has any more",
    ),
    (
        "a former name that is its own",
        "images:\n  - {image: nginx, replaces: [§docker.io/library/nginx]}\n",
        "images[0].replaces[0]",
        "*which is tracked under this name (at updater.yaml:2:6)",
        "a name that no image has any more",
    ),
    (
        "a former name of two",
        TWO % "ghcr.io/b, replaces: [§r.io/old]",
        "images[1].replaces[0]",
        "*'r.io/old' as a former name of a second image (first at updater.yaml:2:42)",
        "a former name of one image",
    ),
    (
        "a former name of two by an alias",
        "registries: [{host: r.io, aliases: [r2.io]}]\n" + TWO % "ghcr.io/b, replaces: [§r2.io/old]",
        "images[1].replaces[0]",
        "*'r.io/old' as a former name of a second image",
        "a former name of one image",
    ),
    (
        "a former name that is a pattern",
        IMAGE % "replaces: [§r.io/*]",
        "images[0].replaces[0]",
        "'r.io/*'",
        "the name of one image, without * and ?",
    ),
    (
        "a former name with a tag",
        IMAGE % "replaces: [§r.io/old:1]",
        "images[0].replaces[0]",
        "*r.io/old:1",
        "*without tag and digest",
    ),
    (
        "former names of a pattern",
        "images:\n  - {image: r.io/a/*, replaces: §[r.io/old]}\n",
        "images[0].replaces",
        "former names of a pattern",
        "one image",
    ),
    (
        "former names of an item",
        IMAGE % "update: [{§replaces: [r.io/old]}]",
        "images[0].update[0].replaces",
        "unknown key `replaces`",
        "*one of branch",
    ),
    ("unknown key at the top", "§dta: x\n", "dta", "unknown key `dta`", "`data`"),
    ("unknown key that resembles none", "log: {§zzz: 1}\n", "log.zzz", "unknown key `zzz`", "one of format, level"),
    ("unknown key with a dot", "log: {§a.level: 1}\n", "log.a.level", "unknown key `a.level`", "`level`"),
    ("unknown key in a list", IMAGE % "§polcy: {}", "images[0].polcy", "unknown key `polcy`", "`policy`"),
    (
        "unknown key of a policy",
        IMAGE % "policy: {kind: semver, §rnge: 1}",
        "images[0].policy.rnge",
        "unknown key `rnge`",
        "`range`",
    ),
    (
        "key of another kind",
        IMAGE % "policy: {kind: docker, §range: 1}",
        "images[0].policy.range",
        "unknown key `range`",
        "one of kind, suffix",
    ),
    ("missing key", "repositories:\n  - §{name: x}\n", "repositories[0].url", "no `url`", "`url`"),
    ("text for a mapping", "log: §info\n", "log", "'info'", "a mapping"),
    ("list for a mapping", "log: §[info]\n", "log", "a list", "a mapping"),
    ("mapping for a list", "images: §{}\n", "images", "an empty mapping", "a list"),
    ("nothing for a list", "§images:\n", "images", "nothing", "a list"),
    ("text for an entry", "images:\n  - §ghcr.io/acme/api\n", "images[0]", "'ghcr.io/acme/api'", "a mapping"),
    ("truth for a text", "data: §true\n", "data", "true", "a path"),
    ("text for a truth", IMAGE % "suspend: §perhaps", "images[0].suspend", "'perhaps'", "true or false"),
    ("text for a number", REGISTRY % "concurrency: §many", "registries[0].concurrency", "'many'", "a whole number"),
    ("number too small", REGISTRY % "concurrency: §0", "registries[0].concurrency", "0", "at least 1"),
    ("number too large", REGISTRY % "concurrency: §65", "registries[0].concurrency", "65", "at most 64"),
    ("word not in the list", "log: {level: §loud}\n", "log.level", "'loud'", "one of debug, info, warning, error"),
    (
        "duration without unit",
        IMAGE % "poll: {interval: §30}",
        "images[0].poll.interval",
        "30",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "duration that is none",
        IMAGE % "poll: {interval: §soon}",
        "images[0].poll.interval",
        "'soon'",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "duration of nothing",
        IMAGE % "poll: {interval: §0s}",
        "images[0].poll.interval",
        "'0s'",
        "a duration of at least 1s",
    ),
    (
        "duration beyond reason",
        IMAGE % "poll: {interval: §9999d}",
        "images[0].poll.interval",
        "'9999d'",
        "a duration of at most 3650d",
    ),
    ("rate without unit", REGISTRY % "rate: §10", "registries[0].rate", "10", "a rate such as 10/s, 100/m or 5000/h"),
    ("rate of nothing", REGISTRY % "rate: §0/s", "registries[0].rate", "'0/s'", "a rate such as 10/s, 100/m or 5000/h"),
    (
        "kind missing",
        IMAGE % "policy: §{range: 1.x}",
        "images[0].policy.kind",
        "no `kind`",
        "a kind, one of alphabetical, calver, digest, docker, newest, numerical, semver",
    ),
    (
        "kind unknown",
        IMAGE % "policy: {kind: §best}",
        "images[0].policy.kind",
        "'best'",
        "one of alphabetical, calver, digest, docker, newest, numerical, semver",
    ),
    ("kind written as a word", IMAGE % "policy: §semver", "images[0].policy", "'semver'", "a mapping with its kind"),
    (
        "kind unknown, its keys unmentioned",
        REPOSITORY % "credentials: {kind: §magic, wand: x}",
        "repositories[0].credentials.kind",
        "'magic'",
        "one of basic, github_app, ssh_key, token",
    ),
    (
        "key of a member missing",
        REPOSITORY % "credentials: §{kind: token}",
        "repositories[0].credentials.token",
        "no `token`",
        "`token`",
    ),
    (
        "range that does not parse",
        IMAGE % "policy: {kind: semver, range: §'>>1'}",
        "images[0].policy.range",
        "*>1*",
        "a range like 1.x, ~1.4 or >=1.4.0 <2.0.0",
    ),
    (
        "expression that RE2 refuses",
        IMAGE % "tags: {include: [§'(?=x)']}",
        "images[0].tags.include[0]",
        "*(?=x)*",
        "*RE2 expression*",
    ),
    (
        "extract without pattern",
        IMAGE % "tags: §{extract: $1}",
        "images[0].tags",
        "*tags.extract without tags.pattern*",
        "both",
    ),
    (
        "image with a tag",
        "images:\n  - {image: §'ghcr.io/acme/api:1.2'}\n",
        "images[0].image",
        "'ghcr.io/acme/api:1.2'",
        "an image without tag and digest: these are what Git says",
    ),
    (
        "image that is none",
        "images:\n  - {image: §ghcr.io/Acme/api}\n",
        "images[0].image",
        "*not the name of an image*",
        "an image or a pattern",
    ),
    (
        "unknown repository",
        REPOSITORY % "name: fleet" + IMAGE % "update: [{repository: §flet}]",
        "images[0].update[0].repository",
        "unknown repository 'flet'",
        "one of fleet",
    ),
    (
        "unknown repository in defaults",
        "defaults: {update: [{repository: §flet}]}\n",
        "defaults.update[0].repository",
        "unknown repository 'flet'",
        "one that is listed",
    ),
    (
        "glob above the root",
        IMAGE % "update: [{paths: [§'../x']}]",
        "images[0].update[0].paths[0]",
        "'../x'",
        'a glob such as "apps/**" or "!apps/old/**"',
    ),
    (
        "no glob at all",
        IMAGE % "update: [{paths: §[]}]",
        "images[0].update[0].paths",
        "an empty list",
        "a list of at least 1",
    ),
    (
        "branch that git refuses",
        REPOSITORY % "branch: §a..b",
        "repositories[0].branch",
        "'a..b'",
        "the name of a branch",
    ),
    (
        "branch that is an option",
        REPOSITORY % "branch: §--force",
        "repositories[0].branch",
        "'--force'",
        "the name of a branch",
    ),
    (
        "URL over plain HTTP",
        "repositories:\n  - {url: §http://git.example.com/x.git}\n",
        "repositories[0].url",
        "'http://git.example.com/x.git' (plain text on the way)",
        "https:// or ssh://, or insecure: true",
    ),
    (
        "URL of a program",
        "repositories:\n  - {url: §'ext::sh -c id'}\n",
        "repositories[0].url",
        "*ext::sh -c id*",
        "https://, ssh:// or git@host:path",
    ),
    (
        "URL that is a path",
        "repositories:\n  - {url: §/srv/git/x.git}\n",
        "repositories[0].url",
        "*/srv/git/x.git*",
        "https://, ssh:// or git@host:path",
    ),
    (
        "SSH without a key",
        "repositories:\n  - {url: §'git@git.example.com:x.git'}\n",
        "repositories[0].url",
        "*SSH without a login*",
        "credentials of kind ssh_key beside it",
    ),
    (
        "login that does not fit",
        "repositories:\n  - {url: 'git@git.example.com:x.git', credentials: {kind: §token, token: 'env:T'}}\n",
        "repositories[0].credentials.kind",
        "'token' (a login that does not work over ssh)",
        "one of ssh_key",
    ),
    (
        "author with angle brackets",
        REPOSITORY % "author: {email: §<x>}",
        "repositories[0].author.email",
        "'<x>'",
        "one line without < and >",
    ),
    (
        "host with a scheme",
        "registries:\n  - {host: §https://r.example.com}\n",
        "registries[0].host",
        "'https://r.example.com'",
        "host[:port][/path], e.g. registry.example.com/team",
    ),
    (
        "host that is a namespace",
        "registries:\n  - {host: §acme}\n",
        "registries[0].host",
        "'acme'",
        "host[:port][/path], e.g. registry.example.com/team",
    ),
    (
        "endpoint over plain HTTP",
        REGISTRY % "endpoint: §http://r.internal",
        "registries[0].endpoint",
        "'http://r.internal' (plain HTTP)",
        "https://, or insecure: true beside it",
    ),
    (
        "proxy without scheme",
        "network: {proxy: §proxy.example.com}\n",
        "network.proxy",
        "'proxy.example.com'",
        "an address such as https://host:port",
    ),
    (
        "state elsewhere",
        "state: §mysql://h/db\n",
        "state",
        "'mysql://h/db'",
        "sqlite:///{data}/state.db, or another sqlite:///path",
    ),
    (
        "state in memory",
        "state: §'sqlite:///:memory:'\n",
        "state",
        "'sqlite:///:memory:'",
        "sqlite:///{data}/state.db, or another sqlite:///path",
    ),
    (
        "downgrade of no kind",
        IMAGE % "downgrade: §sometimes",
        "images[0].downgrade",
        "'sometimes'",
        "one of never, allow",
    ),
    (
        "moved tag of no kind",
        IMAGE % "moved_tag: §ignore",
        "images[0].moved_tag",
        "'ignore'",
        "one of hold, follow",
    ),
    (
        "key that stands in the file",
        IMAGE % "verify: {cosign: {key: §MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE}}",
        "images[0].verify.cosign.key",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "signature of nobody",
        IMAGE % "verify: {cosign: §{}}",
        "images[0].verify.cosign",
        "nobody",
        "one of key, identity, identity_pattern",
    ),
    (
        "signature of two",
        IMAGE % "verify: {cosign: §{key: 'env:K', identity: x, issuer: y}}",
        "images[0].verify.cosign",
        "key and identity",
        "one of key, identity, identity_pattern",
    ),
    (
        "key of an issuer",
        IMAGE % "verify: {cosign: §{key: 'env:K', issuer: y}}",
        "images[0].verify.cosign",
        "key with issuer or trust_root",
        "key alone",
    ),
    (
        "identity that anybody may vouch for",
        "defaults: {verify: {cosign: §{identity: x}}}\n",
        "defaults.verify.cosign",
        "identity without issuer",
        "both: any issuer can vouch for any name",
    ),
    (
        "identity with a wildcard",
        IMAGE % "verify: {cosign: §{identity: 'https://x.example.com/a@refs/tags/v*', issuer: y}}",
        "images[0].verify.cosign",
        "* in identity, which is to the letter",
        "identity_pattern",
    ),
    (
        "identity that is no expression",
        IMAGE % "update: [{verify: {cosign: {identity_pattern: §'(', issuer: y}}}]",
        "images[0].update[0].verify.cosign.identity_pattern",
        "*'('",
        "*RE2 expression",
    ),
    (
        "trust root that stands in the file",
        IMAGE % "verify: {cosign: {identity: x, issuer: y, trust_root: §'{}'}}",
        "images[0].verify.cosign.trust_root",
        "a literal secret",
        "env:NAME or file:/path",
    ),
    (
        "signature of another kind",
        IMAGE % "verify: {§notation: {key: 'env:K'}, cosign: {key: 'env:K'}}",
        "images[0].verify.notation",
        "unknown key `notation`",
        "one of cosign",
    ),
    (
        "verification that is a word",
        IMAGE % "verify: §cosign",
        "images[0].verify",
        "'cosign'",
        "*mapping",
    ),
    (
        "age that is no duration",
        IMAGE % "min_age: §3 days",
        "images[0].min_age",
        "'3 days'",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "age in an item",
        IMAGE % "update: [{min_age: §soon}]",
        "images[0].update[0].min_age",
        "'soon'",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "platforms that are a word",
        IMAGE % "platforms: §all",
        "images[0].platforms",
        "'all'",
        "same, or a list such as [linux/amd64, linux/arm64]",
    ),
    (
        "one platform without a list",
        IMAGE % "platforms: §linux/amd64",
        "images[0].platforms",
        "'linux/amd64'",
        "same, or a list such as [linux/amd64, linux/arm64]",
    ),
    (
        "platform without an operating system",
        IMAGE % "platforms: [linux/arm64, §amd64]",
        "images[0].platforms[1]",
        "'amd64'",
        "os/architecture[/variant], e.g. linux/arm64",
    ),
    (
        "window that is no list",
        IMAGE % "windows: §{kind: deny}",
        "images[0].windows",
        "a mapping",
        "a list",
    ),
    (
        "window of no kind",
        IMAGE % (WINDOW % "kind: §maybe, schedule: '0 8 * * *', duration: 8h"),
        "images[0].windows[0].kind",
        "'maybe'",
        "one of allow, deny",
    ),
    (
        "window without an end",
        IMAGE % "windows: [§{kind: deny, schedule: '0 8 * * *'}]",
        "images[0].windows[0].duration",
        "no `duration`",
        "`duration`",
    ),
    (
        "window of no length",
        IMAGE % (WINDOW % "kind: allow, schedule: '0 8 * * *', duration: §0s"),
        "images[0].windows[0].duration",
        "'0s'",
        "a duration from 1s to 366d",
    ),
    (
        "window whose length has no unit",
        IMAGE % (WINDOW % "kind: allow, schedule: '0 8 * * *', duration: §8"),
        "images[0].windows[0].duration",
        "8",
        "a duration such as 30s, 5m, 2h or 7d",
    ),
    (
        "cron of four fields",
        IMAGE % (WINDOW % "kind: allow, schedule: §'0 8 * *', duration: 8h"),
        "images[0].windows[0].schedule",
        "'0 8 * *'",
        "five fields: minute hour day month weekday",
    ),
    (
        "cron with an eighth weekday",
        IMAGE % (WINDOW % "kind: allow, schedule: §'0 8 * * 8', duration: 8h"),
        "images[0].windows[0].schedule",
        "'0 8 * * 8' (bad day-of-week)",
        "cron's five fields, e.g. 0 8 * * 1-5",
    ),
    (
        "cron in defaults",
        "defaults: {windows: [{kind: deny, schedule: §never, duration: 8h}]}\n",
        "defaults.windows[0].schedule",
        "'never'",
        "five fields: minute hour day month weekday",
    ),
    (
        "time zone that nobody knows",
        IMAGE % (WINDOW % "kind: deny, schedule: '0 8 * * *', duration: 8h, time_zone: §Mars/Olympus"),
        "images[0].windows[0].time_zone",
        "*'Mars/Olympus'*",
        "a name such as Asia/Shanghai or UTC",
    ),
    ("label that is a list", IMAGE % "labels: {a: §[1]}", "images[0].labels.a", "a list", "a text"),
    (
        "marker of one word",
        IMAGE % "marker: §api",
        "images[0].marker",
        "'api'",
        "namespace:name, as in flux-system:api",
    ),
    (
        "marker of a pattern",
        "images:\n  - {image: ghcr.io/acme/*, marker: §flux-system:api}\n",
        "images[0].marker",
        "'flux-system:api' at a pattern",
        "an image that is no pattern",
    ),
    (
        "marker of two images",
        "images:\n  - {image: a/b, marker: 'x:y'}\n  - {image: a/c, marker: §'x:y'}\n",
        "images[1].marker",
        "*a second time",
        "one image for each policy",
    ),
    (
        "editor of another kind",
        IMAGE % "update: [{editor: {kind: §kustomize}}]",
        "images[0].update[0].editor.kind",
        "'kustomize'",
        "*yaml_path",
    ),
    (
        "editor without a version",
        IMAGE % "update: [{editor: §{kind: yaml_path, repository: a}}]",
        "images[0].update[0].editor",
        "no path of a version",
        "image, tag or digest",
    ),
    (
        "editor of a whole and of parts",
        IMAGE % "update: [{editor: §{kind: yaml_path, image: a, tag: b}}]",
        "images[0].update[0].editor",
        "image beside the parts of one",
        "image alone, or tag and digest",
    ),
    (
        "registry without repository",
        IMAGE % "update: [{editor: §{kind: yaml_path, registry: a, tag: b}}]",
        "images[0].update[0].editor",
        "registry without repository",
        "both",
    ),
    (
        "path that is none",
        IMAGE % "update: [{editor: {kind: yaml_path, tag: §'a..b'}}]",
        "images[0].update[0].editor.tag",
        "'a..b'",
        "*a path such as web.image.tag",
    ),
    (
        "editor of a pattern that reads no name",
        "images:\n  - {image: ghcr.io/acme/*, update: [{editor: §{kind: yaml_path, tag: a}}]}\n",
        "images[0].update[0].editor",
        "no path of a name",
        "a path of image or repository: this image is a pattern",
    ),
    (
        "bump of a file elsewhere",
        IMAGE % "update: [{bump: {file: §../Chart.yaml}}]",
        "images[0].update[0].bump.file",
        "'../Chart.yaml'",
        "a file such as Chart.yaml or charts/api/Chart.yaml",
    ),
    (
        "bump of another part",
        IMAGE % "update: [{bump: {part: §build}}]",
        "images[0].update[0].bump.part",
        "'build'",
        "one of patch, minor, major",
    ),
    ("include that is a text", "include: §x.yaml\n", "include", "a text", "a list of files or globs"),
]


@pytest.mark.parametrize(("file", "place", "found", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_mistake_one_row(tmp_path: Path, file: str, place: str, found: str, expected: str) -> None:
    """It names file, line and column, the setting, what was found and what was expected."""
    text, at = marked(file)
    [(where, was, wanted)] = rows(tmp_path, text)
    assert where == f"updater.yaml:{at} {place}"
    assert _like(was, found), was
    assert _like(wanted, expected), wanted


def _like(text: str, wanted: str) -> bool:
    return wanted.strip("*") in text if wanted.startswith("*") else text == wanted


@pytest.mark.parametrize("host", ["docker.io", "1.dkr.ecr.eu-west-1.amazonaws.com.evil.example.com"])
def test_a_login_of_a_cloud_is_refused_for_another_host(tmp_path: Path, host: str) -> None:
    entry = f"registries: [{{host: {host}, credentials: {{kind: ecr}}}}]\n"
    [(where, found, expected)] = rows(tmp_path, entry)
    assert where.endswith("registries[0].credentials")
    assert host in found
    assert "`hosts`" in expected
    named = f"registries: [{{host: {host}, credentials: {{kind: ecr, hosts: [{host}]}}}}]\n"
    assert settings(tmp_path, named).registries[0].credentials is not None


def test_a_signer_without_a_key_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is refused before anything is asked, and says what to install; keys do without it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    text, at = marked(IMAGE % "verify: {cosign: §{identity: x, issuer: y}}")
    place, found = f"updater.yaml:{at} images[0].verify.cosign", "identity, which needs a package"
    assert rows(tmp_path, text) == [(place, found, "pip install 'updater[sigstore]'")]
    [(place, _, _)] = rows(tmp_path, IMAGE % "verify: {cosign: {key: 'env:K'}}, downgrade: sometimes")
    assert place.endswith("downgrade")


def test_postgresql_and_references_to_vaults_come_later(tmp_path: Path) -> None:
    text = 'state: postgresql+psycopg://db.example.com/updater\nnetwork: {proxy: "vault:x"}\n'
    assert [("not supported yet" in found) for _, found, _ in rows(tmp_path, text)] == [True, True]


def test_all_mistakes_come_in_one_report_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
        log: {level: loud, formt: json}
        web: {listen: everywhere}
        repositories:
          - {url: http://git.example.com/a.git}
          - {url: https://git.example.com/b.git, credentials: {kind: basic, username: u, password: hunter2}}
        images:
          - {image: ghcr.io/acme/api, level: huge, update: [{repository: c}, {pths: []}]}
          - {image: ghcr.io/acme/api}
        """
    report = problems(tmp_path, text)
    assert [(problem.line, problem.where) for problem in report] == [
        (1, "log.level"),
        (1, "log.formt"),
        (2, "web.listen"),
        (4, "repositories[0].url"),
        (5, "repositories[1].credentials.password"),
        (7, "images[0].level"),
        (7, "images[0].update[0].repository"),
        (7, "images[0].update[1].pths"),
        (8, "images[1].image"),
    ]


def test_a_mistake_in_defaults_is_one_mistake_however_many_images_inherit_it(tmp_path: Path) -> None:
    text = "defaults: {level: huge, poll: {interval: x}}\nimages:\n" + "".join(
        f"  - {{image: ghcr.io/acme/api-{number}, poll: {{jitter: 1s}}}}\n" for number in range(5)
    )
    assert [place for place, _, _ in rows(tmp_path, text)] == [
        "updater.yaml:1:19 defaults.level",
        "updater.yaml:1:42 defaults.poll.interval",
    ]


NAMES = [
    (
        "repositories by their URLs",
        "repositories:\n  - {url: https://a.example.com/x.git}\n  - {url: §https://b.example.com/x}\n",
        "repositories[1].url",
        "'x'",
        "2:6",
    ),
    (
        "repositories by name",
        "repositories:\n  - {name: x, url: https://a.example.com/a}\n  - {url: https://b.example.com/b, name: §x}\n",
        "repositories[1].name",
        "'x'",
        "2:6",
    ),
    (
        "images",
        "images:\n  - {image: ghcr.io/acme/api}\n  - {name: §ghcr.io/acme/api, image: ghcr.io/acme/b}\n",
        "images[1].name",
        "'ghcr.io/acme/api'",
        "2:6",
    ),
    ("items", IMAGE % "update: [{name: a}, §{name: a}]", "images[0].update[1]", "'ghcr.io/acme/api/a'", "2:40"),
    ("items without names", IMAGE % "name: api, update: [§{}, {}]", "images[0].update[0]", "'api'", "2:31"),
    (
        "item and image",
        "images:\n  - {image: a.io/x, name: x, update: [{name: y}]}\n  - {image: a.io/y, name: §x/y}\n",
        "images[1].name",
        "'x/y'",
        "2:39",
    ),
    (
        "registries",
        "registries:\n  - {host: docker.io}\n  - {host: §index.docker.io}\n",
        "registries[1].host",
        "'docker.io'",
        "2:6",
    ),
    (
        "hosts of Git, in whatever case",
        "git_hosts:\n  - {host: git.example.com/a}\n  - {host: §Git.example.com/A/}\n",
        "git_hosts[1].host",
        "'git.example.com/a'",
        "2:6",
    ),
    (
        "clusters",
        "clusters:\n  - {name: a, in_cluster: true}\n  - {kubeconfig: env:KUBE, name: §a}\n",
        "clusters[1].name",
        "'a'",
        "2:6",
    ),
    (
        "alias and registry",
        "registries:\n  - {host: a.example.com}\n  - {host: b.example.com, aliases: [§a.example.com]}\n",
        "registries[1].aliases[0]",
        "'a.example.com'",
        "2:6",
    ),
]


@pytest.mark.parametrize(("file", "place", "name", "first"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_a_name_used_twice_names_both_places(tmp_path: Path, file: str, place: str, name: str, first: str) -> None:
    text, at = marked(file)
    found = f"the name {name} a second time (first at updater.yaml:{first})"
    assert rows(tmp_path, text)[0] == (f"updater.yaml:{at} {place}", found, "a name of its own")


def test_names_of_entries_with_other_mistakes_still_count(tmp_path: Path) -> None:
    """One slip in a repository must not make every image that names it a mistake."""
    text = REPOSITORY % "colour: red" + IMAGE % "update: [{repository: fleet}]"
    assert [found for _, found, _ in rows(tmp_path, text)] == ["unknown key `colour`"]


@pytest.mark.parametrize(
    ("file", "found", "expected"),
    [
        ("commit: {group_by: §team}", "unknown label 'team'", "one of cycle, image, path"),
        ("commit: {subject: §'{{ nobody }}'}", "unknown name `nobody` in line 1", "one of"),
        ("commit: {body: §' '}", "' '", "a Jinja template that says something"),
        ("write_back: {kind: branch, branch: §'{{ subject }}'}", "unknown name `subject` in line 1", "one of"),
        ("write_back: {kind: branch, branch: §'a..{{ group }}'}", "'a..{{ group }}'", "a template of a branch's name"),
        ("write_back: {kind: §merge_request}", "'merge_request'", "one of branch, pull_request, push"),
        ("write_back: {kind: branch, §title: x}", "unknown key `title`", "one of branch, kind"),
    ],
)
def test_ways_to_write_are_checked(tmp_path: Path, file: str, found: str, expected: str) -> None:
    text, at = marked(REPOSITORY % file)
    [(where, said, wanted)] = rows(tmp_path, text)
    assert (where.partition(" ")[0], said) == (f"updater.yaml:{at}", found)
    assert wanted.startswith(expected)
