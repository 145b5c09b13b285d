"""The feed: well formed whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.lab.front import Front, open_front
from updater.model.event import Event, Kind, Spot, Subject

ATOM = "{http://www.w3.org/2005/Atom}"
NASTY = "</title><script>alert(1)</script>]]>&\x00\x1b'\""


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    file = tmp_path / "updater.yaml"
    file.write_text(f"data: {tmp_path}/data\nimages: []\nweb: {{public_url: 'https://updater.example.com'}}\n")
    with open_front(file) as found:
        yield found


def updated(number: int, **more: str) -> Event:
    subject = Subject(image="api", item="api", reference=more.pop("reference", "ghcr.io/acme/api"))
    spots = (Spot("fleet", "main", more.pop("file", "api.yaml"), 3, "ghcr.io/acme/api"),)
    at = datetime.now(UTC)
    return Event(Kind.IMAGE_UPDATED, at, subject, old="1", new="2", commit=f"{number:040x}", spots=spots, **more)  # type: ignore[arg-type]


def test_an_empty_feed_is_one(front: Front) -> None:
    found = ET.fromstring(front.get("/feed.atom").text)
    assert found.tag == f"{ATOM}feed"
    assert found.find(f"{ATOM}updated") is not None
    assert not found.findall(f"{ATOM}entry")


def test_what_comes_from_outside_is_escaped(front: Front) -> None:
    front.write([updated(1, why=NASTY, file=NASTY, reference=NASTY, commit_url=f"https://x/{NASTY}"), updated(2)])
    answer = front.get("/feed.atom")
    assert answer.headers["content-type"] == "application/atom+xml"
    assert "<script>" not in answer.text
    entries = ET.fromstring(answer.text).findall(f"{ATOM}entry")
    assert len(entries) == 2
    assert "<script>" in (entries[1].findtext(f"{ATOM}content") or "")
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 2


def test_a_link_is_one_to_a_page(front: Front) -> None:
    front.write([updated(1, commit_url="javascript:alert(1)")])
    entry = ET.fromstring(front.get("/feed.atom").text).find(f"{ATOM}entry")
    assert entry is not None
    assert entry.find(f"{ATOM}link") is None


def test_who_has_it_is_not_sent_it_again(front: Front) -> None:
    etag = front.get("/feed.atom").headers["etag"]
    assert front.get("/feed.atom", headers={"If-None-Match": etag}).status_code == 304
