"""Slack: blocks in which outside text is only text, threads, and what its answers mean."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.scripted import reply
from tests.notifiers.made import (
    COMMIT,
    EVERY,
    EVIL,
    FAILURE,
    HOSTILE_MESSAGE,
    HUGE,
    MANY,
    MARKED,
    MARKED_HUGE,
    NOTES,
    SEVERAL,
    SINGLE,
    TEST,
    answer,
    body,
    delivery,
    entry,
    in_turn,
    message,
    over_the_wire,
    served,
    texts,
)
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.slack import ERRORS, MAX_BLOCKS, MAX_FIELD, MAX_SECTION, MAX_TEXT, Slack

HOOK = "https://hooks.slack.com/services/T0/B0/hook-secret-of-slack"
TOKEN = "xoxb-123-secret-of-slack"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("TOKEN", TOKEN)


def hook(**more: Any) -> Slack:
    return Slack.model_validate({"kind": "slack", "url": "env:HOOK"} | more)


def bot(**more: Any) -> Slack:
    return Slack.model_validate({"kind": "slack", "token": "env:TOKEN", "channel": "C123"} | more)


def valid(payload: dict[str, Any]) -> None:
    """Check what the service checks."""
    assert 0 < len(payload["text"]) <= MAX_TEXT
    blocks = payload.get("blocks", [])
    assert len(blocks) <= MAX_BLOCKS
    for block in blocks:
        assert block["type"] in {"header", "section", "context", "actions"}
        text = block.get("text", {}).get("text", "x")
        assert 0 < len(text) <= (150 if block["type"] == "header" else MAX_SECTION)
        assert len(block.get("fields", ())) <= 10
        assert all(0 < len(field["text"]) <= MAX_FIELD for field in block.get("fields", ()))
        assert all(
            element.get("type") != "button" or len(element["url"]) <= 3000 for element in block.get("elements", ())
        )
    assert sum(map(len, texts(blocks))) < 40_000


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_a_webhook_gets_its_own_address_and_a_bot_the_api() -> None:
    request = hook().request(delivery())
    assert (request.url, dict(request.headers)) == (HOOK, {})
    request = bot().request(delivery())
    assert request.url == "https://slack.com/api/chat.postMessage"
    assert request.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert body(request)["channel"] == "C123"
    assert (hook().address(), bot().address()) == (HOOK, TOKEN)


def test_a_gateway_takes_the_place_of_the_public_address() -> None:
    base = "https://gateway.example.com/slack"
    assert hook(base_url=base).request(delivery()).url == f"{base}/services/T0/B0/hook-secret-of-slack"
    assert bot(base_url=base).request(delivery()).url == f"{base}/api/chat.postMessage"


def test_one_event_is_a_header_its_facts_and_buttons() -> None:
    header, section, actions = body(hook().request(delivery()))["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "🟢 api 1.4.2 -> 1.5.0", "emoji": False}
    assert section["fields"][0] == {"type": "mrkdwn", "text": "*Image*\n`ghcr.io/acme/api`", "verbatim": True}
    assert [button["url"] for button in actions["elements"]] == [COMMIT.url, NOTES.url]


def test_several_events_are_a_section_each_with_their_first_link() -> None:
    header, *sections = body(hook().request(delivery(SEVERAL)))["blocks"]
    assert header["text"]["text"] == "🟢 3 images updated"
    assert [section["text"]["text"].split()[1] for section in sections] == ["api", "web", "db"]
    assert [section["accessory"]["url"] for section in sections] == [COMMIT.url, COMMIT.url, NOTES.url]


def test_a_failure_says_who_must_do_what() -> None:
    header, section = body(hook().request(delivery(FAILURE)))["blocks"]
    assert header["text"]["text"].startswith("🔴")
    assert section["text"]["text"] == "Look at the registry."


def test_a_test_message_is_a_header_alone() -> None:
    assert [block["type"] for block in body(hook().request(delivery(TEST)))["blocks"]] == ["header"]


@pytest.mark.parametrize("told", list(EVERY.values()), ids=list(EVERY))
def test_every_message_has_a_fallback_and_unfolds_nothing(told: Message) -> None:
    payload = body(hook().request(delivery(told)))
    valid(payload)
    assert told.title.replace(">", "&gt;") in payload["text"]
    assert (payload["unfurl_links"], payload["unfurl_media"], payload["parse"]) == (False, False, "none")


def test_plain_is_text_alone() -> None:
    payload = body(bot().request(delivery(SEVERAL, plain=True, thread="1.2")))
    assert not {"blocks", "thread_ts"} & set(payload)
    assert "ghcr.io/acme/web" in payload["text"]
    assert COMMIT.url in payload["text"]


def test_the_words_of_a_template_are_markup() -> None:
    blocks = body(hook().request(delivery(MARKED)))["blocks"]
    assert blocks[1]["text"] == {"type": "mrkdwn", "text": "operator's *own* <b>words</b>", "verbatim": True}
    assert [button["url"] for button in blocks[2]["elements"]] == [COMMIT.url, NOTES.url]


def test_one_template_of_several_keeps_its_link() -> None:
    blocks = body(hook().request(delivery(message(entry(markup="*own*"), entry()))))["blocks"]
    assert (blocks[1]["text"]["text"], blocks[1]["accessory"]["url"]) == ("*own*", COMMIT.url)


@pytest.mark.parametrize(
    ("told", "thread", "expected"),
    [
        pytest.param(SINGLE, "1700000000.000100", "1700000000.000100", id="about one image: in its thread"),
        pytest.param(SINGLE, None, None, id="the first about it"),
        pytest.param(SEVERAL, "1700000000.000100", None, id="about several images: in no thread"),
    ],
)
def test_messages_about_one_image_hang_in_one_thread(told: Message, thread: str | None, expected: str | None) -> None:
    assert body(bot().request(delivery(told, thread=thread))).get("thread_ts") == expected


def test_a_webhook_has_no_threads() -> None:
    assert "thread_ts" not in body(hook().request(delivery(thread="1700000000.000100")))


# --- hostile and large ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_outside_text_is_neither_mention_nor_link_nor_markup(plain: bool) -> None:
    payload = body(hook().request(delivery(HOSTILE_MESSAGE, plain=plain)))
    valid(payload)
    assert payload["mrkdwn"] is False
    assert "<" not in payload["text"]
    marked = [text for text in objects(payload) if text["type"] == "mrkdwn"]
    assert all(text["verbatim"] is True for text in marked)
    for text in marked:
        label, _, code = text["text"].partition("\n")
        assert "<" not in text["text"]
        assert label.count("*") == 2
        assert code.count("`") == 2
        assert code.startswith("`")
        assert code.endswith("`")
    urls = [
        button["url"] for block in payload.get("blocks", ()) for button in block.get("elements", ()) if "url" in button
    ]
    assert urls == ([] if plain else [COMMIT.url])
    assert all(EVIL not in url for url in urls)


def objects(value: Any) -> list[dict[str, Any]]:
    """Return every text object, however deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) and value.get("type") in {"mrkdwn", "plain_text"} else []
    return own + [found for one in inner for found in objects(one)]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("told", [HUGE, MANY, MARKED_HUGE], ids=["huge", "many", "template"])
