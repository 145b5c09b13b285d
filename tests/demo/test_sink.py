"""The sink takes and refuses what each messaging service takes and refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import Message as EmailMessage
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.demo.services import SERVICES
from updater.demo.services.base import Meter, Setup
from updater.demo.sink import Answered, Arrived, Cut, Drip, Fault, Hang, Limit, MessageSink, Received, say, shown
from updater.model.event import Event, Kind, Subject
from updater.model.message import Entry, Link, Message
from updater.notifiers.base import Delivery, Notifier, Verdict, Wire
from updater.plugins import members
from updater.transport.http import Answer, Http, TransportError

NOW = 1_790_000_000.0
SECRET = "SECof-the-test"
DINGTALK = "/robot/send?access_token=robot"
FEISHU = "/open-apis/bot/v2/hook/robot"
WECOM = "/cgi-bin/webhook/send?key=robot"
SLACK = "/services/T/B/X"
SLACK_API = "/api/chat.postMessage"
TEAMS = "/workflows/flow/triggers/manual/paths/invoke?api-version=2016-06-01&sig=signed"
TELEGRAM = "/bot1:token/sendMessage"
DISCORD = "/api/webhooks/1/token?wait=true"
BEARER = {"Authorization": "Bearer xoxb-1"}
TEXT = {"msgtype": "text", "text": {"content": "api 1.5.0"}}
FEISHU_TEXT = {"msg_type": "text", "content": {"text": "api 1.5.0"}}
MARKDOWN = {"msgtype": "markdown", "markdown": {"title": "api 1.5.0", "text": "#### api 1.5.0\n\n- tag: 1.5.0"}}
CARD = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "text": "api 1.5.0"}]},
        }
    ],
}
EVENT = {"specversion": "1.0", "id": "1", "source": "urn:updater", "type": "image_updated", "data": {"text": "api"}}


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


def post(
    http: Http,
    sink: MessageSink,
    path: str,
    body: object,
    headers: dict[str, str] | None = None,
    *,
    seconds: float = 10,
    method: str = "POST",
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} | (headers or {})
    deadline = time.monotonic() + seconds
    url = sink.url + path
    return http.request(method, url, max_bytes=1 << 20, deadline=deadline, headers=named, content=content)


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


def received(service: str, body: dict[str, Any]) -> Received:
    return Received(service, "token", "/", body, NOW, 0.0)


# --- what is taken --------------------------------------------------------------------------------------------------

TAKEN = [
    pytest.param(DINGTALK, TEXT, {}, 200, {"errcode": 0}, "robot", id="dingtalk text"),
    pytest.param(DINGTALK, MARKDOWN, {}, 200, {"errcode": 0}, "robot", id="dingtalk markdown"),
    pytest.param(
        DINGTALK,
        {"msgtype": "feedCard", "feedCard": {"links": [{"title": "a", "messageURL": "https://a"}]}},
        {}, 200, {"errcode": 0}, "robot", id="dingtalk feed",
    ),
    pytest.param(FEISHU, FEISHU_TEXT, {}, 200, {"code": 0, "StatusCode": 0}, "robot", id="feishu text"),
    pytest.param(WECOM, TEXT, {}, 200, {"errcode": 0}, "robot", id="wecom text"),
    pytest.param(SLACK, {"text": "api"}, {}, 200, b"ok", "T/B/X", id="slack webhook answers a word"),
    pytest.param(
        SLACK_API, {"channel": "C1", "text": "api"}, BEARER, 200,
        {"ok": True, "channel": "C1", "ts": f"{NOW:.0f}.000001"}, "xoxb-1", id="slack bot answers a timestamp",
    ),
    pytest.param(TEAMS, CARD, {}, 202, b"", "flow", id="teams workflow accepts for later"),
    pytest.param(f"/powerautomate/automations/direct{TEAMS}", CARD, {}, 202, b"", "flow", id="teams' newer address"),
    pytest.param(
        TELEGRAM, {"chat_id": "-1", "text": "<b>api</b>", "parse_mode": "HTML"}, {}, 200, {"ok": True}, "1:token",
        id="telegram html",
    ),
    pytest.param(TELEGRAM.replace(":", "%3A"), {"chat_id": 1, "text": "a < b"}, {}, 200, {"ok": True}, "1:token",
                 id="telegram plain text holds anything"),
    pytest.param(DISCORD, {"content": "api"}, {}, 200, {"id": "1"}, "1/token", id="discord is waited for"),
    pytest.param("/api/v10/webhooks/1/token", {"embeds": [{"title": "api"}]}, {}, 204, b"", "1/token",
                 id="discord is not waited for"),
    pytest.param("/", {"topic": "alerts", "message": "api"}, {}, 200, {"event": "message", "topic": "alerts"}, "alerts",
                 id="ntfy"),
    pytest.param("/hook", EVENT, {}, 204, b"", "/hook", id="webhook"),
    pytest.param("/hook/ci", {"text": "api"}, {f"ce-{name}": "x" for name in ("specversion", "id", "source", "type")},
                 204, b"", "/hook/ci", id="webhook with its attributes in headers"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "status", "answer", "token"), TAKEN)
def test_a_message_is_taken_and_kept(
    http: Http,
    clock: Clock,
    *,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    status: int,
    answer: dict[str, Any] | bytes,
    token: str,
) -> None:
    with MessageSink(clock=clock) as sink:
        before = time.monotonic()
        got = post(http, sink, path, body, headers)
        assert got.status == status
        if isinstance(answer, bytes):
            assert got.body == answer
        else:
            assert said(got).items() >= answer.items()
        (message,) = sink.messages
        assert (message.token, message.path, message.body, message.at) == (token, path.partition("?")[0], body, NOW)
        assert before <= message.arrived <= time.monotonic()
        assert sink.texts != [""]


def test_every_service_is_taken_from() -> None:
    paths = [str(param.values[0]).partition("?")[0] for param in TAKEN]
    assert [s.name for s in SERVICES if not any(s.route.fullmatch(path) for path in paths)] == []


# --- what is refused ------------------------------------------------------------------------------------------------


def markdown(text: str = "text", title: str = "title") -> dict[str, Any]:
    return {"msgtype": "markdown", "markdown": {"title": title, "text": text}}


def action_card(**card: object) -> dict[str, Any]:
    return {"msgtype": "actionCard", "actionCard": {"title": "t", "text": "x"} | card}


def html(text: str) -> dict[str, Any]:
    return {"chat_id": 1, "parse_mode": "HTML", "text": text}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


REFUSED: list[tuple[str, str, object, int, str]] = [
    ("dingtalk without access_token", "/robot/send", TEXT, 200, '"errcode": 300001'),
    ("dingtalk with an empty access_token", "/robot/send?access_token=", TEXT, 200, '"errcode": 300001'),
    ("dingtalk with a token that it does not know", "/robot/send?access_token=other", TEXT, 200, '"errcode": 300005'),
    ("dingtalk's unknown type", DINGTALK, {"msgtype": "card"}, 200, '"errcode": 400105'),
    ("dingtalk without a type", DINGTALK, {}, 200, '"errcode": 400105'),
    ("dingtalk markdown without a title", DINGTALK, markdown(title=""), 200, '"errcode": 400402'),
    ("dingtalk markdown without a text", DINGTALK, markdown(""), 200, '"errcode": 40035'),
    ("dingtalk markdown of another shape", DINGTALK, {"msgtype": "markdown", "markdown": []}, 200, "400402"),
    ("dingtalk card without buttons", DINGTALK, action_card(), 200, '"errcode": 40035'),
    ("dingtalk card with half a button", DINGTALK, action_card(btns=[{"title": "a"}]), 200, '"errcode": 40035'),
    ("dingtalk feed without links", DINGTALK, {"msgtype": "feedCard", "feedCard": {}}, 200, '"errcode": 40035'),
    ("dingtalk body of 20 001 bytes", DINGTALK, json.dumps(markdown()).encode().ljust(20_001), 200, "20000 bytes"),
    ("dingtalk with broken JSON", DINGTALK, b"{", 200, '"errcode": 40035'),
    ("dingtalk with JSON nested without end", DINGTALK, b"[" * 100_000, 200, '"errcode": 40035'),
    ("feishu with a token that it does not know", "/open-apis/bot/v2/hook/other", FEISHU_TEXT, 200, '"code": 19001'),
    ("feishu without a type", FEISHU, {"content": {"text": "a"}}, 200, '"code": 19002'),
    ("feishu text without text", FEISHU, {"msg_type": "text", "content": {}}, 200, '"code": 19002'),
    ("feishu with broken JSON", FEISHU, b"", 200, '"code": 9499'),
    ("feishu body beyond 20 KiB", FEISHU, json.dumps(FEISHU_TEXT).encode().ljust(20_481), 200, '"code": 9499'),
    ("wecom with a key that it does not know", "/cgi-bin/webhook/send?key=other", TEXT, 200, '"errcode": 93000'),
    ("wecom without a key", "/cgi-bin/webhook/send", TEXT, 200, '"errcode": 93000'),
    ("wecom's unknown type", WECOM, {"msgtype": "card"}, 200, '"errcode": 40008'),
    ("wecom without content", WECOM, {"msgtype": "markdown", "markdown": {}}, 200, '"errcode": 44004'),
    ("wecom markdown of 4097 bytes", WECOM, {"msgtype": "markdown", "markdown": {"content": "中" * 1365 + "ab"}}, 200,
     '"errcode": 40058'),
    ("wecom text of 2049 bytes", WECOM, {"msgtype": "text", "text": {"content": "a" * 2049}}, 200, '"errcode": 40058'),
    ("wecom card without an action", WECOM, {"msgtype": "template_card", "template_card": {"card_type": "text_notice"}},
     200, '"errcode": 40058'),
    ("slack's webhook that is gone", "/services/T/B/other", {"text": "a"}, 404, "no_service"),
    ("slack's webhook without text", SLACK, {"blocks": []}, 400, "no_text"),
    ("slack's webhook with broken JSON", SLACK, b"payload", 400, "invalid_payload"),
    ("slack's blocks beyond 50", SLACK, {"text": "a", "blocks": [{"type": "divider"}] * 51}, 400, "invalid_blocks"),
    ("slack's section beyond 3000 characters", SLACK, {"blocks": [section("a" * 3001)]}, 400, "invalid_blocks"),
    ("slack's unknown block", SLACK, {"blocks": [{"type": "table"}]}, 400, "invalid_blocks"),
    ("slack's bot without a token", SLACK_API, {"channel": "C", "text": "a"}, 200, "not_authed"),
    ("teams without a signature", "/workflows/flow/x", CARD, 401, "DirectApiAuthorizationRequired"),
    ("teams without a card", TEAMS, {"text": "a"}, 400, "TriggerInputSchemaMismatch"),
    ("teams beyond 28 KiB", TEAMS, json.dumps(CARD).encode().ljust(28_673), 413, "RequestEntityTooLarge"),
    ("telegram's bot that it does not know", "/bot2:token/sendMessage", html("a"), 401, "Unauthorized"),
    ("telegram without a chat", TELEGRAM, {"text": "a"}, 400, "chat_id is empty"),
    ("telegram without text", TELEGRAM, html("<b> </b>"), 400, "message text is empty"),
    ("telegram text beyond 4096", TELEGRAM, {"chat_id": 1, "text": "a" * 4097}, 400, "message is too long"),
    ("telegram emoji, which count twice", TELEGRAM, {"chat_id": 1, "text": "🚀" * 2049}, 400, "message is too long"),
    ("telegram's tag that is not closed", TELEGRAM, html("<b>a"), 400, "Can't find end tag"),
    ("telegram's tags that cross", TELEGRAM, html("<b><i>a</b></i>"), 400, "Unmatched end tag at byte offset 7"),
    ("telegram's end without a start", TELEGRAM, html("a</b>"), 400, "Unmatched end tag"),
    ("telegram's unknown tag", TELEGRAM, html("é<script>"), 400, 'Unsupported start tag \\"script\\" at byte offset 2'),
    ("telegram's bare bracket", TELEGRAM, html("1 < 2"), 400, "can't parse entities"),
    ("discord's webhook that is gone", "/api/webhooks/1/other", {"content": "a"}, 404, "10015"),
    ("discord without content", DISCORD, {"content": " "}, 400, "50006"),
    ("discord content beyond 2000", DISCORD, {"content": "a" * 2001}, 400, "50035"),
    ("discord embeds beyond ten", DISCORD, {"embeds": [{"title": "a"}] * 11}, 400, "50035"),
    ("discord embeds beyond 6000 together", DISCORD, {"embeds": [{"description": "a" * 3500}] * 2}, 400, "50035"),
    ("ntfy without JSON", "/", b"plain", 400, "40017"),
    ("ntfy without a topic", "/", {"message": "a"}, 400, "40009"),
    ("ntfy's topic that is another's", "/", {"topic": "other"}, 403, "40301"),
    ("ntfy's priority that is none", "/", {"topic": "robot", "priority": [9]}, 400, "40007"),
    ("ntfy's actions beyond three", "/", {"topic": "robot", "actions": [{}] * 4}, 400, "40018"),
    ("ntfy's title beyond 1 KiB", "/", {"topic": "robot", "title": "a" * 1025}, 400, "40057"),
    ("webhook without attributes", "/hook", {"type": "image_updated"}, 400, "specversion, id, source"),
    ("webhook with a list", "/hook", [EVENT], 400, "expected a JSON object"),
    ("webhook that is not known", "/hook/other", EVENT, 404, "no such hook"),
    ("a path of nobody", "/robot/send/", TEXT, 404, "no service"),
]  # fmt: skip
KNOWN = {"robot", "T/B/X", "xoxb-1", "flow", "1:token", "1/token", "/hook"}


@pytest.mark.parametrize(("path", "body", "status", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_a_message_is_refused_and_not_kept(http: Http, path: str, body: object, status: int, words: str) -> None:
    with MessageSink(tokens=KNOWN) as sink:
        answer = post(http, sink, path, body)
        assert (answer.status, sink.messages) == (status, [])
        assert words in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        pytest.param(DINGTALK, TEXT, {"Content-Type": "text/plain"}, 200, "43004", id="dingtalk wants JSON announced"),
        pytest.param(SLACK_API, {"channel": "C", "text": "a"}, {"Authorization": "Bearer no"}, 200, "invalid_auth",
                     id="slack's bot with another token"),
        pytest.param(SLACK_API, {"text": "a"}, BEARER, 200, "channel_not_found", id="slack's bot without a channel"),
        pytest.param(SLACK_API, {"channel": "C", "text": "a" * 40_001}, BEARER, 200, "msg_too_long",
                     id="slack's bot with too much"),
    ],
)  # fmt: skip
def test_headers_are_judged(
    http: Http, *, path: str, body: object, headers: dict[str, str], status: int, words: str
) -> None:
    with MessageSink(tokens=KNOWN) as sink:
        answer = post(http, sink, path, body, headers)
        assert (answer.status, sink.messages) == (status, [])
        assert words in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(DINGTALK, json.dumps(markdown()).encode().ljust(20_000), id="dingtalk 20 000 bytes"),
        pytest.param(WECOM, {"msgtype": "markdown", "markdown": {"content": "a" * 4096}}, id="wecom 4096 bytes"),
        pytest.param(TELEGRAM, html("<b>" + "&lt;" * 4096 + "</b>"), id="telegram 4096 characters after entities"),
        pytest.param(TELEGRAM, html('<a href="https://x/?a=1&amp;b=2">x</a> &amp; <pre><code>y</code></pre>'),
                     id="telegram nested tags"),
        pytest.param(DISCORD, {"content": "a" * 2000}, id="discord 2000 characters"),
        pytest.param(SLACK, {"blocks": [section("a" * 3000)] * 50}, id="slack 50 sections of 3000"),
    ],
)  # fmt: skip
def test_what_just_fits_is_taken(http: Http, path: str, body: object) -> None:
    with MessageSink() as sink:
        assert post(http, sink, path, body).status == 200
        assert len(sink.messages) == 1


@pytest.mark.parametrize("path", [DINGTALK, FEISHU, "/hook", TELEGRAM])
def test_nothing_is_taken_by_get(http: Http, path: str) -> None:
    with MessageSink() as sink:
        assert post(http, sink, path, TEXT, method="GET").status == 405
        assert [arrived.method for arrived in sink.arrivals] == ["GET"]


# --- keywords -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        pytest.param(DINGTALK, markdown(title="Updater: api"), 0, id="dingtalk finds it in the title"),
        pytest.param(DINGTALK, markdown("by Updater"), 0, id="dingtalk finds it in the text"),
        pytest.param(DINGTALK, markdown("by updater"), 310000, id="dingtalk minds capitals"),
        pytest.param(FEISHU, {"msg_type": "text", "content": {"text": "Updater"}}, 0, id="feishu finds it"),
        pytest.param(FEISHU, FEISHU_TEXT, 19024, id="feishu misses it"),
    ],
)
def test_one_keyword_must_occur(http: Http, path: str, body: object, code: int) -> None:
    with MessageSink(keywords={"robot": ("never", "Updater")}) as sink:
        answer = said(post(http, sink, path, body))
        assert answer.get("errcode", answer.get("code")) == code
        assert len(sink.messages) == (1 if code == 0 else 0)


# --- signatures, computed here once more ----------------------------------------------------------------------------


def dingtalk_sign(milliseconds: int, secret: str = SECRET) -> str:
    digest = hmac.new(secret.encode(), f"{milliseconds}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


MS = int(NOW * 1000)
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param(f"&timestamp={MS}&sign={quote_plus(dingtalk_sign(MS))}", "ok", id="signed"),
        pytest.param(f"&timestamp={MS - HOUR}&sign={quote_plus(dingtalk_sign(MS - HOUR))}", "ok", id="an hour late"),
        pytest.param(f"&timestamp={MS + HOUR}&sign={quote_plus(dingtalk_sign(MS + HOUR))}", "ok", id="an hour early"),
        pytest.param(f"&timestamp={MS}&sign={quote(quote_plus(dingtalk_sign(MS)))}", "sign not match",
                     id="encoded twice"),
        pytest.param(f"&timestamp={MS - HOUR - 1}&sign={quote_plus(dingtalk_sign(MS - HOUR - 1))}",
                     "invalid timestamp", id="later than an hour"),
        pytest.param(f"&timestamp={MS // 1000}&sign={quote_plus(dingtalk_sign(MS // 1000))}", "invalid timestamp",
                     id="seconds for milliseconds"),
        pytest.param(f"&timestamp={MS}&sign={quote_plus(dingtalk_sign(MS, 'another'))}", "sign not match",
                     id="another secret"),
        pytest.param(f"&timestamp={MS}", "sign not match", id="no signature"),
        pytest.param("", "invalid timestamp", id="nothing"),
        pytest.param("&timestamp=now&sign=x", "invalid timestamp", id="no number"),
    ],
)  # fmt: skip
def test_dingtalk_checks_the_signature(http: Http, clock: Clock, query: str, words: str) -> None:
    with MessageSink(secrets={"robot": SECRET}, clock=clock) as sink:
        answer = said(post(http, sink, DINGTALK + query, TEXT))
        assert answer == {"errcode": 0 if words == "ok" else 310000, "errmsg": words}
        assert len(sink.messages) == (1 if words == "ok" else 0)


def test_a_plus_in_a_signature_that_is_not_encoded_is_a_blank(http: Http, clock: Clock) -> None:
    stamp = next(ms for ms in range(MS, MS + 10_000) if "+" in dingtalk_sign(ms))
    with MessageSink(secrets={"robot": SECRET}, clock=clock) as sink:
        bare = f"{DINGTALK}&timestamp={stamp}&sign={dingtalk_sign(stamp)}"
        assert said(post(http, sink, bare, TEXT))["errmsg"] == "sign not match"
        encoded = f"{DINGTALK}&timestamp={stamp}&sign={quote(dingtalk_sign(stamp), safe='')}"
        assert said(post(http, sink, encoded, TEXT))["errmsg"] == "ok"


def feishu_sign(stamp: object) -> str:
    return base64.b64encode(hmac.new(f"{stamp}\n{SECRET}".encode(), b"", hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("signed", "code"),
    [
        pytest.param({"timestamp": str(int(NOW)), "sign": feishu_sign(int(NOW))}, 0, id="seconds as text"),
        pytest.param({"timestamp": int(NOW), "sign": feishu_sign(int(NOW))}, 0, id="seconds as a number"),
        pytest.param({"timestamp": int(NOW) - 3601, "sign": feishu_sign(int(NOW) - 3601)}, 19021, id="an hour late"),
        pytest.param({"timestamp": MS, "sign": feishu_sign(MS)}, 19021, id="milliseconds"),
        pytest.param({"timestamp": int(NOW), "sign": dingtalk_sign(int(NOW))}, 19021, id="signed as DingTalk wants it"),
        pytest.param({"timestamp": int(NOW)}, 19021, id="no signature"),
        pytest.param({"timestamp": [], "sign": {}}, 19021, id="other shapes"),
        pytest.param({}, 19021, id="nothing"),
    ],
)
def test_feishu_checks_the_signature_in_the_body(http: Http, clock: Clock, signed: dict[str, Any], code: int) -> None:
    with MessageSink(secrets={"robot": SECRET}, clock=clock) as sink:
        assert said(post(http, sink, FEISHU, FEISHU_TEXT | signed))["code"] == code


def hook_headers(stamp: int, body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{stamp}.{body.decode()}".encode(), hashlib.sha256).hexdigest()
    return {"X-Updater-Timestamp": str(stamp), "X-Updater-Signature": f"sha256={signature}"}


BODY = json.dumps(EVENT).encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(hook_headers(int(NOW), BODY), 204, id="signed"),
        pytest.param(hook_headers(int(NOW) - 300, BODY), 204, id="five minutes ago"),
        pytest.param(hook_headers(int(NOW) - 301, BODY), 401, id="a replay"),
        pytest.param(hook_headers(int(NOW), BODY + b" "), 401, id="another body"),
        pytest.param(hook_headers(int(NOW), BODY, "other"), 401, id="another secret"),
        pytest.param(hook_headers(int(NOW) - 1, BODY) | {"X-Updater-Timestamp": str(int(NOW))}, 401,
                     id="another timestamp"),
        pytest.param({"X-Updater-Timestamp": str(int(NOW))}, 401, id="no signature"),
        pytest.param({}, 401, id="nothing"),
    ],
)  # fmt: skip
def test_the_webhook_checks_signature_and_age(http: Http, clock: Clock, headers: dict[str, str], status: int) -> None:
    with MessageSink(secrets={"/hook": SECRET}, clock=clock) as sink:
        assert post(http, sink, "/hook", BODY, headers).status == status


def test_ntfy_and_teams_want_their_secrets(http: Http) -> None:
    with MessageSink(secrets={"alerts": "tk_1", "flow": "signed"}) as sink:
        topic = {"topic": "alerts"}
        assert post(http, sink, "/", topic).status == 401
        assert post(http, sink, "/", topic, {"Authorization": "Bearer tk_1"}, method="PUT").status == 200
        assert post(http, sink, TEAMS.replace("signed", "forged"), CARD).status == 401
        assert post(http, sink, TEAMS, CARD).status == 202


# --- limits ---------------------------------------------------------------------------------------------------------


def numbers(http: Http, sink: MessageSink, path: str, body: object, count: int, **more: Any) -> list[object]:
    """The status and code of so many answers in a row."""
    answers = [post(http, sink, path, body, **more) for _ in range(count)]
    codes = [json.loads(a.body) if a.body.startswith(b"{") else {} for a in answers]
    return [code.get("errcode", code.get("code", a.status)) for a, code in zip(answers, codes, strict=True)]


def test_dingtalk_shuts_a_robot_out_for_ten_minutes_from_the_21st(http: Http, clock: Clock) -> None:
    with MessageSink(clock=clock) as sink:
        assert numbers(http, sink, DINGTALK, TEXT, 22) == [0] * 20 + [130101, 410100]
        clock.now += 599
        assert numbers(http, sink, DINGTALK, TEXT, 1) == [410100]
        assert numbers(http, sink, f"{DINGTALK}2", TEXT, 1) == [0]
        clock.now += 1
        assert numbers(http, sink, DINGTALK, TEXT, 21) == [0] * 20 + [130101]
        assert len(sink.messages) == 41


def test_dingtalk_does_not_count_what_it_does_not_let_in(http: Http, clock: Clock) -> None:
    stamp = f"&timestamp={MS}&sign={quote_plus(dingtalk_sign(MS))}"
    with MessageSink(secrets={"robot": SECRET}, clock=clock) as sink:
        assert numbers(http, sink, DINGTALK, TEXT, 30) == [310000] * 30
        assert numbers(http, sink, DINGTALK + stamp, {"msgtype": "no"}, 19) == [400105] * 19
        assert numbers(http, sink, DINGTALK + stamp, TEXT, 2) == [0, 130101]


@pytest.mark.parametrize(
    ("path", "body", "headers", "allowed", "refusal", "again"),
    [
        pytest.param(FEISHU, FEISHU_TEXT, {}, 5, 11232, 1.0, id="feishu five a second"),
        pytest.param(WECOM, TEXT, {}, 20, 45009, 60.0, id="wecom twenty a minute"),
        pytest.param(SLACK, {"text": "a"}, {}, 5, 429, 5.0, id="slack's webhook a burst of five"),
        pytest.param(SLACK_API, {"channel": "C", "text": "a"}, BEARER, 5, 429, 5.0, id="slack's bot a burst of five"),
        pytest.param(TEAMS, CARD, {}, 4, 429, 1.0, id="teams four a second"),
        pytest.param(TELEGRAM, html("a"), {}, 20, 429, 60.0, id="telegram twenty a minute"),
        pytest.param(DISCORD, {"content": "a"}, {}, 5, 429, 2.0, id="discord five in two seconds"),
        pytest.param("/", {"topic": "a"}, {}, 60, 42901, 300.0, id="ntfy a burst of sixty"),
    ],
)
def test_what_is_too_much_is_refused_until_its_time(
    http: Http,
    clock: Clock,
    *,
    path: str,
    body: object,
    headers: dict[str, str],
    allowed: int,
    refusal: int,
    again: float,
) -> None:
    with MessageSink(clock=clock) as sink:
        got = numbers(http, sink, path, body, allowed + 1, headers=headers)
        assert refusal not in got[:allowed]
        assert got[allowed] == refusal
        clock.now += again
        assert numbers(http, sink, path, body, 1, headers=headers) != [refusal]
        assert len(sink.messages) == allowed + 1


def test_feishu_counts_by_the_minute_too(http: Http, clock: Clock) -> None:
    with MessageSink(clock=clock) as sink:
        for _ in range(20):
            assert numbers(http, sink, FEISHU, FEISHU_TEXT, 5) == [0] * 5
            clock.now += 1
        answer = post(http, sink, FEISHU, FEISHU_TEXT)
        assert (said(answer)["code"], answer.header("x-ogw-ratelimit-reset")) == (11232, "40")


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        pytest.param(SLACK, {"text": "a"}, lambda a: float(a.header("retry-after")), id="slack in a header"),
        pytest.param(TELEGRAM, html("a"), lambda a: said(a)["parameters"]["retry_after"], id="telegram in the body"),
        pytest.param(DISCORD, {"content": "a"}, lambda a: said(a)["retry_after"], id="discord in the body"),
        pytest.param("/", {"topic": "a"}, lambda a: float(a.header("retry-after")), id="ntfy in a header"),
    ],
)
def test_a_service_says_how_long_to_stay_away(
    http: Http, clock: Clock, path: str, body: object, told: Callable[[Answer], float]
) -> None:
    limits = {name: (Limit(1, 30.0),) for name in ("slack", "telegram", "discord", "ntfy")}
    with MessageSink(clock=clock, limits=limits) as sink:
        post(http, sink, path, body)
        clock.now += 8
        answer = post(http, sink, path, body)
        assert (answer.status, told(answer)) == (429, 22)


def test_limits_can_be_lifted(http: Http) -> None:
    with MessageSink(limits={"dingtalk": ()}) as sink:
        assert numbers(http, sink, DINGTALK, TEXT, 30) == [0] * 30


# --- misbehaviour ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        pytest.param(say({"errcode": -1, "errmsg": "busy"}), 200, b'{"errcode": -1, "errmsg": "busy"}', id="a code"),
        pytest.param(Answered(503, b"<html>"), 503, b"<html>", id="a bad gateway"),
        pytest.param(Answered(200, b"\x00\xff"), 200, b"\x00\xff", id="garbage"),
        pytest.param(Answered(200, b"x" * 900_000), 200, b"x" * 900_000, id="a huge body"),
        pytest.param(Answered(302, b"", (("Location", "https://elsewhere"),)), 302, b"", id="a redirect"),
        pytest.param(Answered(599), 599, b"", id="a status without a name"),
        pytest.param(Drip(Answered(200, b"ok"), 0.0), 200, b"ok", id="an answer byte by byte"),
    ],
)
def test_a_script_answers_in_place_of_the_service(http: Http, fault: Fault, status: int, body: bytes) -> None:
    with MessageSink(script=lambda _: fault) as sink:
        answer = post(http, sink, DINGTALK, TEXT)
        assert (answer.status, answer.body) == (status, body)
        assert (len(sink.arrivals), sink.messages) == (1, [])


def test_a_redirect_names_where(http: Http) -> None:
    with MessageSink(script=lambda _: Answered(302, b"", (("Location", "https://elsewhere"),))) as sink:
        assert post(http, sink, DINGTALK, TEXT).header("location") == "https://elsewhere"


@pytest.mark.parametrize("stored", [False, True], ids=["before it was taken", "after it was taken"])
@pytest.mark.parametrize("kind", [Cut, Hang, lambda stored: Drip(Answered(200, b"x" * 500), 5.0, stored=stored)],
                         ids=["cut", "hanging", "dripping"])  # fmt: skip
def test_a_message_whose_answer_never_comes(http: Http, kind: Callable[..., Fault], stored: bool) -> None:
    with MessageSink(script=lambda _: kind(stored=stored)) as sink:
        with pytest.raises(TransportError):
            post(http, sink, DINGTALK, TEXT, seconds=0.3)
        assert len(sink.wait(int(stored))) == int(stored)


def test_a_message_may_be_taken_though_the_answer_is_an_error(http: Http) -> None:
    with MessageSink(script=lambda _: Answered(500, stored=True)) as sink:
        assert post(http, sink, DINGTALK, TEXT).status == 500
        assert post(http, sink, "/robot/send", TEXT).status == 500
        assert sink.texts == ["api 1.5.0"]


def test_a_script_sees_the_arrival_and_may_let_the_service_behave(http: Http) -> None:
    seen: list[Arrived] = []

    def script(arrived: Arrived) -> Fault | None:
        seen.append(arrived)
        return Answered(502) if len(seen) == 1 else None

    with MessageSink(script=script) as sink:
        assert [post(http, sink, DINGTALK, TEXT).status for _ in range(2)] == [502, 200]
        assert [(a.service, a.token, a.document) for a in seen] == [("dingtalk", "robot", TEXT)] * 2
        assert len(sink.messages) == 1


def test_closing_ends_what_hangs(http: Http) -> None:
    asked = threading.Event()
    failures: list[TransportError] = []

    def script(_: Arrived) -> Fault:
        asked.set()
        return Hang()

    def send() -> None:
        try:
            post(http, sink, DINGTALK, TEXT, seconds=20)
        except TransportError as err:
            failures.append(err)

    thread = threading.Thread(target=send)
    with MessageSink(script=script) as sink:
        thread.start()
        assert asked.wait(10)
    thread.join(10)
    assert not thread.is_alive()
    assert len(failures) == 1


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "4194305"}, {"Transfer-Encoding": "chunked"}], ids=["too large", "in chunks"]
)
def test_a_body_that_no_service_takes_is_not_read(http: Http, headers: dict[str, str]) -> None:
    with MessageSink() as sink:
        body = b"x" * (4 << 20) + b"x" if "Content-Length" in headers else b"0\r\n\r\n"
        try:
            status = post(http, sink, DINGTALK, body, headers).status
        except TransportError:
            status = 413  # the answer may be lost to a client that is still writing
        assert (status, sink.arrivals) == (413, [])


# --- waiting and order ----------------------------------------------------------------------------------------------


def test_waiting_ends_when_the_messages_are_there(http: Http) -> None:
    with MessageSink() as sink:
        sender = threading.Thread(target=lambda: [post(http, sink, "/hook", EVENT | {"id": str(n)}) for n in range(3)])
        sender.start()
        ids = [message.body["id"] for message in sink.wait(3, 10)]
        sender.join(10)
        assert ids == ["0", "1", "2"]


def test_waiting_in_vain_says_how_many_came(http: Http) -> None:
    with MessageSink() as sink:
        post(http, sink, "/hook", EVENT)
        with pytest.raises(TimeoutError, match=r"1 messages came in 0\.01 s, 2 were awaited"):
            sink.wait(2, 0.01)


def test_many_senders_lose_nothing(http: Http) -> None:
    with MessageSink() as sink:
        threads = [
            threading.Thread(
                target=lambda n=n: [post(http, sink, "/hook", EVENT | {"id": f"{n}-{m}"}) for m in range(50)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        messages = sink.wait(200, 30)
        for thread in threads:
            thread.join(10)
        assert {m.body["id"] for m in messages} == {f"{n}-{m}" for n in range(4) for m in range(50)}
        for n in range(4):
            mine = [m.body["id"] for m in messages if m.body["id"].startswith(f"{n}-")]
            assert mine == [f"{n}-{m}" for m in range(50)]


def test_tokens_stand_in_no_repr(http: Http) -> None:
    with MessageSink(secrets={"hidden-token": SECRET}) as sink:
        post(http, sink, "/robot/send?access_token=hidden-token", TEXT, {"Authorization": "Bearer hidden-login"})
        post(http, sink, "/open-apis/bot/v2/hook/hidden-other", FEISHU_TEXT)
        assert "hidden" not in f"{sink.arrivals} {sink.messages}"


# --- as readers see it ----------------------------------------------------------------------------------------------

SHOWN = [
    pytest.param(
        "dingtalk",
        {
            "msgtype": "actionCard",
            "actionCard": {
                "title": "api 1.4.2 -> 1.5.0",
                "text": "#### api 1.4.2 \\-\\> 1.5.0\n\n- **digest**: sha256:ab  \n- commit: [1a2b](https://git/1a2b)",
                "btns": [
                    {"title": "Commit", "actionURL": "https://git/1a2b"},
                    {"title": "Notes",
                     "actionURL": "dingtalk://dingtalkclient/page/link?url=https%3A%2F%2Fn%2F1&pc_slide=false"},
                ],
            },
        },
        "api 1.4.2 -> 1.5.0\n\n- digest: sha256:ab\n- commit: 1a2b (https://git/1a2b)\n"
        "[Commit] https://git/1a2b\n[Notes] https://n/1",
        id="dingtalk card: a title that the text repeats stands once, buttons show where they lead",
    ),
    pytest.param(
        "dingtalk",
        {"msgtype": "actionCard",
         "actionCard": {"title": "Test", "text": "It works", "singleTitle": "Page", "singleURL": "https://p"}},
        "Test\nIt works\n[Page] https://p",
        id="dingtalk card with one button",
    ),
    pytest.param(
        "dingtalk",
        MARKDOWN | {"at": {"atMobiles": ["138"], "atUserIds": ["u1"], "isAtAll": True}},
        "api 1.5.0\n\n- tag: 1.5.0\n@138 @u1 @all",
        id="dingtalk markdown that calls people",
    ),
    pytest.param("dingtalk", TEXT, "api 1.5.0", id="dingtalk text"),
    pytest.param(
        "dingtalk",
        {"msgtype": "markdown", "markdown": {"title": "t", "text": r"\[x\](https://evil) 1\*2 a_b_c \\ &lt;b&gt;"}},
        "t\n[x](https://evil) 1*2 a_b_c \\ <b>",
        id="dingtalk markdown that was escaped reads as it was meant",
    ),
    pytest.param(
        "feishu",
        {
            "msg_type": "interactive",
            "card": {
                "header": {"title": {"tag": "plain_text", "content": "api 1.5.0"}},
                "elements": [
                    {"tag": "div", "fields": [{"text": {"tag": "lark_md", "content": "**tag**: 1.5.0"}}]},
                    {"tag": "hr"},
                    {"tag": "action", "actions": [
                        {"tag": "button", "text": {"tag": "plain_text", "content": "Commit"}, "url": "https://git"}]},
                ],
            },
        },
        "api 1.5.0\ntag: 1.5.0\n[Commit] https://git",
        id="feishu card",
    ),
    pytest.param(
        "feishu",
        {"msg_type": "post", "content": {"post": {"en_us": {"title": "api", "content": [
            [{"tag": "text", "text": "see "}, {"tag": "a", "text": "commit", "href": "https://git"}]]}}}},
        "api\nsee commit (https://git)",
        id="feishu post",
    ),
    pytest.param(
        "wecom",
        {"msgtype": "markdown", "markdown": {"content": '# api\n> <font color="warning">failed</font>'}},
        "api\n> failed",
        id="wecom markdown",
    ),
    pytest.param(
        "wecom",
        {"msgtype": "template_card", "template_card": {
            "main_title": {"title": "api", "desc": "1.5.0"},
            "horizontal_content_list": [{"keyname": "branch", "value": "main"}],
            "jump_list": [{"title": "Commit", "url": "https://git"}], "card_action": {"type": 1, "url": "https://p"}}},
        "api\n1.5.0\nbranch: main\n[Commit] https://git\n[Open] https://p",
        id="wecom card",
    ),
    pytest.param(
        "slack",
        {"text": "fallback", "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "api 1.5.0"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "*tag* 1 &lt; 2 <https://git|commit>"},
             "fields": [{"type": "mrkdwn", "text": "*branch*\n`main`"}]},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "a note"}]},
            {"type": "actions", "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "Commit"}, "url": "https://git"}]}]},
        "api 1.5.0\ntag 1 < 2 commit (https://git)\nbranch\nmain\na note\n[Commit] https://git",
        id="slack blocks",
    ),
    pytest.param("slack", {"text": "a &amp; <https://git>"}, "a & https://git", id="slack text"),
    pytest.param(
        "teams",
        {"attachments": [{"content": {"type": "AdaptiveCard", "body": [
            {"type": "TextBlock", "text": "**api**"},
            {"type": "FactSet", "facts": [{"title": "tag", "value": "1.5.0"}]}],
            "actions": [{"type": "Action.OpenUrl", "title": "Commit", "url": "https://git"}]}}]},
        "api\ntag: 1.5.0\n[Commit] https://git",
        id="teams card",
    ),
    pytest.param(
        "telegram",
        {"parse_mode": "HTML", "text": '<b>api</b> 1 &lt; 2 <a href="https://git">commit</a>',
         "reply_markup": {"inline_keyboard": [[{"text": "Commit", "url": "https://git"}]]}},
        "api 1 < 2 commit (https://git)\n[Commit] https://git",
        id="telegram html",
    ),
    pytest.param("telegram", {"text": "<b>&lt;"}, "<b>&lt;", id="telegram plain text stands as it is"),
    pytest.param(
        "discord",
        {"content": "2 images", "embeds": [{"title": "api", "url": "https://git", "description": "see [it](<https://p>)",
                                            "fields": [{"name": "tag", "value": "`1.5.0`"}]}]},
        "2 images\napi (https://git)\nsee it (https://p)\ntag: 1.5.0",
        id="discord embed",
    ),
    pytest.param(
        "ntfy",
        {"title": "api", "message": "1.5.0", "click": "https://p",
         "actions": [{"action": "view", "label": "Commit", "url": "https://git"}]},
        "api\n1.5.0\n[Commit] https://git\nhttps://p",
        id="ntfy",
    ),
    pytest.param("webhook", EVENT, "image_updated\napi", id="webhook"),
    pytest.param("dingtalk", {"msgtype": "text", "text": {"content": "a\x1b[31mb\u202ec\x00\u200bd\r\n\n\n\ne"}},
                 "a[31mbcd\n\ne", id="what a terminal would obey is left out"),
    pytest.param("dingtalk", {"msgtype": "text", "text": {"content": "\ud800!"}}, "!", id="half a character"),
    pytest.param("dingtalk", {"msgtype": ["text"], "text": 1}, "", id="other shapes"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "body", "text"), SHOWN)
def test_a_message_is_shown_as_its_readers_see_it(service: str, body: dict[str, Any], text: str) -> None:
    assert shown(received(service, body)) == text


def test_every_service_can_be_shown() -> None:
    assert {service.name for service in SERVICES} == {str(param.values[0]) for param in SHOWN}


KINDS = ["text", "markdown", "actionCard", "feedCard", "template_card", "interactive", "post", "section", "header",
         "AdaptiveCard", "TextBlock", "FactSet", "Action.OpenUrl", "button", "HTML", "mrkdwn", "message"]  # fmt: skip
NAMES = [*KINDS, "msgtype", "msg_type", "type", "tag", "title", "content", "card", "blocks", "attachments", "embeds",
         "elements", "fields", "actions", "body", "data", "reply_markup", "inline_keyboard", "components", "at", "btns",
         "links", "url", "actionURL", "atMobiles", "behaviors", "accessory", "parse_mode", "chat_id", "priority",
         "topic", "timestamp", "sign", "channel", "facts", "value", "main_title", "jump_list"]  # fmt: skip
SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([*KINDS, "<b>", "</", "[a](b)", "dingtalk://[?url=x", "\ud800", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
)  # fmt: skip
SOME_BODY = st.dictionaries(st.sampled_from(NAMES), SOME_JSON, max_size=8)


@given(body=SOME_BODY, kind=st.sampled_from(KINDS))
@settings(deadline=None, max_examples=150)
def test_no_shape_breaks_what_is_judged_and_shown(body: dict[str, Any], kind: str) -> None:
    body |= {"msgtype": kind, "msg_type": kind}
    for service in SERVICES:
        asked = Arrived(service.name, "robot", "POST", "/", {"sig": "s"}, EmailMessage(), b"", body, NOW, 0.0)
        answer = service.refusal(asked, Setup(secrets={"robot": SECRET}), Meter(), service.limits)
        assert answer is None or 200 <= answer.status < 500
        assert 200 <= service.taken(asked, 1).status < 300
        assert all(line.isprintable() for line in shown(received(service.name, body)).split("\n"))


def test_what_is_nested_too_deeply_is_said_to_be() -> None:
    card: dict[str, Any] = {"tag": "div"}
    for _ in range(2000):
        card = {"tag": "div", "elements": [card]}
    assert "too deeply" in shown(received("feishu", {"msg_type": "interactive", "card": card}))


# --- our notifiers, whom the sink does not know ---------------------------------------------------------------------

CHANNELS: dict[str, dict[str, str]] = {
    "dingtalk": {"url": DINGTALK, "secret": SECRET},
    "feishu": {"url": FEISHU, "secret": SECRET},
    "lark": {"url": FEISHU, "secret": SECRET},
    "wecom": {"url": WECOM},
    "slack": {"url": SLACK},
    "teams": {"url": TEAMS},
    "telegram": {"token": "1:token", "chat_id": "-1001", "base_url": ""},
    "discord": {"url": DISCORD},
    "ntfy": {"topic": "alerts", "base_url": ""},
    "webhook": {"url": "/hook", "secret": SECRET},
}
"""What each kind is set up with; addresses are those of the sink's own paths."""
LINKS = (Link("Commit", "https://git.example.com/c/1a2b"), Link("Notes", "https://git.example.com/n"))


