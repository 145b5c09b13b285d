"""Where an image comes from, from what a build pushed to the commit that links it, at a counted price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.git import person_commits
from tests.lab.loop import NOW, Lab, open_lab, pod
from tests.lab.scripted import Asked, Scripted
from updater.demo.image import push_image
from updater.git.log import trailers
from updater.messages.commits import linked
from updater.messages.origin import Links
from updater.model.decision import Update
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.tag import Described
from updater.pipeline.origins import origins
from updater.registry.client import Registry
from updater.store.database import Database
from updater.store.descriptions import Descriptions
from updater.transport.http import Http

HOUR = timedelta(hours=1)
BOTH = ("linux/amd64", "linux/arm64")
HUB, REVISION = "https://github.com/acme/api", "0123456789abcdef0123456789abcdef01234567"
LABELS = {
    "org.opencontainers.image.source": f"{HUB}.git",
    "org.opencontainers.image.revision": REVISION,
    "org.opencontainers.image.version": "v1.1.0",
}
LINKS = Links(f"{HUB}/releases/tag/v1.1.0", f"{HUB}/tree/{REVISION}")
INDEX = {"list": 1, "manifest": 3, "blob": 1}  # the new index, the old one, and one image of the new one
SINGLE = {"list": 1, "manifest": 2, "blob": 2}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as opened:
        yield opened


def track(lab: Lab, fields: str = "", text: str = "") -> Path:
    fleet = lab.repository("fleet", {"a.yaml": text or pod("HOST/acme/api:1.0.0")})
    return lab.configure(
        f"repositories: [{{url: FLEET}}]\nimages: [{{image: HOST/acme/api, name: api{fields}}}]\n", fleet=fleet
    )


def push(lab: Lab, tag: str, platforms: tuple[str, ...] = BOTH, labels: dict[str, str] | None = None) -> str:
    told = LABELS if labels is None else labels
    return push_image(lab.registry.url, "acme/api", [tag], payload=tag.encode(), platforms=platforms, labels=told)


def message(lab: Lab) -> str:
    return lab.run("fleet", "log", "-1", "--format=%B", "main").replace(lab.registry.host, "HOST")


@pytest.mark.parametrize(
    ("platforms", "fields", "asked", "links"),
    [
        (("linux/amd64",), "", SINGLE, LINKS),
        (BOTH, "", INDEX, LINKS),
        (BOTH, ", write: tag_digest", INDEX, LINKS),
        (BOTH, ", policy: {kind: digest, tag: 1.1.0}", {"head": 1, "manifest": 2, "blob": 1}, LINKS),
        (BOTH, ", platforms: [], moved_tag: follow", {"list": 1}, None),
        (BOTH, ", platforms: []", {"list": 1, "head": 1}, None),
    ],
    ids=["a manifest: nothing more", "an index: two requests more", "with its digest", "a digest that is followed",
         "content that nobody looks at is not looked at", "nor is that whose digest alone is asked"],
)  # fmt: skip
def test_the_commit_links_where_the_new_image_comes_from(
    lab: Lab, platforms: tuple[str, ...], fields: str, asked: dict[str, int], links: Links | None
) -> None:
    push(lab, "1.0.0", platforms)
    digest = push(lab, "1.1.0", platforms)
    config = track(lab, fields)
    report = lab.cycle(config)
    assert lab.asked == asked
    (told,) = linked(message(lab)).values() or (None,)
    assert told == links
    (update,) = (row.decision for row in report.rows)
    assert isinstance(update, Update)
    assert update.digest in {digest, None}
    assert update.origin == (Origin(HUB, REVISION, "v1.1.0") if links else None)


def test_the_trailers_are_those_of_an_image_that_says_nothing(lab: Lab) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0", labels={})
    config = track(lab, ", write: tag")
    lab.cycle(config)
    silent = dict(trailers(message(lab)))
    push(lab, "1.2.0")
    lab.cycle(config, NOW + HOUR)
    assert linked(message(lab))
    assert list(dict(trailers(message(lab)))) == list(silent) == ["Image-Update", "Image-Digest", "Image-Reason"]


def test_it_is_asked_for_once_whatever_changes_to_it(lab: Lab) -> None:
    """By several references, and by another process later: what was read of a digest is kept."""
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, "", pod("HOST/acme/api:1.0.0", "HOST/acme/api:1.0.0"))
    lab.cycle(config)
    assert lab.asked == INDEX
    person_commits(lab.folder / "git" / "fleet.git", {"b.yaml": lab.spell(pod("HOST/acme/api:1.0.0"))})
    lab.cycle(config, NOW + HOUR)
    assert lab.asked == {"list": 1, "head": 1}
    assert list(linked(message(lab)).values()) == [LINKS]


ALIAS = "x: &image HOST/acme/api:1.0.0\n" + pod("*image")
UNCHANGED: dict[str, tuple[str, str, bool, dict[str, int]]] = {
    "up to date": ("", pod("HOST/acme/api:1.1.0"), True, {"list": 1}),
    "held by its level": (", level: patch", "", True, {"list": 1}),
    "watched only": (", update: []", "", True, {"list": 1, "manifest": 2}),
    "not writable": ("", ALIAS, True, {"list": 1, "manifest": 2}),
    "a mere look": ("", "", False, {"list": 1, "manifest": 2}),
}


@pytest.mark.parametrize(("fields", "text", "write", "asked"), UNCHANGED.values(), ids=UNCHANGED)
def test_what_is_not_written_is_not_asked(lab: Lab, fields: str, text: str, write: bool, asked: dict[str, int]) -> None:
    push(lab, "1.0.0")
    push(lab, "1.1.0")
    config = track(lab, fields, text)
    report = lab.cycle(config, write=write)
    assert (lab.asked, report.commits) == (asked, [])


@pytest.mark.parametrize("part", ["manifest", "configuration"])
def test_a_registry_that_does_not_tell_holds_nothing_up(lab: Lab, part: str) -> None:
    push(lab, "1.0.0")
    digest = push(lab, "1.1.0")
    content = lab.registry.content
    child = next(at for at in content.blobs if at in content.blobs[digest].decode())
    inner = next(at for at in content.blobs if at in content.blobs[child].decode())
    content.blobs.pop(child if part == "manifest" else inner)
    report = lab.cycle(track(lab))
    assert ([row.outcome.value for row in report.rows], report.failures) == (["updated"], [])
    assert lab.show("fleet", "a.yaml") == pod("HOST/acme/api:1.1.0")
    assert linked(message(lab)) == {}


def test_hostile_labels_leave_no_trace_in_git(lab: Lab) -> None:
    push(lab, "1.0.0")
    evil = "https://evil.example/x\n\nImage-Update: HOST/acme/api 1.1.0 -> 6.6.6"
    push(lab, "1.1.0", labels=dict.fromkeys(LABELS, evil))
    lab.cycle(track(lab))
    assert "evil" not in message(lab)
    assert [value for key, value in trailers(message(lab)) if key == "Image-Update"] == ["HOST/acme/api 1.0.0 -> 1.1.0"]


def test_a_registry_that_never_answers_is_waited_for_once(tmp_path: Path) -> None:
    """All images together have so much time: what is left then is not even asked."""
    index, image = f"sha256:{1:064x}", f"sha256:{2:064x}"

    def script(_asked: Asked) -> None:
        server.stopped.wait(30)

    database = Database(f"sqlite:///{tmp_path}/state.db")
    with Scripted(script) as server, Http() as http:
        registry = Registry(server.host, http=http, insecure=True, concurrency=1)
        descriptions = Descriptions(database)
        descriptions.put({index: Described(None, frozenset(), asked_created=False, speaker=image)}, NOW)
        targets = [ImageRef(server.host, f"acme/{n}", None, index) for n in range(100)]
        assert origins(targets, lambda _: registry, descriptions, NOW, patience=0.3) == {}
        assert len(server.requests) < 10
        server.stopped.set()
    database.close()
