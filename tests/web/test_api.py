"""The API over a real state: what it answers, what it refuses, and that it costs nothing to ask twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.front import Front, fleet
from tests.lab.loop import open_lab
from tests.lab.statements import statements
from updater.web.ledger import ledger_of

API = "/api/v1"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_lab(tmp_path_factory.mktemp("front")) as lab, fleet(lab) as found:
        found.cycle()
        yield found


def names(answer: Any) -> list[str]:
    return [one["name"] for one in answer.json()["items"]]


def test_images_come_in_pages_and_by_filter(front: Front) -> None:
    first = front.get(f"{API}/images?limit=2")
    assert names(first) == ["api", "web"]
    second = front.get(f"{API}/images", params={"limit": 2, "cursor": first.json()["next"]})
    assert names(second) == ["gone"]
    assert second.json()["next"] is None
    assert names(front.get(f"{API}/images?outcome=held")) == ["web"]
    assert names(front.get(f"{API}/images?label=team%3Dshop")) == ["api"]
    assert names(front.get(f"{API}/images?q=acme+web")) == ["web"]


def test_one_image_one_commit_and_the_whole(front: Front) -> None:
    assert front.get(f"{API}/images/web").json()["tags"][0]["tag"] == "2.0.0"
    [change] = front.get(f"{API}/changes").json()["items"]
    detail = front.get(f"{API}/changes/fleet/{change['revision']}").json()
    assert "1.5.0" in detail["diff"]
    assert front.get(f"{API}/overview").json()["counts"]["held"] == 1
    kinds = {one["kind"] for one in front.get(f"{API}/events?image=api").json()["items"]}
    assert kinds == {"image_updated"}


def test_what_the_reader_has_is_not_sent_again(front: Front) -> None:
    answer = front.get(f"{API}/images")
    etag = answer.headers["etag"]
    again = front.get(f"{API}/images", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    front.look()
    ledger_of(front.desk).kept.forget()  # what took long to make holds for a moment
    assert front.get(f"{API}/images", headers={"If-None-Match": etag}).status_code == 200


def test_a_list_is_made_once_for_all_who_ask(front: Front) -> None:
    front.get(f"{API}/images")
    with statements(front.daemon.database) as told:
        assert {front.get(f"{API}/images").headers["etag"] for _ in range(20)}
    assert len(told) <= 6  # that of one list, where the clock went on meanwhile


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/images?limit=0", 400),
        ("/images?limit=501", 400),
        ("/images?limit=1&limit=2", 400),
        ("/images?colour=red", 400),
        ("/images?cursor=!!", 400),
        ("/images?cursor=bm9ib2R5", 400),
        ("/events?cursor=bm9ib2R5", 400),
        ("/events?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", 400),
        ("/events?kind=party", 400),
        ("/notifications?state=lost", 400),
        ("/overview?x=1", 400),
        ("/images/nobody", 404),
        ("/changes/fleet/main", 404),
        ("/applications/shop", 404),
        ("/nothing", 404),
    ],
)
def test_what_cannot_be_asked_is_a_problem_document(front: Front, path: str, code: int) -> None:
    answer = front.get(API + path)
    assert answer.status_code == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == code
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "code"),
    [
        ("/images/api/hold", b'{"until": 7}', "application/json", 422),
        ("/images/api/hold", b'{"why": "x"}', "application/json", 422),
        ("/images/api/hold", b'{"until": "long ago"}', "application/json", 422),
        ("/images/api/hold", b"{", "application/json", 422),
        ("/images/api/hold", b"[" * 60_000, "application/json", 422),
        ("/images/api/hold", b"reason=x", "application/x-www-form-urlencoded", 415),
        ("/images/api/hold", b'{"reason": "' + b"x" * 70_000, "application/json", 413),
        ("/images/nobody/hold", b"", "application/json", 404),
        ("/images/api/approve", b'{"tag": "../x"}', "application/json", 422),
        ("/notifications/robot/test", b"", "application/json", 404),
        ("/applications/shop/sync", b"", "application/json", 404),
    ],
)
def test_what_cannot_be_done_is_a_problem_document(front: Front, path: str, body: bytes, kind: str, code: int) -> None:
    answer = front.post(API + path, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")


def test_a_hold_is_seen_by_whoever_asks_next(front: Front) -> None:
    answer = front.post(f"{API}/images/gone/hold", json={"until": "2h", "reason": "broken"})
    assert (answer.status_code, answer.json()) == (200, {"names": ["gone"]})
    assert front.get(f"{API}/images/gone").json()["held"]["reason"] == "broken"
    assert front.post(f"{API}/images/gone/resume").status_code == 200
    assert front.get(f"{API}/images/gone").json()["held"] is None
    assert front.post(f"{API}/images/gone/check").status_code == 202


def test_the_description_says_every_path_and_names_every_shape(front: Front) -> None:
    found = front.get("/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    text = json.dumps(found)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in found["components"]["schemas"]
    assert {"/api/v1/images/{name}", "/api/v1/stream", "/feed.atom"} <= found["paths"].keys()


def test_a_state_that_cannot_be_read_is_no_bug(front: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from updater.errors import StoreError

    def broken(*_: object, **__: object) -> None:
        raise StoreError("state: disk I/O error")

    monkeypatch.setattr("updater.store.chronicle.Chronicle.page", broken)
    answer = front.get(f"{API}/events?limit=7")
    assert (answer.status_code, answer.json()["detail"]) == (503, "state: disk I/O error")