def channel(kind: str, family: type[Notifier], sink: MessageSink, monkeypatch: pytest.MonkeyPatch) -> Notifier:
    """Set a channel up as an operator does: secrets are references."""
    given: dict[str, str] = {"kind": kind}
    for name, value in CHANNELS[kind].items():
        whole = sink.url + value if name in {"url", "base_url"} else value
        if name in {"url", "token", "secret"}:
            monkeypatch.setenv(f"CHANNEL_{name.upper()}", whole)
            whole = f"env:CHANNEL_{name.upper()}"
        given[name] = whole
    return family.model_validate(given)


def entry(number: int = 1) -> Entry:
    event = Event(Kind.IMAGE_UPDATED, datetime.now(UTC), Subject(image=f"api{number}"), old="1.4.2", new="1.5.0")
    return Entry(event, f"api{number} 1.4.2 -> 1.5.0", (("Branch", "release_1 <main> & *"),), "", LINKS)


MESSAGES = {
    "one event": Message("m1", "api1 1.4.2 -> 1.5.0", (entry(),)),
    "several events": Message("m2", "2 images updated", (entry(1), entry(2))),
    "a test": Message("m3", "This channel works", (), test=True),
}


def test_every_channel_here_is_one_of_the_family() -> None:
    assert set(CHANNELS) <= set(members(Notifier))


