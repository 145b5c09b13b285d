"""Telegram: HTML in which outside text is only text, 4,096 characters, and what its answers mean."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.scripted import reply
from tests.notifiers.made import (
    COMMIT,
    EVERY,
    EVIL,
    HOSTILE_MESSAGE,
    HUGE,
    MANY,
    MARKED,
    MARKED_HUGE,
    SEVERAL,
    SINGLE,
    answer,
    body,
    delivery,
    entry,
    in_turn,
    message,
    over_the_wire,
    served,
)
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.telegram import JOINER, Telegram

TOKEN = "123456:AA-secret-of-telegram"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)


def telegram(**more: Any) -> Telegram:
    return Telegram.model_validate({"kind": "telegram", "token": "env:TOKEN", "chat_id": "-100123"} | more)


class Seen(HTMLParser):
    """What a reader sees; raises where a tag is open, or none that Telegram knows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.bare = self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"b", "i", "code", "a"}
        assert "code" not in self.open  # nothing stands in code
        self.open.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "code" not in self.open:
            self.bare += data


def seen(told: Message) -> Seen:
    payload = body(telegram().request(delivery(told)))
    assert payload["parse_mode"] == "HTML"
    found = Seen(payload["text"])
    assert len(found.text.encode("utf-16-le")) // 2 <= 4096
    return found


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_a_message_goes_to_the_chat_without_previews() -> None:
    request = telegram(thread_id=7).request(delivery())
    assert request.url == f"https://api.telegram.org/bot{TOKEN}/sendMessage"
    payload = body(request)
    assert (payload["chat_id"], payload["message_thread_id"]) == ("-100123", 7)
    assert payload["link_preview_options"] == {"is_disabled": True}
    assert telegram().address() == f"{TOKEN} -100123"


def test_one_event_is_its_headline_its_facts_in_code_and_links() -> None:
    lines = body(telegram().request(delivery()))["text"].splitlines()
    assert lines[0].replace(JOINER, "") == "🟢 <b>api 1.4.2 -&gt; 1.5.0</b>"
    assert lines[2] == "Image: <code>ghcr.io/acme/api</code>"
    assert lines[-1].startswith(f'<a href="{COMMIT.url}">Commit</a> · ')


def test_a_command_is_copied_as_it_stands() -> None:
    told = message(entry(action="Approve it with `updater approve 'team-a/**'`, or raise `level`", links=()))
    text = body(telegram().request(delivery(told)))["text"]
    assert "\nApprove it with <code>updater approve &#x27;team-a/**&#x27;</code>, or raise <code>level</code>" in text
    assert "\u2060" not in text


def test_several_events_stand_apart() -> None:
    blocks = body(telegram().request(delivery(SEVERAL)))["text"].split("\n\n")
    assert len(blocks) == 4


@pytest.mark.parametrize("told", list(EVERY.values()), ids=list(EVERY))
def test_every_message_is_valid(told: Message) -> None:
    assert told.title in seen(told).text.replace(JOINER, "")


def test_plain_has_no_markup() -> None:
    payload = body(telegram().request(delivery(SEVERAL, plain=True)))
    assert "parse_mode" not in payload
    assert "web 1.4.2 -> 1.5.0" in payload["text"].replace(JOINER, "")


def test_the_words_of_a_template_are_markup() -> None:
    assert "operator's *own* <b>words</b>" in body(telegram().request(delivery(MARKED)))["text"]


# --- hostile and large ----------------------------------------------------------------------------------------------


def test_outside_text_is_neither_tag_nor_link_nor_mention() -> None:
    found = seen(HOSTILE_MESSAGE)
    assert found.links == [COMMIT.url]
    assert_tame(found.bare)


def test_outside_text_without_markup_is_neither_link_nor_mention() -> None:
    assert_tame(body(telegram().request(delivery(HOSTILE_MESSAGE, plain=True)))["text"].replace(COMMIT.url, ""))


def assert_tame(text: str) -> None:
    """Nothing that Telegram makes a link of on its own: addresses, domains, mentions, hashtags, commands."""
    for bait in ("@everyone", "@channel", "#C1", "://", EVIL, "/at"):
        assert bait not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("api/prod 1.4.2-rc.1 -> 1.5.0", "api/prod 1.4.2-rc.1 -> 1.5.0", id="a version"),
        pytest.param("ghcr.io/acme/api", "ghcr.|io/acme/api", id="domain"),
        pytest.param("https://evil", "https:/|/|evil", id="address"),
        pytest.param("10.0.0.1", "10.|0.0.1", id="address of four numbers"),
        pytest.param("@all (@all)", "@|all (@|all)", id="mentions"),
        pytest.param("api@sha256:0", "api@sha256:0", id="a digest"),
        pytest.param("/stop a /stop", "/|stop a /|stop", id="commands"),
        pytest.param("#tag $USD", "#|tag $|USD", id="tags"),
    ],
)
def test_an_unseen_joiner_parts_only_what_would_become_a_link(text: str, shown: str) -> None:
    assert Telegram.escape(text) == shown.replace("|", JOINER).replace(">", "&gt;")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "told",
    [HUGE, MANY, MARKED_HUGE, HOSTILE_MESSAGE, message(entry(headline="😀<&>" * 3000))],
    ids=["huge", "many", "template", "hostile", "surrogate pairs and entities"],
)
def test_what_is_too_long_is_cut_outside_of_tags_and_entities(told: Message, plain: bool) -> None:
    if plain:
        text = body(telegram().request(delivery(told, plain=True)))["text"]
        assert 0 < len(text.encode("utf-16-le")) // 2 <= 4096
        return
    assert seen(told).text


