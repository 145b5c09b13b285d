"""Aliases at which a tag must exist: two registries, and what each spelling in Git gets of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.cosign import Signer, push_simple
from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.image import push_image
from updater.demo.registry import EmbeddedRegistry
from updater.model.event import Subject
from updater.pipeline.report import Outcome, Report

LOGIN = ("ours", "canary-5f1c")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


@pytest.fixture
def mirror() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as registry:
        yield registry


def track(lab: Lab, mirror: str, fields: str = "", text: str = "", alias: str = "must_exist: true") -> Path:
    """Track acme/api in a file that names it once by its alias and once by its registry."""
    text = text or pod("MIRROR/hub/acme/api:1.0.0", "HOST/acme/api:1.0.0")
    fleet = lab.repository("fleet", {"a.yaml": text.replace("MIRROR", mirror)})
    image = f"{{image: HOST/acme/api, name: api, platforms: []{', ' if fields else ''}{fields}}}"
    config = lab.configure(f"repositories: [{{url: FLEET}}]\nimages:\n  - {image}\n", fleet=fleet)
    entry = f"insecure: true, aliases: [{{name: '{mirror}/hub', {alias}}}]}}, {{host: '{mirror}', insecure: true}}"
    config.write_text(config.read_text().replace("insecure: true}", entry))
    return config


def outcomes(report: Report, mirror: str) -> list[str]:
    """Where the mention by its alias goes, and then the other one, or why they stay."""
    rows = sorted(report.rows, key=lambda row: not (row.reference and mirror in row.reference.spelled))
    return [row.target or row.reason for row in rows]


def both(lab: Lab, mirror: EmbeddedRegistry, tag: str, payload: str = "") -> str:
    copy(mirror, tag, payload)
    return push(lab, tag, payload)


def push(lab: Lab, tag: str, payload: str = "") -> str:
    return push_image(lab.registry.url, "acme/api", [tag], payload=(payload or tag).encode())


def copy(mirror: EmbeddedRegistry, tag: str, payload: str = "") -> str:
    return push_image(mirror.url, "hub/acme/api", [tag], payload=(payload or tag).encode())


def shown(lab: Lab, mirror: EmbeddedRegistry) -> str:
    return lab.show("fleet", "a.yaml").replace(mirror.host, "MIRROR")


def test_a_tag_is_written_under_each_name_when_it_is_there(lab: Lab, mirror: EmbeddedRegistry) -> None:
    """One decision for each spelling; both keep theirs."""
    both(lab, mirror, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, mirror.host)
    report = lab.cycle(config)
    assert outcomes(report, mirror.host) == ["not_mirrored", "1.1.0"]
    (why,) = (row.why for row in report.rows if row.reason == "not_mirrored")
    assert why.endswith(f"not_mirrored: {mirror.host}/hub/acme/api has no 1.1.0 yet")
    assert shown(lab, mirror) == pod("MIRROR/hub/acme/api:1.0.0", "HOST/acme/api:1.1.0")
    copy(mirror, "1.1.0")
    assert outcomes(lab.cycle(config), mirror.host) == ["1.1.0", "up_to_date"]
    assert shown(lab, mirror) == pod("MIRROR/hub/acme/api:1.1.0", "HOST/acme/api:1.1.0")
    asked = len(mirror.requests)
    lab.cycle(config)
    assert len(mirror.requests) == asked  # nothing new, nothing asked


def test_what_a_person_takes_back_under_one_name_says_nothing_about_the_other(
    lab: Lab, mirror: EmbeddedRegistry
) -> None:
    both(lab, mirror, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, mirror.host)
    lab.cycle(config)
    back = pod("MIRROR/hub/acme/api:1.0.0", "HOST/acme/api:1.0.0").replace("MIRROR", mirror.host)
    person_commits(lab.folder / "git" / "fleet.git", {"a.yaml": lab.spell(back)})
    copy(mirror, "1.1.0")
    assert outcomes(lab.cycle(config, NOW + timedelta(days=2)), mirror.host) == ["1.1.0", "human_rollback"]


def test_an_older_tag_that_is_there_goes_first_whatever_is_approved(lab: Lab, mirror: EmbeddedRegistry) -> None:
    both(lab, mirror, "1.0.0")
    both(lab, mirror, "1.1.0")
    push(lab, "1.2.0")
    config = track(lab, mirror.host)
    with build(load(config, {})) as world:
        world.memory().holds.approve("api", "1.2.0", NOW)
    assert outcomes(lab.cycle(config), mirror.host) == ["1.1.0", "1.2.0"]


def test_an_alias_that_nobody_asks_for_is_not_asked(lab: Lab, mirror: EmbeddedRegistry) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, mirror.host, alias="must_exist: false")
    assert (outcomes(lab.cycle(config), mirror.host), mirror.requests) == (["1.1.0", "1.1.0"], [])


@pytest.mark.parametrize("fields", ["write: tag_digest", "write: digest", "policy: {kind: digest, tag: 1.1.0}"])
def test_where_a_digest_is_written_that_very_one_must_be_there(lab: Lab, mirror: EmbeddedRegistry, fields: str) -> None:
    both(lab, mirror, "1.0.0")
    digest = push(lab, "1.1.0")
    copy(mirror, "1.1.0", "rebuilt")
    config = track(lab, mirror.host, fields)
    report = lab.cycle(config)
    assert outcomes(report, mirror.host)[0] == "not_mirrored"
    assert any(row.why.endswith(f"has no {digest} yet") for row in report.rows)
    copy(mirror, "1.1.0")
    copy(mirror, "1.1.0", "rebuilt")  # the tag may go on: what is written is pulled by its digest
    assert outcomes(lab.cycle(config), mirror.host)[0].endswith(digest)


def test_a_tag_alone_may_be_another_image_there_unless_it_is_verified(lab: Lab, mirror: EmbeddedRegistry) -> None:
    """Some mirrors keep one platform of an index. What was verified is what the cluster must pull."""
    both(lab, mirror, "1.0.0")
    digest = push(lab, "1.1.0")
    other = copy(mirror, "1.1.0", "rebuilt")
    Signer().write(lab.folder, "none.pub")
    (signer := Signer()).write(lab.folder)
    push_simple(lab.registry.url, "acme/api", digest, signer.simple(digest))
    verified = track(lab, mirror.host, 'verify: {cosign: {key: "file:cosign.pub"}}')
    report = lab.cycle(verified, write=False)
    assert outcomes(report, mirror.host) == ["not_mirrored", "1.1.0"]
    why = f"api:1.1.0 is {other[:19]}, and what was verified is {digest[:19]}"
    assert any(row.why.endswith(why) for row in report.rows)
    unverified = verified.read_text().replace(', verify: {cosign: {key: "file:cosign.pub"}}', "")
    verified.write_text(unverified)
    assert outcomes(lab.cycle(verified), mirror.host) == ["1.1.0", "1.1.0"]


def test_a_mirror_that_is_away_is_a_failure_of_its_own_mentions_alone(lab: Lab, mirror: EmbeddedRegistry) -> None:
    both(lab, mirror, "1.0.0")
    both(lab, mirror, "1.1.0")
    config = track(lab, mirror.host)
    mirror.close()
    report = lab.cycle(config)
    found = {row.outcome: row for row in report.rows}
    assert (set(found), len(report.failures)) == ({Outcome.FAILED, Outcome.UPDATED}, 1)
    cause = found[Outcome.FAILED].cause
    assert cause is not None
    assert (cause.subject, cause.topic) == (Subject(registry=mirror.host), "unreachable")
    assert shown(lab, mirror) == pod("MIRROR/hub/acme/api:1.0.0", "HOST/acme/api:1.1.0")


def test_a_mirror_never_sees_the_login_of_what_it_mirrors(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another registry: with a login in an entry of its own, or with none."""
    monkeypatch.setenv("OURS", LOGIN[1])
    monkeypatch.setenv("THEIRS", "theirs-77aa")
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    with EmbeddedRegistry(login=("mirror", "theirs-77aa")) as mirror:
        push_image(mirror.url, "hub/acme/api", ["1.1.0"], login=("mirror", "theirs-77aa"))
        theirs = mirror.requests[-1].authorization
        config = track(lab, mirror.host)
        ours = f'credentials: {{kind: basic, username: {LOGIN[0]}, password: "env:OURS"}}, aliases'
        config.write_text(config.read_text().replace("aliases", ours))
        lab.registry.door.login = LOGIN
        seen = len(mirror.requests)
        report = lab.cycle(config)
        assert outcomes(report, mirror.host)[1] == "1.1.0"
        (cause,) = (row.cause for row in report.rows if row.cause)
        assert (cause.topic, {r.authorization for r in mirror.requests[seen:]}) == ("denied", {""})
        own = 'insecure: true, credentials: {kind: basic, username: mirror, password: "env:THEIRS"}}]'
        config.write_text(config.read_text().replace("insecure: true}]", own))
        seen = len(mirror.requests)
        report = lab.cycle(config)
        assert outcomes(report, mirror.host) == ["1.1.0", "up_to_date"]
        assert report.realms == {lab.registry.host: (), mirror.host: ()}
        assert {r.authorization for r in mirror.requests[seen:]} == {"", theirs}


def test_a_new_name_is_looked_for_as_it_is_to_be_spelled(lab: Lab, mirror: EmbeddedRegistry) -> None:
    """A mention by the alias stays one by the alias, whatever its name was."""
    push(lab, "1.0.0")
    config = track(lab, mirror.host, "replaces: [HOST/acme/old]", pod("MIRROR/hub/acme/old:1.0.0"))
    assert outcomes(lab.cycle(config), mirror.host) == ["not_mirrored"]
    copy(mirror, "1.0.0")
    lab.cycle(config)
    assert shown(lab, mirror) == pod("MIRROR/hub/acme/api:1.0.0")
