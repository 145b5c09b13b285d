"""Robots of groups: DingTalk, Feishu and Lark, WeCom. All answer 200; what is wrong is a code in the body."""

from __future__ import annotations

import base64
import math
import re
from typing import Any

from updater.demo.services.base import (
    Answered,
    Arrived,
    Json,
    Limit,
    Service,
    Setup,
    always,
    at,
    list_at,
    near,
    same,
    say,
    sha256,
    size,
    text_at,
)

HOUR = 3600.0  # seconds that the sender's clock may be wrong

# --- DingTalk: always 200; https://open.dingtalk.com/document/robots/custom-robot-access ---------------------------

DINGTALK_BYTES = 20_000
DINGTALK_FIELDS = {
    "text": ("content",),
    "link": ("title", "text", "messageUrl"),
    "markdown": ("title", "text"),
    "actionCard": ("title", "text"),
    "feedCard": (),
}
DINGTALK_CODES = {("markdown", "title"): 400402}  # any other field that is missing: 40035
DINGTALK_TOO_LONG = 460101  # a guess: the documentation has a limit and no code for it


def _errcode(code: int, message: str) -> Answered:
    return say({"errcode": code, "errmsg": message})


def _dingtalk_door(arrived: Arrived, setup: Setup) -> Answered | None:
    if "access_token" not in arrived.query:
        return _errcode(300001, "token is not exist")
    if not setup.knows(arrived.token):
        return _errcode(300005, "token is not exist")
    if arrived.headers.get_content_type() != "application/json":
        return _errcode(43004, "invalid http header Content-Type, expected application/json")
    secret = setup.secrets.get(arrived.token)
    if secret is None:
        return None
    stamp = arrived.query.get("timestamp", "")
    if not near(stamp, arrived.at, HOUR, 0.001):
        return _errcode(310000, "invalid timestamp")
    expected = base64.b64encode(sha256(secret, f"{stamp}\n{secret}".encode())).decode()
    return None if same(arrived.query.get("sign", ""), expected) else _errcode(310000, "sign not match")


def _dingtalk_content(arrived: Arrived, setup: Setup) -> Answered | None:
    document, kind = arrived.document, text_at(arrived.document, "msgtype")
    if document is None:
        return _errcode(40035, "invalid json")
    if len(arrived.body) > DINGTALK_BYTES:
        return _errcode(DINGTALK_TOO_LONG, f"message is longer than {DINGTALK_BYTES} bytes")
    if kind not in DINGTALK_FIELDS:
        return _errcode(400105, f"unsupported msgtype {kind[:40]!r}")
    for name in DINGTALK_FIELDS[kind]:
        if not text_at(document, kind, name).strip():
            return _errcode(DINGTALK_CODES.get((kind, name), 40035), f"{kind}.{name} is missing")
    if wrong := _dingtalk_buttons(kind, document):
        return _errcode(40035, wrong)
    if not setup.speaks(arrived.token, document):
        return _errcode(310000, "keywords not in content")
    return None


def _dingtalk_buttons(kind: str, document: Json) -> str:
    """Return what is wrong with the buttons of a card or the links of a feed, empty where nothing is."""
    card = at(document, kind)
    if kind == "actionCard" and not (text_at(card, "singleTitle") and text_at(card, "singleURL")):
        return "" if _all_have(list_at(card, "btns"), "title", "actionURL") else "actionCard has no whole button"
    if kind == "feedCard" and not _all_have(list_at(card, "links"), "title", "messageURL"):
        return "feedCard has no links with title and messageURL"
    return ""


def _all_have(entries: list[Any], *names: str) -> bool:
    return bool(entries) and all(text_at(entry, name) for entry in entries for name in names)


def _dingtalk_slow(seconds: float, again: bool) -> Answered:
    if again:
        return _errcode(410100, f"send too fast, throttled for another {math.ceil(seconds)} seconds")
    return _errcode(130101, "send too fast, exceed 20 times per minute")


# --- Feishu and Lark: always 200, `code` ---------------------------------------------------------------------------

FEISHU_BYTES = 20 << 10
FEISHU_FIELDS = {
    "text": ("content", "text"),
    "post": ("content", "post"),
    "interactive": ("card",),
    "image": ("content", "image_key"),
    "share_chat": ("content", "share_chat_id"),
}
FEISHU_OK = {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}


