"""WeCom: what a message looks like, how long it may be, and what the answers mean."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.lab.robots import COMMIT, FAILED, HELD, HELD_UPDATE, HOSTILE, NOW, UPDATED, answer, body, entry, message
from updater.model.message import Link, Message
from updater.notifiers.base import Delivery, Notifier, Verdict
from updater.notifiers.wecom import _CODES, WeCom
from updater.plugins import members

KEY = "693a91f6-7abc-4bc4-97a0-0ec2sifa5aaa"
BYTES = {"markdown": 4096, "text": 2048}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("HOOK", f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?debug=1&key={KEY}")


def robot(**fields: Any) -> WeCom:
    return WeCom(**({"token": "env:KEY"} | fields))


def shown(told: dict[str, Any]) -> str:
    return str(told[told["msgtype"]]["content"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}", id="key alone"),
        pytest.param({"token": None, "url": "env:HOOK", "base_url": "https://gw.example.com/wx"},
                     f"https://gw.example.com/wx/cgi-bin/webhook/send?debug=1&key={KEY}", id="gateway, own query"),
    ],
)  # fmt: skip
def test_the_address_keeps_what_it_holds(fields: dict[str, Any], expected: str) -> None:
    assert robot(**fields).request(Delivery(message(), NOW)).url == expected


def test_one_event_is_markdown_in_the_colour_of_its_severity() -> None:
    told = message(entry(HELD, action="Look at it", links=(COMMIT,)), note="2 were held back")
    assert body(robot(), told) == {
        "msgtype": "markdown",
        "markdown": {
            "content": (
                '**<font color="warning">api 1.4.2 -> 1.5.0</font>**\n'
                "Image: ghcr.io/acme/api\n"
                "→ Look at it\n"
                "[View commit](https://git.example.com/fleet/commit/abc)\n"
                "2 were held back"
            )
        },
    }


def test_several_events_are_one_list() -> None:
    told = message(
        entry(links=(COMMIT,)), entry(FAILED, "list failed", (("Why", "HTTP 503"),), "Look"), title="2 events"
    )
    assert shown(body(robot(), told)) == (
        "**2 events**\n"
        "• api 1.4.2 -> 1.5.0 [View commit](https://git.example.com/fleet/commit/abc)\n"
        "• list failed\nWhy: HTTP 503\n→ Look"
    )


def test_a_command_can_be_copied_and_an_action_is_told_of_every_event() -> None:
    action = "Approve it with `updater approve 'team-a/**'`, or raise `level`"
    told = message(entry(), entry(HELD_UPDATE, action=action), title="2 events")
    assert shown(body(robot(), told)).endswith(f"\n→ {action}")
    assert shown(body(robot(), message(entry(HELD_UPDATE, action=action)))).endswith(f"\n→ {action}")


def test_a_test_says_its_title_and_note() -> None:
    told = body(robot(at={"users": ["u1"]}), message(title="It works", note="from updater", test=True))
    assert told == {"msgtype": "markdown", "markdown": {"content": "**It works**\nfrom updater"}}


def test_a_template_takes_the_place_of_the_whole_event() -> None:
    assert shown(body(robot(), message(entry(markup="> mine")))) == "> mine"


def test_what_was_refused_goes_out_as_text_without_markup() -> None:
    told = body(robot(), message(entry(markup="**x**", links=(COMMIT,))), plain=True)
    text = f"api 1.4.2 -> 1.5.0\nImage: ghcr.io/acme/api\nView commit: {COMMIT.url}"
    assert told == {"msgtype": "text", "text": {"content": text}}


USERS = {"users": ["u1", "u2"]}
EVERYBODY = {"users": ["u1"], "mobiles": ["13800000000"], "all": True}
LISTS = {"mentioned_list": ["u1", "@all"], "mentioned_mobile_list": ["13800000000"]}


@pytest.mark.parametrize(
    ("at", "told", "kind", "end", "lists"),
    [
        pytest.param(USERS, message(entry(UPDATED)), "markdown", "acme/api", {}, id="info calls nobody"),
        pytest.param(USERS, message(entry(HELD)), "markdown", "\n<@u1> <@u2>", {}, id="Markdown can call users"),
        pytest.param(EVERYBODY, message(entry(UPDATED)), "markdown", "acme/api", {}, id="info stays Markdown"),
        pytest.param(EVERYBODY, message(entry(FAILED)), "text", "acme/api", LISTS, id="only text can call the others"),
        pytest.param(EVERYBODY, message(entry(UPDATED), entry(FAILED)), "text", "acme/api", LISTS, id="gravest counts"),
        pytest.param(
            EVERYBODY, message(entry(FAILED), test=True), "markdown", "acme/api", {}, id="a test calls nobody"
        ),
    ],
)
def test_people_are_called_from_warning_on(
    at: dict[str, Any], told: Message, kind: str, end: str, lists: dict[str, Any]
) -> None:
    found = body(robot(at=at), told)
    assert found["msgtype"] == kind
    assert shown(found).endswith(end)
    assert {name: value for name, value in found[kind].items() if name != "content"} == lists


MARKUP = re.compile(r"\]\(|\*\*|`|<[a-z@/]|@(?!sha)\w|https?://|www\.|[\r\n\u2028\u202e]|^(?:#|>)")


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_stays_text(hostile: str) -> None:
    assert not MARKUP.search(WeCom.escape(hostile))
    told = message(entry(FAILED, hostile, ((hostile, hostile),), hostile), title="t", note=hostile)
    content = shown(body(robot(), told))
    assert len(content.splitlines()) == 4
    assert not re.search(r"<@|@all|https?://|\]\(", content)
    assert not re.search(r"<@|@all|https?://", shown(body(robot(), told, plain=True)))


@pytest.mark.parametrize(
    "at", [{}, {"users": ["u1"]}, {"mobiles": ["13800000000"]}], ids=["nobody", "users", "mobiles"]
)
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("text", ["x", "版", "*", "😀"])
def test_one_event_is_shortened_until_it_fits(text: str, plain: bool, at: dict[str, Any]) -> None:
    facts = tuple((f"Label {n}", text * 3000) for n in range(20))
    links = (Link(text * 500, f"https://example.com/{'x' * 9000}"),) * 3
    told = message(entry(FAILED, text * 3000, facts, text * 3000, links=links), note=text * 3000)
    found = json.loads(robot(at=at).request(Delivery(told, NOW, plain)).body)
    assert 0 < len(shown(found).encode()) <= BYTES[found["msgtype"]]


def test_facts_go_from_the_end_when_short_values_are_still_too_many() -> None:
    facts = tuple((f"Label {n:02}", "版" * 300) for n in range(60))
    content = shown(body(robot(), message(entry(facts=facts))))
    assert "Label 00: 版" in content
    assert "Label 59" not in content
    assert 3600 < len(content.encode()) <= 4096


def test_bytes_of_a_text_weigh_twice_as_half_of_them_fit() -> None:
    told = message(entry(FAILED), entry(FAILED))
    calling = robot(at={"all": True})
    assert calling.weigh(told) == 2 * len(shown(body(calling, told)).encode())
    assert robot().weigh(told) == len(shown(body(robot(), told)).encode())


@pytest.mark.parametrize("plain", [False, True])
def test_many_events_weigh_too_much_so_that_they_can_be_split_and_fit_all_the_same(plain: bool) -> None:
    told = message(*[entry(FAILED, links=(COMMIT,))] * 500, title="500 events", language="zh")
    assert robot().weigh(told) > WeCom.max_bytes
    found = body(robot(), told, plain=plain)
    assert len(shown(found).encode()) <= BYTES[found["msgtype"]]
    assert re.search(r"另有 \d+ 项$", shown(found), re.MULTILINE)


VERDICTS = {
    Verdict.DELIVERED: {0},
    Verdict.RETRY: {-1, 45033},
    Verdict.PAUSE: {45009},
    Verdict.PERMANENT: {93000},
    Verdict.DEGRADE: {40008, 40035, 40058, 44004, 47001},
}


@pytest.mark.parametrize("code", _CODES, ids=str)
@pytest.mark.parametrize("status", [200, 500])
def test_the_code_decides_whatever_the_status(code: int, status: int) -> None:
    reply = robot().read(answer({"errcode": code, "errmsg": "said"}, status))
    (expected,) = [verdict for verdict, codes in VERDICTS.items() if code in codes]
    assert reply.verdict is expected
    assert (reply.code, reply.said, reply.after) == (str(code), "said", 60.0 if expected is Verdict.PAUSE else None)
    assert bool(reply.meaning) == (code != 0)


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        pytest.param(answer({"errcode": 12345, "errmsg": "new"}), Verdict.RETRY, "12345", id="unknown code"),
        pytest.param(answer(b"<html>"), Verdict.RETRY, "HTTP 200", id="a page of somebody else"),
        pytest.param(answer(b"", 429), Verdict.PAUSE, "HTTP 429", id="gateway throttles"),
        pytest.param(answer(b"", 503), Verdict.RETRY, "HTTP 503", id="gateway is down"),
    ],
)
def test_without_a_known_code_the_status_decides(found: Any, verdict: Verdict, code: str) -> None:
    reply = robot().read(found)
    assert (reply.verdict, reply.code) == (verdict, code)


def test_it_is_found_by_its_kind_and_paced_below_the_limit() -> None:
    assert members(Notifier)["wecom"] is WeCom
    assert (WeCom.limit.count, WeCom.limit.seconds) == (15, 60.0)
