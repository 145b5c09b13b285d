"""The webhook: one CloudEvent a request, signed so that a receiver can refuse forgeries and replays."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.scripted import reply
from tests.notifiers.made import (
    EVERY,
    FAILURE,
    HOSTILE,
    HOSTILE_MESSAGE,
    NOW,
    SEVERAL,
    SINGLE,
    TEST,
    answer,
    body,
    delivery,
    entry,
    event,
    in_turn,
    message,
    served,
)
from updater.errors import NotifyError
from updater.model.event import Event, Kind, Spot
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.webhook import MAX_BODY, Webhook

HOOK = "https://receiver.example.com/hooks/secret-of-the-path"
KEY = "key-of-the-signature"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("AUTH", "Bearer value-of-a-header")


def webhook(**more: Any) -> Webhook:
    return Webhook.model_validate({"kind": "webhook", "url": "env:HOOK"} | more)


def test_an_event_is_a_cloud_event() -> None:
    request = webhook().request(delivery())
    told = event()
    assert request.url == HOOK
    assert request.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert body(request) == {
        "specversion": "1.0",
        "id": told.id,
        "source": "urn:updater",
        "type": "updater.image_updated",
        "subject": "api",
        "time": "2026-11-25T18:00:05Z",
        "datacontenttype": "application/json",
        "data": told.as_json() | {"text": "api 1.4.2 -> 1.5.0"},
    }


def test_the_text_is_the_one_line_of_the_event() -> None:
    told = message(entry(line="api 1.4.2 -> 1.5.0 (in fleet)"))
    assert body(webhook().request(delivery(told)))["data"]["text"] == "api 1.4.2 -> 1.5.0 (in fleet)"


def test_the_data_can_be_read_back_as_the_event() -> None:
    data = body(webhook().request(delivery(FAILURE)))["data"]
    assert Event.from_json(data) == event(Kind.SCAN_FAILED)


def test_a_test_is_an_event_of_its_own_type() -> None:
    found = body(webhook().request(delivery(TEST)))
    assert (found["type"], found["id"], found["data"]) == (
        "updater.test", TEST.id, {"text": "Test message of updater"},
    )  # fmt: skip


def test_what_is_said_besides_is_a_note() -> None:
    found = body(webhook().request(delivery(EVERY["held back"])))
    assert (found["type"], found["data"]["note"]) == ("updater.note", "12 events were held back since yesterday.")
    assert body(webhook().request(delivery(replace(SINGLE, note="late"))))["data"]["note"] == "late"


def test_one_request_is_one_event() -> None:
    assert Webhook.merges is False
    with pytest.raises(ValueError, match="too many values"):
        webhook().request(delivery(SEVERAL))
    assert webhook().weigh(SEVERAL) > 2 * webhook().weigh(SINGLE)


def test_plain_and_templates_change_nothing() -> None:
    whole = webhook().request(delivery()).body
    assert webhook().request(delivery(plain=True)).body == whole
    assert webhook().request(delivery(message(replace(SINGLE.entries[0], markup="x")))).body == whole


# --- signatures -----------------------------------------------------------------------------------------------------


def test_a_signature_covers_time_and_body() -> None:
    request = webhook(secret="env:KEY").request(delivery())
    stamp = request.headers["X-Updater-Timestamp"]
    expected = hmac.new(KEY.encode(), stamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Updater-Signature"] == f"sha256={expected}"
    assert int(stamp) == int(NOW.timestamp())


def test_another_time_is_another_signature_and_the_same_id() -> None:
    channel = webhook(secret="env:KEY")
    first = channel.request(delivery())
    again = channel.request(replace(delivery(), now=NOW.replace(minute=7)))
    assert body(first)["id"] == body(again)["id"]
    assert first.headers["X-Updater-Signature"] != again.headers["X-Updater-Signature"]


def test_without_a_secret_nothing_is_signed() -> None:
    assert set(webhook().request(delivery()).headers) == {"Content-Type"}


def test_further_headers_are_secrets() -> None:
    channel = webhook(headers={"Authorization": "env:AUTH"})
    assert channel.request(delivery()).headers["Authorization"] == "Bearer value-of-a-header"
    assert "value-of-a-header" not in repr(channel)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "wörter", "a\0b"])
def test_a_value_that_is_no_header_is_a_mistake(tmp_path: Any, value: str) -> None:
    held = tmp_path / "value"
    held.write_text(value, newline="")
    with pytest.raises(NotifyError, match="X-Key"):
        webhook(headers={"X-Key": f"file:{held}"}).request(delivery())


# --- hostile and large ----------------------------------------------------------------------------------------------


def test_outside_text_stays_data() -> None:
    told = message(entry(headline=HOSTILE, facts=()))
    told = message(replace(told.entries[0], event=event(why=HOSTILE)), note=HOSTILE)
    request = webhook(secret="env:KEY").request(delivery(told))
    data = body(request)["data"]
    assert data["why"] == HOSTILE.replace("\ud800", "?")
    assert "\n" not in data["text"]
    assert set(request.headers) == {"Content-Type", "X-Updater-Signature", "X-Updater-Timestamp"}
    assert body(webhook().request(delivery(HOSTILE_MESSAGE)))["specversion"] == "1.0"


SPOTS = tuple(Spot("fleet", "main", f"apps/{number}/" + "d" * 200, number) for number in range(5000))


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        pytest.param(event(), 1, id="small: whole"),
        pytest.param(replace(event(), spots=SPOTS), 20, id="many places: the first ones"),
        pytest.param(replace(event(), spots=SPOTS, images=("x" * 500,) * 5000), 20, id="many images too"),
        pytest.param(replace(event(), spots=SPOTS, why="w" * 200_000), 3, id="a long error: its beginning"),
        pytest.param(
            replace(event(), spots=SPOTS, why="w" * 200_000, labels={str(n): "l" * 500 for n in range(500)}),
            3,
            id="labels",
        ),
    ],
)
def test_what_is_too_large_says_what_it_lacks(told: Event, kept: int) -> None:
    request = webhook().request(delivery(message(replace(entry(), event=told))))
    assert len(request.body) <= MAX_BODY
    data = body(request)["data"]
    assert len(data["spots"]) == kept
    assert data.get("truncated", False) == (kept != 1)
    assert Event.from_json(data).kind is Kind.IMAGE_UPDATED


# --- answers and addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        pytest.param(200, Verdict.DELIVERED, id="200"),
        pytest.param(202, Verdict.DELIVERED, id="202"),
        pytest.param(204, Verdict.DELIVERED, id="204"),
        pytest.param(302, Verdict.PERMANENT, id="a redirect is not followed"),
        pytest.param(400, Verdict.DEGRADE, id="content refused"),
        pytest.param(401, Verdict.PERMANENT, id="signature refused"),
        pytest.param(404, Verdict.PERMANENT, id="no receiver"),
        pytest.param(410, Verdict.PERMANENT, id="not wanted any more"),
        pytest.param(429, Verdict.PAUSE, id="too many"),
        pytest.param(503, Verdict.RETRY, id="an outage"),
    ],
)
def test_the_status_is_the_answer(status: int, verdict: Verdict) -> None:
    assert webhook().read(answer(status, "words")).verdict is verdict


def test_over_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(in_turn(reply(204), None)) as (server, wire):
        monkeypatch.setenv("HOOK", f"{server.url}/hooks/secret-of-the-path")
        channel = webhook(secret="env:KEY")
        delivered, reset = (channel.deliver(delivery(), wire) for _ in range(2))
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert server.requests[0].path == "/hooks/secret-of-the-path"
    assert server.requests[0].headers["content-type"].startswith("application/cloudevents+json")
    for shown in (repr(reset), repr(channel), repr(channel.request(delivery()))):
        assert "secret-of-the-path" not in shown
        assert KEY not in shown


def test_an_address_without_secrets_may_stand_in_the_file() -> None:
    assert webhook(url="https://receiver.example.com/hook").address() == "https://receiver.example.com/hook"
    assert webhook(url="http://127.0.0.1:8080/hook").address() == "http://127.0.0.1:8080/hook"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"url": "http://receiver.example.com/"}, "plain HTTP", id="in the clear"),
        pytest.param({"url": "https://me:pw@receiver.example.com/"}, "no address", id="a password"),
        pytest.param({"url": "https://receiver.example.com/?token=x"}, "query may hold a secret", id="a query"),
        pytest.param({"url": "receiver.example.com"}, "no address", id="no scheme"),
        pytest.param({"url": ""}, "expected https", id="empty"),
        pytest.param({"url": 7}, "expected https", id="a number"),
        pytest.param({"url": "vault:x"}, "not supported yet", id="a reference of later"),
        pytest.param({"secret": KEY}, "literal secret", id="a literal key"),
        pytest.param({"headers": {"X-Key": "value"}}, "literal secret", id="a literal header"),
        pytest.param({"headers": {"X Key": "env:KEY"}}, "names of headers", id="no name of a header"),
        pytest.param({"headers": {"x-updater-signature": "env:KEY"}}, "set by the program", id="a header of ours"),
        pytest.param({"headers": {"Host": "env:KEY"}}, "set by the program", id="a header of HTTP"),
    ],
)
def test_what_is_unsafe_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        webhook(**fields)


def test_the_secret_address_is_checked_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "http://receiver.example.com/secret-path")
    with served(in_turn()) as (_, wire):
        found = webhook().deliver(delivery(), wire)
    assert (found.verdict, "secret-path" in repr(found)) == (Verdict.PERMANENT, False)


@pytest.mark.parametrize("told", [SINGLE, FAILURE, TEST], ids=["single", "failure", "test"])
def test_bodies_are_utf_8_without_blanks(told: Message) -> None:
    raw = webhook().request(delivery(told)).body
    assert raw == json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":")).encode()