@pytest.mark.parametrize("plain", [False, True], ids=["with markup", "plain"])
@pytest.mark.parametrize("told", [pytest.param(message, id=name) for name, message in MESSAGES.items()])
@pytest.mark.parametrize("kind", [kind for kind in members(Notifier) if kind in CHANNELS])
def test_what_our_notifiers_send_is_taken_and_read(
    http: Http, monkeypatch: pytest.MonkeyPatch, *, kind: str, told: Message, plain: bool
) -> None:
    with MessageSink(secrets={"robot": SECRET, "/hook": SECRET}) as sink:
        notifier = channel(kind, members(Notifier)[kind], sink, monkeypatch)
        parts = [told] if notifier.merges else [replace(told, entries=(one,)) for one in told.entries] or [told]
        for part in parts:
            reply = notifier.deliver(Delivery(part, datetime.now(UTC), plain=plain), Wire(http))
            assert reply.verdict is Verdict.DELIVERED, reply
        read = "\n".join(sink.texts)
        for wanted in [entry.headline for entry in told.entries] or [told.title]:
            assert wanted in read


# --- the command line -----------------------------------------------------------------------------------------------


def test_a_person_sees_what_arrives(http: Http) -> None:
    environment = os.environ | {"ROBOT_SECRET": SECRET, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "updater.demo.sink", "--port", "0", "--secret", "robot=env:ROBOT_SECRET"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        stamp = int(time.time() * 1000)
        signed = f"{url}{DINGTALK}&timestamp={stamp}&sign={quote_plus(dingtalk_sign(stamp))}"
        headers = {"Content-Type": "application/json"}
        for address in (url + DINGTALK, signed):
            deadline = time.monotonic() + 10
            body = json.dumps(MARKDOWN).encode()
            http.request("POST", address, max_bytes=1000, deadline=deadline, headers=headers, content=body)
        lines = [process.stdout.readline().rstrip() for _ in range(5)]
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "ending\n"
    assert (lines[0], lines[1].split()[:2], lines[2:]) == ("", ["---", "dingtalk"], ["api 1.5.0", "", "- tag: 1.5.0"])
    assert process.returncode == 0