def test_what_is_too_large_is_shortened_into_a_valid_message(told: Message, plain: bool) -> None:
    valid(body(hook().request(delivery(told, plain=plain))))


def test_the_weight_tells_when_several_are_too_many() -> None:
    assert hook().weigh(SEVERAL) <= Slack.max_bytes < hook().weigh(MANY)
    fifty = Message("i", "t", MANY.entries[:50])
    assert hook().weigh(fifty) > Slack.max_bytes  # a header and fifty sections are 51 blocks


# --- answers --------------------------------------------------------------------------------------------------------


def test_the_first_message_is_what_later_ones_hang_on() -> None:
    first = bot().read(answer(200, {"ok": True, "ts": "1.1", "message": {"ts": "1.1"}}))
    later = bot().read(answer(200, {"ok": True, "ts": "2.2", "message": {"ts": "2.2", "thread_ts": "1.1"}}))
    assert (first.verdict, first.thread) == (Verdict.DELIVERED, "1.1")
    assert (later.verdict, later.thread) == (Verdict.DELIVERED, "1.1")


@pytest.mark.parametrize(("error", "verdict"), [pytest.param(e, v, id=f"{e}: {v}") for e, (v, _) in ERRORS.items()])
def test_errors_of_the_api_have_a_class(error: str, verdict: Verdict) -> None:
    found = bot().read(answer(200, {"ok": False, "error": error}))
    assert (found.verdict, found.code) == (verdict, error)
    assert found.meaning
    assert (found.after is not None) == (verdict is Verdict.PAUSE)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        pytest.param("ratelimited", Verdict.PAUSE, id="too many"),
        pytest.param("invalid_auth", Verdict.PERMANENT, id="wrong token"),
        pytest.param("token_revoked", Verdict.PERMANENT, id="revoked token"),
        pytest.param("account_inactive", Verdict.PERMANENT, id="deleted bot"),
        pytest.param("channel_not_found", Verdict.PERMANENT, id="unknown channel"),
        pytest.param("not_in_channel", Verdict.PERMANENT, id="bot not invited"),
        pytest.param("is_archived", Verdict.PERMANENT, id="archived channel"),
        pytest.param("msg_too_long", Verdict.DEGRADE, id="too long"),
        pytest.param("invalid_blocks", Verdict.DEGRADE, id="blocks refused"),
        pytest.param("internal_error", Verdict.RETRY, id="their bug"),
        pytest.param("service_unavailable", Verdict.RETRY, id="their outage"),
        pytest.param("fatal_error", Verdict.RETRY, id="their catastrophe"),
        pytest.param("brand_new_error", Verdict.PERMANENT, id="an unknown error"),
    ],
)
def test_the_classes_are_these(error: str, verdict: Verdict) -> None:
    assert bot().read(answer(200, {"ok": False, "error": error})).verdict is verdict


