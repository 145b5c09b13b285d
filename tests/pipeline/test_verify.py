"""Signatures over whole cycles: what is not signed is never written; what is written is the digest that is signed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.cosign import Signer, push_bundle, push_simple
from tests.lab.loop import NOW, Lab, open_lab, pod
from tests.lab.sigstore import IDENTITY, ISSUER, Sigstore
from updater.config.load import load
from updater.daemon.build import build
from updater.demo.image import push_image
from updater.pipeline.report import Outcome, Report, Row
from updater.pipeline.update import update
from updater.store.holds import Holds

OURS, OTHERS = Signer(), Signer()
HOUR = timedelta(hours=1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    OURS.write(tmp_path)
    with open_lab(tmp_path) as opened:
        yield opened


def track(lab: Lab, fields: str = "", text: str = "", key: str = "file:cosign.pub", verify: str = "") -> Path:
    fleet = lab.repository("fleet", {"a.yaml": text or pod("HOST/acme/api:1.0.0")})
    wanted = verify or f'{{cosign: {{key: "{key}"}}}}'
    image = f"{{image: HOST/acme/api, name: api, platforms: [], verify: {wanted}{', ' if fields else ''}{fields}}}"
    return lab.configure(f"repositories: [{{url: FLEET}}]\nimages:\n  - {image}\n", fleet=fleet)


def push(lab: Lab, tag: str, payload: str = "") -> str:
    return push_image(lab.registry.url, "acme/api", [tag], payload=(payload or tag).encode())


def sign(lab: Lab, digest: str, signer: Signer = OURS, *, of: str = "", bundle: bool = False) -> None:
    """Sign a digest; `of` puts the signature of another one in its place."""
    if bundle:
        push_bundle(lab.registry.url, "acme/api", digest, signer.bundle(of or digest), tag=False)
    else:
        push_simple(lab.registry.url, "acme/api", digest, signer.simple(of or digest))


def row(report: Report) -> Row:
    (found,) = report.rows
    return found


@contextmanager
def people(config: Path) -> Iterator[Holds]:
    with build(load(config, {})) as world:
        yield world.memory().holds


@pytest.mark.parametrize(
    ("fields", "now", "then", "bundle"),
    [
        ("", "1.0.0", "1.1.0", False),
        ("moved_tag: follow", "1.0.0", "1.1.0", True),
        ("write: tag_digest", "1.0.0", "1.1.0@DIGEST", True),
        ("write: digest", "1.0.0", "@DIGEST", False),
        ("policy: {kind: digest, tag: 1.1.0}", "1.1.0", "1.1.0@DIGEST", True),
    ],
    ids=["a tag", "a tag by cosign 3", "tag and digest", "a digest", "a followed tag"],
)
def test_what_is_signed_is_written_once_it_is(lab: Lab, fields: str, now: str, then: str, bundle: bool) -> None:
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    before = pod(f"HOST/acme/api:{now}")
    after = pod(f"HOST/acme/api:{then.replace('DIGEST', digest)}".replace(":@", "@"))
    config = track(lab, fields, before)
    held = lab.cycle(config, NOW)
    assert (row(held).outcome, row(held).reason, held.failures) == (Outcome.HELD, "unverified", [])
    assert row(held).why.endswith(f"unverified: {digest[:19]} is not signed")
    assert (lab.show("fleet", "a.yaml"), len(lab.commits("fleet"))) == (before, 1)
    sign(lab, digest, bundle=bundle)
    assert row(lab.cycle(config, NOW + HOUR, write=False)).outcome is Outcome.AVAILABLE
    report = lab.cycle(config, NOW + HOUR)
    assert (row(report).outcome, lab.show("fleet", "a.yaml")) == (Outcome.UPDATED, after)
    assert lab.asked.get("manifest", 0) + lab.asked.get("blob", 0) <= 6
    assert row(lab.cycle(config, NOW + HOUR)).reason == "up_to_date"


@pytest.mark.parametrize(("wrong", "bundle"), [("another key", True), ("another image", False)])
def test_a_wrong_signature_is_none(lab: Lab, wrong: str, bundle: bool) -> None:
    first, digest = push(lab, "1.0.0"), push(lab, "1.1.0")
    of = first if wrong == "another image" else ""
    sign(lab, digest, OURS if of else OTHERS, of=of, bundle=bundle)
    config = track(lab, "write: tag_digest")
    report = lab.cycle(config)
    why = "it is that of another image" if of else "its key did not sign it"
    assert (row(report).reason, row(report).why.endswith(f"looked at: {why}")) == ("unverified", True)
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0")


def test_nobody_can_approve_what_is_not_signed(lab: Lab) -> None:
    push(lab, "1.0.0")
    digest = push(lab, "2.0.0")
    config = track(lab)
    with people(config) as said:
        said.approve("api", "2.0.0", NOW)
    assert row(lab.cycle(config)).reason == "unverified"
    sign(lab, digest)
    assert row(lab.cycle(config)).target == "2.0.0"


def test_an_older_tag_that_is_signed_goes_before_a_newer_one_that_is_not(lab: Lab) -> None:
    push(lab, "1.0.0")
    sign(lab, push(lab, "1.1.0"))
    push(lab, "1.2.0")
    report = lab.cycle(track(lab))
    assert (row(report).target, row(report).newest) == ("1.1.0", "1.2.0")
    assert "newest of 3 but 1 (unverified)" in row(report).why
    verdicts = {verdict.tag: verdict.why for verdict in row(report).decision.verdicts}  # type: ignore[union-attr]
    assert verdicts["1.2.0"].startswith("unverified: sha256:")


def test_thousands_of_tags_without_a_signature_cost_no_more_than_some(lab: Lab) -> None:
    """Every poll would ask for each of them again. Those that are not asked about say so."""
    push(lab, "1.0.0")
    for n in range(60):
        push(lab, f"1.1.{n}")
    report = lab.cycle(track(lab))
    verdicts = {verdict.tag: verdict.why for verdict in row(report).decision.verdicts}  # type: ignore[union-attr]
    assert verdicts["1.1.0"] == "unverified: not asked, as 16 newer ones were stopped by this or the like"
    assert verdicts["1.1.44"].endswith("is not signed")
    assert lab.asked["manifest"] <= 24


def test_a_tag_that_moves_after_it_was_verified_is_not_written_with_its_new_digest(lab: Lab) -> None:
    """It is resolved once: what was verified is what is written, and the new one is verified in its own time."""
    push(lab, "1.0.0")
    good = push(lab, "1.1.0")
    sign(lab, good)
    config = track(lab, "write: tag_digest, moved_tag: follow")
    with build(load(config, {})) as world:
        check = world.verifier.unsigned

        class Moving(type(world.verifier)):  # type: ignore[misc]
            """Somebody pushes the tag anew at the very moment when its old digest was verified."""

            def unsigned(self, *asked: object) -> str:
                said = check(*asked)  # type: ignore[arg-type]
                push(lab, "1.1.0", "evil")
                return said

        world.verifier = Moving()
        update(world, world.settings.items, NOW)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:1.1.0@{good}")
    report = lab.cycle(config, NOW + HOUR)
    assert (row(report).outcome, len(lab.commits("fleet"))) == (Outcome.UP_TO_DATE, 2)


def test_a_followed_tag_that_moved_is_verified_anew(lab: Lab) -> None:
    first = push(lab, "stable")
    sign(lab, first)
    config = track(lab, "policy: {kind: digest}", pod("HOST/acme/api:stable"))
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:stable@{first}")
    push(lab, "stable", "evil")
    assert row(lab.cycle(config, NOW + HOUR)).reason == "unverified"
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:stable@{first}")


def test_a_new_name_is_written_only_with_what_is_signed(lab: Lab) -> None:
    digest = push(lab, "1.0.0")
    config = track(lab, "replaces: [old.example.com/api]", pod("old.example.com/api:1.0.0"))
    assert row(lab.cycle(config)).reason == "unverified"
    sign(lab, digest)
    push(lab, "1.1.0")  # what stops a newer one does not stop the new name
    lab.cycle(config)
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0")


def test_a_registry_that_fails_while_asked_is_a_failure_and_no_verdict(lab: Lab) -> None:
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    sign(lab, digest, bundle=True)
    config = track(lab)
    (holder,) = (d for d, body in lab.registry.content.blobs.items() if b'"subject"' in body and b"layers" in body)
    kept = lab.registry.content.blobs.pop(holder)
    lab.registry.content.blobs[holder] = b"\xff" * 4  # what the server lists as JSON, it cannot read itself
    report = lab.cycle(config)
    assert (row(report).outcome, len(report.failures), report.commits) == (Outcome.FAILED, 1, [])
    lab.registry.content.blobs[holder] = kept
    assert row(lab.cycle(config)).outcome is Outcome.UPDATED


@pytest.mark.parametrize(
    ("key", "content", "error"),
    [
        ("file:gone.pub", None, "cannot be read"),
        ("file:bad.pub", "junk", "no block of PEM; expected 1 to 16 public keys"),
        ("env:NO_SUCH_KEY", None, "is empty or not set"),
    ],
    ids=["gone", "junk", "unset"],
)
def test_a_key_that_cannot_be_used_fails_its_own_image_alone(
    lab: Lab, key: str, content: str | None, error: str
) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    lab.push("acme/web", "1.0.0", "1.1.0")
    if content is not None:
        (lab.folder / "bad.pub").write_text(content)
    config = track(lab, text=pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.0.0"), key=key)
    config.write_text(config.read_text() + f"  - {{image: {lab.registry.host}/acme/web, name: web}}\n")
    report = lab.cycle(config)
    found = {one.item.name: one for one in report.rows}
    assert (found["api"].outcome, found["api"].cause, error in found["api"].why) == (Outcome.FAILED, None, True)
    assert found["web"].outcome is Outcome.UPDATED
    assert [error in failure.error for failure in report.failures] == [True]
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.0.0", "HOST/acme/web:1.1.0")


def test_a_key_is_read_again_when_it_changes(lab: Lab) -> None:
    """And what the old one vouched for is asked anew."""
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    sign(lab, digest)
    OTHERS.write(lab.folder)
    config = track(lab)
    with build(load(config, {})) as world:
        assert row(update(world, world.settings.items, NOW, write=False)).reason == "unverified"
        OURS.write(lab.folder)
        assert row(update(world, world.settings.items, NOW, write=False)).outcome is Outcome.AVAILABLE
        before = len(lab.registry.requests)
        assert row(update(world, world.settings.items, NOW, write=False)).outcome is Outcome.AVAILABLE
        assert not [r for r in lab.registry.requests[before:] if ".sig" in r.path]  # it is remembered
        OTHERS.write(lab.folder)
        assert row(update(world, world.settings.items, NOW, write=False)).reason == "unverified"
        (lab.folder / "cosign.pub").unlink()
        assert row(update(world, world.settings.items, NOW, write=False)).outcome is Outcome.FAILED


KEYLESS = f'{{cosign: {{identity: "{IDENTITY}", issuer: "{ISSUER}", trust_root: "file:root.json"}}}}'


def keyless(lab: Lab, sigstore: Sigstore, digest: str, identity: str = IDENTITY) -> None:
    push_bundle(
        lab.registry.url, "acme/api", digest, json.dumps(sigstore.sign(digest, identity=identity)).encode(), tag=False
    )


def test_what_is_signed_without_a_key_is_written_where_the_signer_is_the_expected_one(lab: Lab) -> None:
    ours = Sigstore()
    ours.write(lab.folder, "root.json")
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    keyless(lab, ours, digest, identity="https://github.com/evil/api/.github/workflows/release.yml@refs/tags/v1")
    config = track(lab, "write: tag_digest", verify=KEYLESS)
    held = row(lab.cycle(config, NOW))
    assert (held.outcome, held.reason) == (Outcome.HELD, "unverified")
    assert (
        f"it was signed by https://github.com/evil/api/.github/workflows/release.yml@refs/tags/v1, expected {IDENTITY}"
        in held.why
    )
    keyless(lab, ours, digest)
    assert row(lab.cycle(config, NOW + HOUR)).outcome is Outcome.UPDATED
    assert lab.show("fleet", "a.yaml") == pod(f"HOST/acme/api:1.1.0@{digest}")


def test_a_trust_root_is_read_anew_when_it_changes_and_fails_its_image_where_it_cannot_be_used(lab: Lab) -> None:
    ours, others = Sigstore(), Sigstore()
    push(lab, "1.0.0")
    keyless(lab, ours, push(lab, "1.1.0"))
    root = others.write(lab.folder, "root.json")
    with build(load(track(lab, verify=KEYLESS), {})) as world:
        assert row(update(world, world.settings.items, NOW, write=False)).reason == "unverified"
        ours.write(lab.folder, "root.json")
        assert row(update(world, world.settings.items, NOW, write=False)).outcome is Outcome.AVAILABLE
        root.write_text("{}")
        report = update(world, world.settings.items, NOW, write=False)
        assert (row(report).outcome, row(report).cause) == (Outcome.FAILED, None)
        assert "expected a trusted_root.json of Sigstore" in row(report).why
        root.unlink()
        assert "cannot be read" in row(update(world, world.settings.items, NOW, write=False)).why


def test_a_package_that_is_gone_fails_its_image_and_says_what_to_install(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sigstore().write(lab.folder, "root.json")
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, verify=KEYLESS)
    monkeypatch.delitem(sys.modules, "updater.registry.keyless", raising=False)
    monkeypatch.setitem(sys.modules, "sigstore.errors", None)
    failed = row(lab.cycle(config))
    assert failed.outcome is Outcome.FAILED
    assert "pip install 'updater[sigstore]'" in failed.why


def test_two_environments_may_want_two_signatures(lab: Lab) -> None:
    push(lab, "1.0.0")
    sign(lab, push(lab, "1.1.0"), OTHERS)
    OTHERS.write(lab.folder, "dev.pub")
    fleet = lab.repository("fleet", {f"{env}/a.yaml": pod("HOST/acme/api:1.0.0") for env in ("dev", "prod", "free")})
    wants = {"dev": '{cosign: {key: "file:dev.pub"}}', "prod": '{cosign: {key: "file:cosign.pub"}}', "free": "null"}
    item = "      - {{name: {0}, repository: fleet, paths: [{0}/], verify: {1}}}\n"
    items = "".join(item.format(env, verify) for env, verify in wants.items())
    images = f"images:\n  - image: HOST/acme/api\n    name: api\n    platforms: []\n    update:\n{items}"
    config = lab.configure(f"repositories: [{{url: FLEET}}]\n{images}", fleet=fleet)
    reasons = {one.item.name: one.target or one.reason for one in lab.cycle(config).rows}
    assert reasons == {"api/dev": "1.1.0", "api/prod": "unverified", "api/free": "1.1.0"}