def _feishu(code: int, message: str, *headers: tuple[str, str]) -> Answered:
    return say({"code": code, "data": {}, "msg": message}, 200, *headers)


def _feishu_door(arrived: Arrived, setup: Setup) -> Answered | None:
    if not setup.knows(arrived.token):
        return _feishu(19001, "param invalid: incoming webhook access token invalid")
    secret = setup.secrets.get(arrived.token)
    if secret is None:
        return None
    stamp = at(arrived.document, "timestamp")
    expected = base64.b64encode(sha256(f"{stamp}\n{secret}", b"")).decode()
    if near(stamp, arrived.at, HOUR) and same(text_at(arrived.document, "sign"), expected):
        return None
    return _feishu(19021, "sign match fail or timestamp is not within one hour from current time")


def _feishu_content(arrived: Arrived, setup: Setup) -> Answered | None:
    if arrived.document is None:
        return _feishu(9499, "Bad Request")
    if len(arrived.body) > FEISHU_BYTES:
        return _feishu(9499, f"Bad Request: more than {FEISHU_BYTES} bytes")  # a guess, as that of JSON that is broken
    kind = text_at(arrived.document, "msg_type")
    if kind not in FEISHU_FIELDS:
        return _feishu(19002, "params error, msg_type need")
    if not at(arrived.document, *FEISHU_FIELDS[kind]):
        return _feishu(19002, f"params error, {'.'.join(FEISHU_FIELDS[kind])} need")
    if not setup.speaks(arrived.token, arrived.document):
        return _feishu(19024, "Key Words Not Found")
    return None


def _feishu_slow(seconds: float, _: bool) -> Answered:
    reset = ("x-ogw-ratelimit-reset", str(math.ceil(seconds)))
    return _feishu(11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]", reset)


# --- WeCom: always 200, `errcode`; https://developer.work.weixin.qq.com/document/path/91770 -------------------------

WECOM_BYTES = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}  # of `content`
WECOM_CARDS = frozenset({"text_notice", "news_notice"})


def _wecom_door(arrived: Arrived, setup: Setup) -> Answered | None:
    return None if setup.knows(arrived.token) else _errcode(93000, "invalid webhook url")


def _wecom_content(arrived: Arrived, _: Setup) -> Answered | None:
    kind = text_at(arrived.document, "msgtype")
    if arrived.document is None:
        return _errcode(47001, "data format error")
    if kind == "template_card":
        return _wecom_card(at(arrived.document, kind))
    if kind not in WECOM_BYTES:
        return _errcode(40008, "invalid message type")
    content = text_at(arrived.document, kind, "content")
    if not content:
        return _errcode(44004, f"{kind} content is empty")
    if size(content) > WECOM_BYTES[kind]:
        said = f"{kind}.content exceed max length {WECOM_BYTES[kind]}. invalid Request Parameter"
        return _errcode(40058, said)
    return None


def _wecom_card(card: object) -> Answered | None:
    title = text_at(card, "main_title", "title") or text_at(card, "sub_title_text")
    whole = text_at(card, "card_type") in WECOM_CARDS and title and at(card, "card_action", "type")
    return None if whole else _errcode(40058, "template_card needs card_type, a title and card_action")


SERVICES = (
    Service(
        "dingtalk", re.compile(r"/robot/send"), "query access_token", _dingtalk_door, _dingtalk_content,
        _dingtalk_slow, always(say({"errcode": 0, "errmsg": "ok"})), (Limit(20, 60, away=600),),
    ),
    Service(
        "feishu", re.compile(r"/open-apis/bot/v2/hook/(?P<token>[^/]+)"), "path", _feishu_door, _feishu_content,
        _feishu_slow, always(say(FEISHU_OK)), (Limit(100, 60), Limit(5, 1)),
    ),
    Service(
        "wecom", re.compile(r"/cgi-bin/webhook/send"), "query key", _wecom_door, _wecom_content,
        lambda _seconds, _again: _errcode(45009, "api freq out of limit"), always(say({"errcode": 0, "errmsg": "ok"})),
        (Limit(20, 60),),
    ),
)  # fmt: skip