def test_the_weight_tells_when_several_are_too_many() -> None:
    assert telegram().weigh(SEVERAL) <= Telegram.max_bytes < telegram().weigh(MANY)
    assert telegram().weigh(SINGLE) < len(body(telegram().request(delivery()))["text"])  # tags do not count


# --- answers --------------------------------------------------------------------------------------------------------


def failed(status: int, description: str, **parameters: object) -> Any:
    return answer(status, {"ok": False, "error_code": status, "description": description, "parameters": parameters})


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        pytest.param(answer(200, {"ok": True, "result": {}}), Verdict.DELIVERED, id="delivered"),
        pytest.param(answer(200, "<html>"), Verdict.RETRY, id="a page of something in between"),
        pytest.param(failed(400, "Bad Request: can't parse entities: x"), Verdict.DEGRADE, id="markup refused"),
        pytest.param(failed(400, "Bad Request: message is too long"), Verdict.DEGRADE, id="too long"),
        pytest.param(failed(400, "Bad Request: new words"), Verdict.DEGRADE, id="an unknown refusal"),
        pytest.param(failed(400, "Bad Request: chat not found"), Verdict.PERMANENT, id="unknown chat"),
        pytest.param(failed(400, "Bad Request: message thread not found"), Verdict.PERMANENT, id="unknown topic"),
        pytest.param(failed(400, "Bad Request: TOPIC_CLOSED"), Verdict.PERMANENT, id="closed topic"),
        pytest.param(failed(400, "Bad Request: CHAT_WRITE_FORBIDDEN"), Verdict.PERMANENT, id="may not write"),
        pytest.param(
            failed(400, "Bad Request: not enough rights to send text messages to the chat"),
            Verdict.PERMANENT,
            id="not enough rights",
        ),
        pytest.param(failed(401, "Unauthorized"), Verdict.PERMANENT, id="wrong token"),
        pytest.param(failed(404, "Not Found"), Verdict.PERMANENT, id="malformed token"),
        pytest.param(failed(403, "Forbidden: bot was kicked"), Verdict.PERMANENT, id="kicked"),
        pytest.param(failed(403, "Forbidden: bot was blocked by the user"), Verdict.PERMANENT, id="blocked"),
        pytest.param(failed(500, "Internal Server Error"), Verdict.RETRY, id="their bug"),
        pytest.param(answer(502, "<html>"), Verdict.RETRY, id="an outage"),
    ],
)
def test_answers_have_a_class(found: Any, verdict: Verdict) -> None:
    judged = telegram().read(found)
    assert judged.verdict is verdict
    assert verdict is Verdict.DELIVERED or judged.meaning


@pytest.mark.parametrize(
    ("found", "after"),
    [
        pytest.param(failed(429, "Too Many Requests: retry after 35", retry_after=35), 35.0, id="in the JSON"),
        pytest.param(answer(429, "", retry_after="12"), 12.0, id="in the header"),
        pytest.param(failed(429, "Too Many Requests", retry_after="soon"), 60.0, id="nothing usable: a minute"),
        pytest.param(failed(429, "Too Many Requests", retry_after=10**9), 3600.0, id="at most an hour"),
    ],
)
def test_too_many_is_a_pause_as_long_as_it_says(found: Any, after: float) -> None:
    judged = telegram().read(found)
    assert (judged.verdict, judged.after) == (Verdict.PAUSE, after)


def test_a_group_that_moved_tells_its_new_number() -> None:
    found = telegram().read(failed(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1009876))
    assert (found.verdict, "-1009876" in found.meaning) == (Verdict.PERMANENT, True)


def test_over_the_wire() -> None:
    with served(in_turn(reply(200, {"ok": True}), None)) as (server, wire):
        delivered, reset = over_the_wire(telegram(base_url=f"{server.url}/tg"), wire, TOKEN)
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert server.requests[0].target == f"/tg/bot{TOKEN}/sendMessage"


@pytest.mark.parametrize("chat_id", ["-100123", "42", "@team_channel", 42])
def test_a_chat_is_a_number_or_a_public_name(chat_id: object) -> None:
    assert telegram(chat_id=chat_id).chat_id == str(chat_id)


@pytest.mark.parametrize("fields", [{"chat_id": "team"}, {"chat_id": "1 2"}, {"token": TOKEN}, {"thread_id": 0}])
def test_what_is_no_chat_token_or_topic_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        telegram(**fields)
