"""No answer ever holds a secret, also where somebody else's words brought one along; and none is changed by asking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.lab.front import Front, open_front
from updater.model.event import Event, Kind, Spot, Subject
from updater.secrets import SecretRef
from updater.store.journal import Journal, Post, Writing
from updater.store.polls import Poll, write_polls
from updater.store.schema import metadata, outbox
from updater.web import facts
from updater.web.api import ENDPOINTS
from updater.web.openapi import Get, Other

CANARY = "canary-7f3e9a1c55"
CONFIG = """
images: [{image: ghcr.io/acme/api, name: api, labels: {team: shop}}]
repositories:
  - {name: fleet, url: 'https://github.com/a/f.git', credentials: {kind: basic, username: u, password: "env:CANARY"}}
registries: [{host: ghcr.io, credentials: {kind: basic, username: u, password: "env:CANARY"}}]
notifications: {channels: [{kind: webhook, url: "env:CANARY_URL"}]}
"""
NASTY = f"it said {CANARY} \x1b[31m</script>\nhttps://u:{CANARY}@example.com/ \u202e"


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("CANARY_URL", f"https://127.0.0.1:1/{CANARY}")
    for name in ("env:CANARY", "env:CANARY_URL"):
        SecretRef(name).resolve()
    file = tmp_path / "updater.yaml"
    file.write_text(f"data: {tmp_path}/data\n{CONFIG}")
    with open_front(file) as found:
        tell(found)
        yield found


def tell(front: Front) -> None:
    """Have happened what carries the secret wherever a text from outside may stand."""
    now = datetime.now(UTC)
    event = Event(
        Kind.IMAGE_UPDATED, now, Subject(image="api", item="api", reference=NASTY), old=NASTY, new=NASTY, why=NASTY,
        commit="a" * 40, commit_url=f"https://u:{CANARY}@example.com/c", release_notes=f"https://example.com/{CANARY}",
        spots=(Spot("fleet", "main", NASTY, 3, NASTY),), labels={NASTY: NASTY}, images=(NASTY,),
    )  # fmt: skip
    failed = replace(event, kind=Kind.UPDATE_FAILED, commit=None)
    post = Post("webhook", event.id, event.subject.key, now, 0)
    writing = Writing(events=[event, failed], posts=[post])
    Journal(front.daemon.database).write(lambda _: writing, now, (), ())
    place = {"repository": "fleet", "branch": "main", "file": NASTY, "line": 3, "current": NASTY, "target": NASTY}
    found = {"outcome": "failed", "why": NASTY, "current": NASTY, "target": NASTY, "newest": NASTY, "places": 1}
    document = json.dumps(found | {"references": [place | {"outcome": "failed", "reason": NASTY, "why": NASTY}]})
    poll = Poll("api", now, 1, None, "failed", NASTY, None, True, document)
    with front.daemon.database.transaction() as connection:
        write_polls(connection, [poll])
        connection.execute(outbox.update().values(answer=NASTY, attempts=1))
    front.daemon.known = {"api": poll}


def paths() -> list[str]:
    values = {"{name:path}": "api", "{repository}": "fleet", "{revision}": "a" * 40}
    found = []
    for one in ENDPOINTS:
        if isinstance(one, Get | Other) and not one.path.endswith("/stream"):
            path = one.path
            for name, value in values.items():
                path = path.replace(name, value)
            found.append(path)
    return [*found, "/openapi.json", "/api/v1/images?cursor=x", "/api/v1/images/nobody"]


@pytest.mark.parametrize("path", paths())
def test_no_answer_holds_a_secret_or_a_control_character(front: Front, path: str) -> None:
    answer = front.get(path)
    assert answer.status_code in {200, 400, 404}
    assert CANARY not in answer.text + str(answer.headers)
    for character in ("\\u001b", "\x1b", "\u202e", "\\u202e"):
        assert character not in answer.text


def test_what_is_told_still_says_what_happened(front: Front) -> None:
    found = facts.image(front.desk, "api")
    assert found is not None
    assert "it said ***" in found.why
    [letter] = facts.letters(front.desk).items
    assert "it said ***" in letter.answer


def test_asking_changes_nothing(front: Front) -> None:
    def everything() -> dict[str, list[tuple[object, ...]]]:
        with front.daemon.database.transaction() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table))]
                for table in metadata.sorted_tables
            }

    before = everything()
    for path in paths():
        front.get(path)
    assert everything() == before
    assert before["events"]
