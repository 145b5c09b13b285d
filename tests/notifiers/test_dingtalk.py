"""DingTalk: what a message looks like, how it is signed, and what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

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
from updater.errors import NotifyError
from updater.model.message import Link
from updater.notifiers.base import Delivery, Notifier, Verdict, Wire
from updater.notifiers.dingtalk import _CODES, DingTalk
from updater.plugins import members
from updater.transport.http import Http

TOKEN = "token-of-dingtalk-0123"
HOOK = f"https://oapi.dingtalk.com/robot/send?access_token={TOKEN}"
SECRET = "SEC-of-dingtalk-0123"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SECRET", f" {SECRET}\n")


def robot(**fields: Any) -> DingTalk:
    return DingTalk(**({"url": "env:HOOK"} | fields))


def text(told: dict[str, Any]) -> str:
    """Return what is shown, whatever the type."""
    kind = told["msgtype"]
    return str(told[kind]["content" if kind == "text" else "text"])


# --- the address -----------------------------------------------------------------------------------------------------


def documented_sign(secret: str, stamp: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("wanted", ["+", "/", "="])
def test_a_signature_is_encoded_exactly_once(wanted: str) -> None:
    signer, seen = robot(secret="env:SECRET"), ""
    for seconds in range(200):
        now = NOW + timedelta(seconds=seconds)
        query = urlsplit(signer.request(Delivery(message(), now)).url).query
        raw = dict(pair.split("=", 1) for pair in query.split("&"))
        assert raw["timestamp"] == str(int(now.timestamp() * 1000))
        assert unquote(raw["sign"]) == documented_sign(SECRET, raw["timestamp"])
        assert not set(raw["sign"]) & set("+/=")
        seen += unquote(raw["sign"])
    assert wanted in seen


@pytest.mark.parametrize(
    ("hook", "fields", "expected"),
    [
        pytest.param(HOOK, {}, HOOK, id="no secret"),
        pytest.param(f"{HOOK}&timestamp=1&sign=OLD", {"secret": "env:SECRET"}, f"{HOOK}&timestamp=", id="old sign"),
        pytest.param(f"{HOOK}&to=a%2Fb", {"secret": "env:SECRET"}, f"{HOOK}&to=a%2Fb&timestamp=", id="own query"),
        pytest.param(HOOK, {"base_url": "https://gw.example.com/ding/"},
                     f"https://gw.example.com/ding/robot/send?access_token={TOKEN}", id="gateway with a path"),
        pytest.param(HOOK, {"base_url": "http://127.0.0.1:8080", "secret": "env:SECRET"},
                     f"http://127.0.0.1:8080/robot/send?access_token={TOKEN}&timestamp=", id="gateway, signed"),
        pytest.param(HOOK, {"url": None, "token": "env:TOKEN"}, HOOK, id="token alone"),
    ],
)  # fmt: skip
def test_the_address_keeps_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, hook: str, fields: dict[str, Any], expected: str
) -> None:
    monkeypatch.setenv("HOOK", hook)
    url = robot(**fields).request(Delivery(message(), NOW)).url
    assert url.startswith(expected)
    assert url.count("timestamp=") == url.count("sign=") == ("secret" in fields)


def test_an_address_that_is_none_is_refused_without_being_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f"http://oapi.dingtalk.com/robot/send?access_token={TOKEN}")
    with pytest.raises(NotifyError) as caught:
        robot().request(Delivery(message(), NOW))
    assert TOKEN not in str(caught.value)


def test_what_arrives_at_a_server_verifies_there() -> None:
    """The client on the way out changes neither token nor signature."""
    seen: list[tuple[str, str, bytes]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            read = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, str(self.headers["Content-Type"]), read))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"errcode": 0, "errmsg": "ok"}')

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server, Http() as http:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            signer = robot(base_url=f"http://127.0.0.1:{server.server_port}/ding", secret="env:SECRET")
            reply = signer.deliver(Delivery(message(entry()), NOW), Wire(http))
        finally:
            server.shutdown()
            thread.join()
    ((path, kind, read),) = seen
    query = parse_qs(urlsplit(path).query, strict_parsing=True)
    assert urlsplit(path).path == "/ding/robot/send"
    assert query["access_token"] == [TOKEN]
    assert query["sign"] == [documented_sign(SECRET, query["timestamp"][0])]
    assert kind == "application/json; charset=utf-8"
    assert json.loads(read)["msgtype"] == "markdown"
    assert reply.verdict is Verdict.DELIVERED


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_one_event_with_links_is_a_card_with_buttons() -> None:
    told = body(robot(), message(entry(links=(COMMIT, NOTES)), note="2 more were held back"))
    assert told == {
        "msgtype": "actionCard",
        "actionCard": {
            "title": "api 1.4.2 -> 1.5.0",
            "text": "#### api 1.4.2 -> 1.5.0\n\n- Image: ghcr.io/acme/api\n\n> 2 more were held back",
            "btnOrientation": "1",
            "btns": [
                {"title": "View commit", "actionURL": "https://git.example.com/fleet/commit/abc"},
                {"title": "Changelog", "actionURL": "https://example.com/notes%281.5%29"},
            ],
        },
    }


def test_one_link_is_one_button_below_the_card() -> None:
    card = body(robot(), message(entry(links=(COMMIT,))))["actionCard"]
    assert (card["singleTitle"], card["singleURL"]) == (COMMIT.text, COMMIT.url)
    assert "btns" not in card


def test_three_buttons_stand_below_each_other() -> None:
    card = body(robot(), message(entry(links=(COMMIT, NOTES, COMMIT))))["actionCard"]
    assert card["btnOrientation"] == "0"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "dingtalk://x", "ftp://example.com/", "//example.com"])
def test_only_web_addresses_become_links(url: str) -> None:
    told = body(robot(), message(entry(links=(Link("x", url),))))
    assert told["msgtype"] == "markdown"
    assert url not in json.dumps(told)


def test_several_events_are_one_list() -> None:
    told = body(
        robot(),
        message(
            entry(links=(COMMIT,)),
            entry(FAILED, "registry.example.com: list failed", (("Why", "HTTP 503"),), "Look at the registry"),
            title="2 events",
        ),
    )
    assert told == {
        "msgtype": "markdown",
        "markdown": {
            "title": "2 events",
            "text": (
                "#### 2 events\n\n"
                "- api 1.4.2 -> 1.5.0 [View commit](https://git.example.com/fleet/commit/abc)\n"
                "- registry.example.com: list failed  \n  Why: HTTP 503  \n  → Look at the registry"
            ),
        },
    }


def test_a_failure_calls_people_and_is_no_card_then() -> None:
    told = body(robot(at={"mobiles": [13800000000], "users": ["u1"]}), message(entry(FAILED, links=(COMMIT,))))
    assert told["msgtype"] == "markdown"
    assert told["at"] == {"atMobiles": ["13800000000"], "atUserIds": ["u1"], "isAtAll": False}
    assert text(told).endswith("[View commit](https://git.example.com/fleet/commit/abc)\n\n@13800000000 @u1")


def test_a_failure_without_anybody_to_call_is_a_card() -> None:
    assert body(robot(), message(entry(FAILED, links=(COMMIT,))))["msgtype"] == "actionCard"


@pytest.mark.parametrize(
    ("kinds", "called"),
    [
        pytest.param([UPDATED], False, id="info calls nobody"),
        pytest.param([HELD], True, id="warning"),
        pytest.param([FAILED], True, id="error"),
        pytest.param([UPDATED, FAILED], True, id="the gravest counts"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_people_are_called_from_warning_on(kinds: list[Any], called: bool, plain: bool) -> None:
    told = body(robot(at={"all": True, "users": ["u1"]}), message(*map(entry, kinds)), plain=plain)
    assert ("at" in told) == called
    assert ("@u1" in text(told)) == called


def test_a_test_is_markdown_and_calls_nobody() -> None:
    told = body(robot(at={"all": True}), message(entry(FAILED, links=(COMMIT,)), title="It works", note="n", test=True))
    assert told["msgtype"] == "markdown"
    assert told["markdown"]["text"].startswith("#### It works\n\n- api")
    assert "at" not in told


def test_what_was_refused_goes_out_as_text_without_markup() -> None:
    told = body(robot(), message(entry(FAILED, markup="**x**", links=(NOTES,), action="Look")), plain=True)
    assert told == {
        "msgtype": "text",
        "text": {
            "content": "api 1.4.2 -> 1.5.0\nImage: ghcr.io/acme/api\nLook\nChangelog: https://example.com/notes(1.5)"
        },
    }


def test_a_template_takes_the_place_of_the_whole_event() -> None:
    assert text(body(robot(), message(entry(markup="**mine**\n\n- x"), note="n"))) == "**mine**\n\n- x\n\n> n"


def test_a_command_can_be_copied_and_an_action_is_told_of_every_event() -> None:
    action = "Approve it with `updater approve 'team-a/**'`, or raise `level`"
    told = message(entry(), entry(HELD_UPDATE, action=action), title="2 events")
    assert text(body(robot(), told)).endswith(f"  \n  → {action}")
    assert text(body(robot(), message(entry(HELD_UPDATE, action=action)))).endswith(f"\n\n→ {action}")


# --- keywords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "title"),
    [
        pytest.param([], "api 1.4.2 -> 1.5.0", id="none asked for"),
        pytest.param(["deploy", "ghcr.io"], "api 1.4.2 -> 1.5.0", id="one stands in the text"),
        pytest.param(["1.5.0"], "api 1.4.2 -> 1.5.0", id="one stands in the title"),
        pytest.param(["更新", "x-y"], "更新 api 1.4.2 -> 1.5.0", id="none: the first goes before the title"),
    ],
)
def test_one_keyword_is_always_there(keywords: list[str], title: str) -> None:
    told = message(entry())
    assert body(robot(keywords=keywords), told)["markdown"]["title"] == title
    assert text(body(robot(keywords=keywords), told, plain=True)).startswith(title)


@pytest.mark.parametrize("told", [message(entry()), message(entry(links=(COMMIT,))), message(test=True)],
                         ids=["markdown", "card", "test"])  # fmt: skip
def test_a_keyword_survives_any_shape(told: Any) -> None:
    assert "更新" in json.dumps(body(robot(keywords=["更新"]), told), ensure_ascii=False)


@pytest.mark.parametrize("fields", [
    pytest.param({"keywords": list("abcdefghijk")}, id="eleven keywords"),
    pytest.param({"keywords": [""]}, id="an empty keyword"),
    pytest.param({"keywords": ["a\nb"]}, id="a keyword on two lines"),
    pytest.param({"at": {"mobiles": ["**"]}}, id="a number that is none"),
    pytest.param({"at": {"users": ["a b"]}}, id="a user that is none"),
    pytest.param({"at": {"everybody": True}}, id="an unknown key"),
    pytest.param({"token": "env:TOKEN"}, id="address and token"),
    pytest.param({"secret": "SECliteral"}, id="a literal secret"),
])  # fmt: skip
def test_a_field_that_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        robot(**fields)


# --- texts from outside ----------------------------------------------------------------------------------------------

MARKUP = re.compile(
    r"\]\(|!\[|\*\*|`|~~|<[a-z@/]|&#?[A-Za-z0-9]+;|@(?!sha)\w|https?://|\bwww\.|\\|[\r\n\u2028\u202e]|^(?:#|>|-|\d\. )"
)


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_stays_text(hostile: str) -> None:
    """What the Markdown could take for markup is there before, and is not after."""
    assert MARKUP.search(hostile)
    assert not MARKUP.search(DingTalk.escape(hostile))


@given(st.text(st.sampled_from("*_`~[]()<>@&;!#-+.:/\\ \n\u200b\u202e1awltse"), max_size=30))
def test_no_text_at_all_becomes_markup(strange: str) -> None:
    assert not MARKUP.search(DingTalk.escape(strange))


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_adds_no_line_and_no_mention_anywhere(hostile: str) -> None:
    told = message(entry(FAILED, hostile, ((hostile, hostile),), hostile), title=hostile, note=hostile)
    shown = text(body(robot(), told))
    assert len(shown.splitlines()) == 7
    assert not re.search(r"@(all|1380)|https?://|<(font|at|@)", shown)
    plain = text(body(robot(), told, plain=True))
    assert len(plain.splitlines()) == 4
    assert not re.search(r"@(all|1380)|https?://|<(font|at|@)", plain)


@pytest.mark.parametrize(
    "honest",
    [
        "1.5.0@sha256:0123456789abcdef", "api_server-v2_beta", "ghcr.io/acme/a__b:1.5.0-rc.1+build",
        "semver >=1.4.0 <2.0.0",
        "1.4.2 -> 1.5.0", "v1.2.3_", "a & b (c)", "更新 nginx:1.27",
    ],
)  # fmt: skip
def test_versions_and_names_stay_readable(honest: str) -> None:
    shown = DingTalk.escape(honest)
    assert shown.replace("\uff3f", "_") == honest  # one at the end of a word has a wide look-alike


# --- sizes -----------------------------------------------------------------------------------------------------------


def long(text: str) -> Any:
    facts = tuple((f"Label {n}", text * 3000) for n in range(20))
    return entry(
        FAILED, text * 3000, facts, text * 3000, links=(Link(text * 500, f"https://example.com/{'x' * 9000}"),) * 3
    )


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("text", ["x", "版", "😀", "*", "@a "])
def test_one_event_is_shortened_until_it_fits(text: str, plain: bool) -> None:
    calling = robot(at={"mobiles": ["13800000000"]}, keywords=["kw"])
    told = message(long(text), note=text * 3000)
    sent = calling.request(Delivery(told, NOW, plain)).body
    assert len(sent) <= calling.max_bytes < 20_000
    assert json.loads(sent)["at"]["atMobiles"] == ["13800000000"]


def test_values_are_cut_before_facts_go() -> None:
    facts = tuple((f"Label {n}", "v" * 1500) for n in range(20))
    shown = text(body(robot(), message(entry(facts=facts))))
    assert shown.count("…") == 20
    assert "- Label 19: vvv" in shown


def test_a_template_that_is_too_long_gives_way_to_our_words() -> None:
    assert (
        text(body(robot(), message(entry(markup="[x](y" * 9000))))
        == "#### api 1.4.2 -> 1.5.0\n\n- Image: ghcr.io/acme/api"
    )


def test_many_events_weigh_more_than_is_sent_so_that_they_can_be_split() -> None:
    told = message(*[entry(headline=f"image {n} 1.0 -> 2.0", links=(COMMIT,)) for n in range(500)], title="500 events")
    assert robot().weigh(told) > DingTalk.max_bytes
    one = message(entry())
    assert robot().weigh(one) == len(robot(secret="env:SECRET").request(Delivery(one, NOW)).body)


@pytest.mark.parametrize(("language", "more"), [("en", "> and {} more"), ("zh", "> 另有 {} 项")])
def test_many_events_that_are_sent_all_the_same_say_how_many_are_missing(language: Any, more: str) -> None:
    told = message(*[entry(headline="x" * 300)] * 500, title="500 events", language=language)
    sent = robot().request(Delivery(told, NOW)).body
    shown = text(json.loads(sent))
    assert 0 < len(sent) <= DingTalk.max_bytes
    assert shown.endswith(more.format(500 - shown.count("\n- ")))


def test_weighing_reads_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK")
    monkeypatch.delenv("SECRET")
    assert robot(secret="env:SECRET").weigh(message(entry())) > 0


# --- answers ---------------------------------------------------------------------------------------------------------

VERDICTS = {
    Verdict.DELIVERED: {0},
    Verdict.RETRY: {-1},
    Verdict.PAUSE: {130101, 410100},
    Verdict.PERMANENT: {310000, 300001, 300005, 400101, 400013, 400102, 400106},
    Verdict.DEGRADE: {400105, 400402, 40035, 430101, 430102, 430103, 430104, 460101},
}


@pytest.mark.parametrize("code", _CODES, ids=str)
@pytest.mark.parametrize("status", [200, 500])
def test_the_code_decides_whatever_the_status(code: int, status: int) -> None:
    reply = robot().read(answer({"errcode": code, "errmsg": "said"}, status))
    (expected,) = [verdict for verdict, codes in VERDICTS.items() if code in codes]
    assert reply.verdict is expected
    assert (reply.code, reply.said, reply.after) == (str(code), "said", 600.0 if expected is Verdict.PAUSE else None)
    assert bool(reply.meaning) == (code != 0)


@pytest.mark.parametrize(
    ("errmsg", "expected"),
    [
        ("keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]", "keywords"),
        ("description:关键词不匹配;solution:请联系群管理员查看此机器人的关键词;", "keywords"),
        ("错误描述:关键词不匹配;解决方案:请联系群管理员查看此机器人的关键词;", "keywords"),
        ("invalid timestamp, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]", "clock"),
        ("description:机器人发送签名过期;solution:请确认签名;link:x", "clock"),
        ("sign not match, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]", "secret"),
        ("description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳必须都放在网址中;link:x", "secret"),
        ("ip 203.0.113.7 not in whitelist", "address"),
        ("description:ip 不在白名单中;solution:请联系对应群的管理员,设置机器人安全ip地址段", "address"),
        ("something new", "security settings"),
        (None, "security settings"),
    ],
)  # fmt: skip
def test_the_security_setting_that_refused_is_named(errmsg: str | None, expected: str) -> None:
    reply = robot().read(answer({"errcode": 310000, "errmsg": errmsg}))
    assert reply.verdict is Verdict.PERMANENT
    assert expected in reply.meaning


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        pytest.param(answer({"errcode": 999999, "errmsg": "new"}), Verdict.RETRY, "999999", id="unknown code"),
        pytest.param(answer({"errcode": "310000"}), Verdict.PERMANENT, "310000", id="a code as text"),
        pytest.param(answer({"errcode": True}), Verdict.RETRY, "HTTP 200", id="a code that is none"),
        pytest.param(answer({"errcode": 7}, 404), Verdict.PERMANENT, "HTTP 404", id="unknown code, failing status"),
        pytest.param(answer(b"<html>login</html>"), Verdict.RETRY, "HTTP 200", id="a page of somebody else"),
        pytest.param(answer([]), Verdict.RETRY, "HTTP 200", id="JSON, but no object"),
        pytest.param(answer(b"bad gateway", 502), Verdict.RETRY, "HTTP 502", id="gateway"),
        pytest.param(answer(b"", 429, Retry_After="7"), Verdict.PAUSE, "HTTP 429", id="gateway throttles"),
        pytest.param(answer(b"", 404), Verdict.PERMANENT, "HTTP 404", id="gone"),
        pytest.param(answer(b"", 413), Verdict.DEGRADE, "HTTP 413", id="too large for a gateway"),
    ],
)  # fmt: skip
def test_without_a_known_code_the_status_decides(found: Any, verdict: Verdict, code: str) -> None:
    reply = robot().read(found)
    assert (reply.verdict, reply.code) == (verdict, code)


def test_what_the_service_says_holds_no_secret_and_is_one_line() -> None:
    robot(secret="env:SECRET").request(Delivery(message(), NOW))
    reply = robot().read(answer({"errcode": 310000, "errmsg": f"sign\n({SECRET}) for {TOKEN} at {HOOK}"}))
    assert reply.said == "sign (***) for *** at ***"


def test_it_is_found_by_its_kind_and_paced_below_the_limit() -> None:
    assert members(Notifier)["dingtalk"] is DingTalk
    assert (DingTalk.limit.count, DingTalk.limit.seconds) == (15, 60.0)