@pytest.mark.parametrize(
    ("status", "text", "verdict", "code"),
    [
        pytest.param(200, "ok", Verdict.DELIVERED, "", id="ok"),
        pytest.param(403, "invalid_token", Verdict.PERMANENT, "invalid_token", id="wrong token"),
        pytest.param(404, "no_service", Verdict.PERMANENT, "no_service", id="deleted webhook"),
        pytest.param(404, "channel_not_found", Verdict.PERMANENT, "channel_not_found", id="deleted channel"),
        pytest.param(410, "channel_is_archived", Verdict.PERMANENT, "channel_is_archived", id="archived channel"),
        pytest.param(403, "action_prohibited", Verdict.PERMANENT, "action_prohibited", id="forbidden"),
        pytest.param(400, "invalid_payload", Verdict.DEGRADE, "invalid_payload", id="content refused"),
        pytest.param(400, "invalid_blocks: at 3", Verdict.DEGRADE, "invalid_blocks", id="a word with details"),
        pytest.param(500, "rollup_error", Verdict.RETRY, "rollup_error", id="their bug"),
        pytest.param(400, "something", Verdict.DEGRADE, "HTTP 400", id="an unknown word: by status"),
        pytest.param(503, "<html>", Verdict.RETRY, "HTTP 503", id="an outage"),
        pytest.param(200, "<html>login", Verdict.RETRY, "<html>login", id="a page of something in between"),
        pytest.param(200, "no_service", Verdict.PERMANENT, "no_service", id="an error under 200"),
    ],
)
def test_a_webhook_answers_in_words(status: int, text: str, verdict: Verdict, code: str) -> None:
    found = hook().read(answer(status, text))
    assert (found.verdict, found.code) == (verdict, code)


@pytest.mark.parametrize(
    ("channel", "found", "after"),
    [
        pytest.param(hook, answer(429, "rate_limited", retry_after="30"), 30.0, id="webhook with Retry-After"),
        pytest.param(bot, answer(429, {"ok": False, "error": "ratelimited"}, retry_after="7"), 7.0, id="api"),
        pytest.param(bot, answer(429, ""), 60.0, id="nothing said: a minute"),
    ],
)
def test_too_many_is_a_pause_as_long_as_it_says(channel: Any, found: Any, after: float) -> None:
    judged = channel().read(found)
    assert (judged.verdict, judged.after) == (Verdict.PAUSE, after)


def test_over_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(in_turn(reply(200, {"ok": True, "ts": "1.1"}), None)) as (server, wire):
        delivered, reset = over_the_wire(bot(base_url=server.url), wire, TOKEN)
    assert (delivered.verdict, delivered.thread, reset.verdict) == (Verdict.DELIVERED, "1.1", Verdict.RETRY)
    assert [asked.headers["authorization"] for asked in server.requests] == [f"Bearer {TOKEN}"] * 2
    with served(in_turn(reply(200, b"ok"), None)) as (server, wire):
        delivered, reset = over_the_wire(hook(base_url=server.url), wire, "hook-secret-of-slack")
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert {asked.target for asked in server.requests} == {"/services/T0/B0/hook-secret-of-slack"}


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"token": "env:TOKEN"}, "`token` without `channel`", id="a bot without a channel"),
        pytest.param({"url": "env:HOOK", "channel": "C1"}, "`channel` beside `url`", id="a webhook with a channel"),
        pytest.param({}, "neither `url` nor `token`", id="no address"),
        pytest.param({"url": "env:HOOK", "token": "env:TOKEN"}, "both `url` and `token`", id="two addresses"),
        pytest.param({"url": HOOK}, "literal secret", id="a literal address"),
        pytest.param({"url": "env:HOOK", "base_url": "http://example.com"}, "plain HTTP", id="a gateway in the clear"),
    ],
)
def test_a_channel_has_one_complete_address(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Slack.model_validate({"kind": "slack"} | fields)


def test_an_address_that_is_none_is_said_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "hooks.slack.com/services/secret-part")
    with served(in_turn()) as (_, wire):
        found = hook().deliver(delivery(), wire)
    assert found.verdict is Verdict.PERMANENT
    assert "secret-part" not in repr(found)
