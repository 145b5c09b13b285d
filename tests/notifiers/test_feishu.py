"""Feishu and Lark: what a card looks like, how it is signed, and what the answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
from typing import Any

import pytest

from tests.lab.robots import (
    COMMIT,
    FAILED,
    HELD,
    HELD_UPDATE,
    HOSTILE,
    NOTES,
    NOW,
    UPDATED,
    answer,
    body,
    entry,
    message,
)
from updater.model.message import Link, Message
from updater.notifiers.base import Delivery, Notifier, Verdict
from updater.notifiers.feishu import _CODES, Feishu, OpenPlatform
from updater.notifiers.lark import Lark
from updater.plugins import members

TOKEN = "11111111-2222-3333-4444-555555555555"
SECRET = "aVerySecretSecret"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SECRET", SECRET)


def robot(**fields: Any) -> Feishu:
    return Feishu(**({"token": "env:TOKEN"} | fields))


def shown(told: dict[str, Any]) -> str:
    """Return what the body of a card, or a text, says."""
    if told["msg_type"] == "text":
        return str(told["content"]["text"])
    return str(told["card"]["elements"][0]["text"]["content"])


def title(told: dict[str, Any]) -> str:
    return str(told["card"]["header"]["title"]["content"])


@pytest.mark.parametrize(
    ("kind", "host"), [("feishu", "open.feishu.cn"), ("lark", "open.larksuite.com")], ids=["feishu", "lark"]
)
def test_each_has_its_public_address(kind: str, host: str) -> None:
    member = members(Notifier)[kind]
    assert issubclass(member, OpenPlatform)
    assert member(token="env:TOKEN").address() == f"https://{host}/open-apis/bot/v2/hook/{TOKEN}"


def test_a_gateway_with_a_path_takes_the_place_of_the_host() -> None:
    url = Lark(token="env:TOKEN", base_url="https://gw.example.com/lark").request(Delivery(message(), NOW)).url
    assert url == f"https://gw.example.com/lark/open-apis/bot/v2/hook/{TOKEN}"


@pytest.mark.parametrize("plain", [False, True])
def test_the_signature_is_that_of_nothing_with_a_key_of_time_and_secret(plain: bool) -> None:
    told = body(robot(secret="env:SECRET"), message(entry()), plain=plain)
    stamp = str(int(NOW.timestamp()))
    key = f"{stamp}\n{SECRET}".encode()
    assert told["timestamp"] == stamp
    assert told["sign"] == base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def test_without_a_secret_nothing_is_signed() -> None:
    assert set(body(robot(), message(entry()))) == {"msg_type", "card"}


def test_one_event_is_a_card_with_buttons() -> None:
    told = body(robot(), message(entry(action="Look at it", links=(COMMIT, NOTES)), note="2 were held back"))
    assert told == {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {"template": "blue", "title": {"tag": "plain_text", "content": "api 1.4.2 -> 1.5.0"}},
            "elements": [
                {"tag": "div", "text": {"tag": "lark_md", "content": "Image: ghcr.io/acme/api\n→ Look at it"}},
                {"tag": "div", "text": {"tag": "plain_text", "content": "2 were held back"}},
                {
                    "tag": "action",
                    "actions": [
                        {
                            "tag": "button",
                            "text": {"tag": "plain_text", "content": "View commit"},
                            "type": "default",
                            "url": "https://git.example.com/fleet/commit/abc",
                        },
                        {
                            "tag": "button",
                            "text": {"tag": "plain_text", "content": "Changelog"},
                            "type": "default",
                            "url": "https://example.com/notes%281.5%29",
                        },
                    ],
                },
            ],
        },
    }


@pytest.mark.parametrize(
    ("kinds", "colour"),
    [([UPDATED], "blue"), ([HELD], "orange"), ([FAILED], "red"), ([UPDATED, FAILED, HELD], "red")],
    ids=["info", "warning", "error", "the gravest"],
)
def test_the_header_has_the_colour_of_the_severity(kinds: list[Any], colour: str) -> None:
    assert body(robot(), message(*map(entry, kinds)))["card"]["header"]["template"] == colour


def test_several_events_are_one_card() -> None:
    told = body(
        robot(),
        message(entry(links=(COMMIT,)), entry(FAILED, "list failed", (("Why", "HTTP 503"),), "Look"), title="2 events"),
    )
    assert title(told) == "2 events"
    assert shown(told) == (
        "• api 1.4.2 &#45;&#62; 1.5.0 [View commit](https://git.example.com/fleet/commit/abc)\n"
        "• list failed\nWhy: HTTP 503\n→ Look"
    ).replace("Why: HTTP", "Why: HTTP")
    assert len(told["card"]["elements"]) == 1


def test_a_command_can_be_copied_and_an_action_is_told_of_every_event() -> None:
    """A card shows an entity as its character."""
    action = "Approve it with `updater approve 'team-a/**'`, or raise `level`"
    told = shown(body(robot(), message(entry(), entry(HELD_UPDATE, action=action), title="2 events")))
    assert html.unescape(told).endswith(f"\n→ {action}")
    assert "*" not in told


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(message(entry(facts=())), id="nothing but a headline"),
        pytest.param(message(title="x", test=True), id="a test"),
        pytest.param(message(entry(headline="h" * 150)), id="a headline longer than a title"),
    ],
)
def test_the_body_of_a_card_is_never_empty(told: Message) -> None:
    assert shown(body(robot(), told))


def test_a_template_takes_the_place_of_the_whole_event() -> None:
    assert shown(body(robot(), message(entry(markup="**mine**")))) == "**mine**"


def test_what_was_refused_goes_out_as_text_without_markup() -> None:
    told = body(robot(), message(entry(markup="**x**", links=(COMMIT,))), plain=True)
    assert told["msg_type"] == "text"
    assert shown(told) == f"api 1.4.2 -> 1.5.0\nImage: ghcr.io/acme/api\nView commit: {COMMIT.url}"


@pytest.mark.parametrize(
    ("told", "called"),
    [
        pytest.param(message(entry(UPDATED)), False, id="info calls nobody"),
        pytest.param(message(entry(HELD)), True, id="warning"),
        pytest.param(message(entry(UPDATED), entry(FAILED)), True, id="one error of two events"),
        pytest.param(message(entry(FAILED), test=True), False, id="a test calls nobody"),
    ],
)
def test_people_are_called_from_warning_on(told: Message, called: bool) -> None:
    calling = robot(at={"users": ["ou_1"], "all": True})
    assert shown(body(calling, told)).endswith("<at id=ou_1></at> <at id=all></at>") == called
    assert shown(body(calling, told, plain=True)).endswith('<at user_id="ou_1">ou_1</at>') == called


def test_a_text_does_not_call_everybody_as_a_group_may_forbid_just_that() -> None:
    assert "all" not in shown(body(robot(at={"all": True}), message(entry(FAILED, "x", ())), plain=True))


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [([], "api 1.4.2 -> 1.5.0"), (["ghcr"], "api 1.4.2 -> 1.5.0"), (["更新", "y"], "更新 api 1.4.2 -> 1.5.0")],
    ids=["none asked for", "one stands in the text", "none: the first goes before the title"],
)
def test_one_keyword_is_always_there(keywords: list[str], expected: str) -> None:
    told = message(entry())
    assert title(body(robot(keywords=keywords), told)) == expected
    assert shown(body(robot(keywords=keywords), told, plain=True)).startswith(expected)


MARKUP = re.compile(r"[*`~<>\[\]_!\\]|&(?!#\d+;)|:\w+:|https?:(?:&#47;|/)|www\.|[\r\n\u2028\u202e]|^(?:#|-)")
MENTION = re.compile(r"<at |<@|https?:/|www\.")


@pytest.mark.parametrize("hostile", [*HOSTILE.values(), ":DONE:"], ids=[*HOSTILE, "emoji"])
def test_a_hostile_text_stays_text(hostile: str) -> None:
    safe = Feishu.escape(hostile)
    assert not MARKUP.search(safe)
    told = message(entry(FAILED, hostile, ((hostile, hostile),), hostile), title="t", note=hostile)
    assert not MENTION.search(shown(body(robot(), told)))
    assert len(shown(body(robot(), told)).splitlines()) == 3
    assert not MENTION.search(shown(body(robot(), told, plain=True)))


@pytest.mark.parametrize("honest", ["1.5.0@sha256:0123456789abcdef", "a_b-c", "ghcr.io/acme/api:1.5.0", "1 & 2 <3 *"])
def test_versions_and_names_are_shown_exactly(honest: str) -> None:
    """A card shows an entity as its character."""
    assert re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), Feishu.escape(honest)) == honest


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("text", ["x", "版", "*", "😀"])
def test_one_event_is_shortened_until_it_fits(text: str, plain: bool) -> None:
    facts = tuple((f"Label {n}", text * 3000) for n in range(20))
    links = (Link(text * 500, f"https://example.com/{'x' * 9000}"),) * 3
    told = message(entry(FAILED, text * 3000, facts, text * 3000, links=links), note=text * 3000)
    signing = robot(secret="env:SECRET", at={"users": ["ou_1"]})
    sent = signing.request(Delivery(told, NOW, plain)).body
    assert len(sent) <= Feishu.max_bytes < 20_000
    assert "ou_1" in shown(json.loads(sent))


def test_weighing_counts_the_signature_and_reads_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    signing, told = robot(secret="env:SECRET"), message(entry())
    sent = len(signing.request(Delivery(told, NOW)).body)
    monkeypatch.delenv("SECRET")
    monkeypatch.delenv("TOKEN")
    assert signing.weigh(told) == sent


def test_many_events_weigh_too_much_so_that_they_can_be_split_and_fit_all_the_same() -> None:
    told = message(*[entry(FAILED, links=(COMMIT,))] * 500, title="500 events")
    assert robot().weigh(told) > Feishu.max_bytes
    assert len(robot().request(Delivery(told, NOW)).body) <= Feishu.max_bytes


VERDICTS = {
    Verdict.DELIVERED: {0},
    Verdict.PAUSE: {11232, 99991400},
    Verdict.PERMANENT: {19001, 19021, 19022, 19024},
    Verdict.DEGRADE: {9499, 19002},
}


@pytest.mark.parametrize("code", _CODES, ids=str)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("field", "words"), [("code", "msg"), ("StatusCode", "StatusMessage")])
def test_the_code_decides_whatever_the_status(code: int, status: int, field: str, words: str) -> None:
    reply = robot().read(answer({field: code, words: "said"}, status))
    (expected,) = [verdict for verdict, codes in VERDICTS.items() if code in codes]
    assert reply.verdict is expected
    assert (reply.code, reply.said) == (str(code), "said")
    assert reply.after == (60.0 if expected is Verdict.PAUSE else None)
    assert bool(reply.meaning) == (code != 0)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("52", 52.0), ("0", 1.0), ("1.5", 1.5), ("999999", 3600.0), ("soon", 60.0), ("-1", 60.0), ("", 60.0)],
)
def test_the_service_says_how_long_to_stay_away(reset: str, seconds: float) -> None:
    reply = robot().read(answer({"code": 99991400, "msg": "limit"}, 429, x_ogw_ratelimit_reset=reset))
    assert (reply.verdict, reply.after) == (Verdict.PAUSE, seconds)


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        pytest.param(answer({"code": 12345, "msg": "new"}), Verdict.RETRY, "12345", id="unknown code"),
        pytest.param(answer({"code": 0, "StatusCode": 7}), Verdict.DELIVERED, "0", id="code beats StatusCode"),
        pytest.param(answer({"code": 1}, 502), Verdict.RETRY, "HTTP 502", id="unknown code, failing status"),
        pytest.param(answer(b"<html>"), Verdict.RETRY, "HTTP 200", id="a page of somebody else"),
        pytest.param(answer(b"", 404), Verdict.PERMANENT, "HTTP 404", id="no such path"),
    ],
)
def test_without_a_known_code_the_status_decides(found: Any, verdict: Verdict, code: str) -> None:
    reply = robot().read(found)
    assert (reply.verdict, reply.code) == (verdict, code)


def test_the_pace_keeps_both_limits_of_the_service() -> None:
    """Five a second, and a hundred a minute."""
    assert Feishu.limit.count < 5
    assert Feishu.limit.seconds >= 1
    assert Feishu.limit.count * 60 / Feishu.limit.seconds < 100
