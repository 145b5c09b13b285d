"""Discord: embeds in which outside text is only text, their limits, and what its answers mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.scripted import reply
from tests.notifiers.made import (
    COMMIT,
    EVERY,
    FAILURE,
    HOSTILE_MESSAGE,
    HUGE,
    MANY,
    MARKED,
    MARKED_HUGE,
    SEVERAL,
    TEST,
    answer,
    body,
    delivery,
    entry,
    in_turn,
    message,
    over_the_wire,
    served,
)
from updater.errors import NotifyError
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.discord import Discord

TOKEN = "987654321/secret-of-discord_x"
HOOK = f"https://discord.com/api/webhooks/{TOKEN}?thread_id=5"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("TOKEN", TOKEN)


def discord(**more: Any) -> Discord:
    given = {"kind": "discord", "url": "env:HOOK"} | more
    return Discord.model_validate({key: value for key, value in given.items() if value is not None})


def payload(told: Message, *, plain: bool = False) -> dict[str, Any]:
    """Return what is sent, after what the service checks has been checked."""
    found = body(discord().request(delivery(told, plain=plain)))
    assert found["allowed_mentions"] == {"parse": []}
    assert len(found.get("content", "")) <= 2000
    assert found.get("content") or found.get("embeds")
    embeds = found.get("embeds", [])
    assert len(embeds) <= 10
    total = 0
    for embed in embeds:
        fields = embed.get("fields", [])
        assert len(fields) <= 25
        assert len(embed.get("title", "")) <= 256
        assert len(embed.get("description", "")) <= 4096
        assert all(0 < len(field["name"]) <= 256 and 0 < len(field["value"]) <= 1024 for field in fields)
        total += len(embed.get("title", "")) + len(embed.get("description", ""))
        total += sum(len(field["name"]) + len(field["value"]) for field in fields)
    assert total <= 6000
    return found


def test_the_service_is_asked_to_wait_so_that_it_tells_errors() -> None:
    assert discord().request(delivery()).url == f"{HOOK}&wait=true"
    alone = discord(url=None, token="env:TOKEN")
    assert alone.request(delivery()).url == f"https://discord.com/api/webhooks/{TOKEN}?wait=true"


def test_one_event_is_one_embed_in_the_colour_of_its_severity() -> None:
    (embed,) = payload(EVERY["single"])["embeds"]
    assert (embed["title"], embed["color"]) == ("api 1.4.2 -> 1.5.0", 0x2E9E5B)
    assert embed["fields"][0] == {"name": "Image", "value": "`ghcr.io/acme/api`", "inline": True}
    assert embed["description"].startswith(f"[Commit](<{COMMIT.url}>)")
    assert embed["timestamp"] == "2026-11-25T18:00:05+00:00"
    assert "content" not in payload(EVERY["single"])


def test_several_events_are_an_embed_each_under_a_summary() -> None:
    found = payload(SEVERAL)
    assert found["content"] == "3 images updated"
    assert len(found["embeds"]) == 3


def test_a_failure_is_red_and_says_what_to_do() -> None:
    (embed,) = payload(FAILURE)["embeds"]
    assert (embed["color"], embed["description"]) == (0xD0342C, "Look at the registry.")


def test_a_command_is_copied_as_it_stands() -> None:
    told = message(entry(action="Approve *it* with `updater approve 'team-a/**'`", links=()))
    assert payload(told)["embeds"][0]["description"] == r"Approve \*it\* with `updater approve 'team-a/**'`"


def test_a_test_message_is_a_title_alone() -> None:
    (embed,) = payload(TEST)["embeds"]
    assert embed["title"] == "Test message of updater"


def test_plain_is_text_alone() -> None:
    found = payload(SEVERAL, plain=True)
    assert "embeds" not in found
    assert "web 1.4.2" in found["content"]


def test_the_words_of_a_template_are_markup() -> None:
    (embed,) = payload(MARKED)["embeds"]
    assert (embed["title"], embed["description"]) == ("api 1.4.2 -> 1.5.0", "operator's *own* <b>words</b>")


@pytest.mark.parametrize("plain", [False, True])
def test_outside_text_holds_no_markdown_mention_or_link(plain: bool) -> None:
    found = payload(HOSTILE_MESSAGE, plain=plain)
    shown = [found.get("content", "")]
    for embed in found.get("embeds", ()):
        description, _, links = embed.get("description", "").rpartition("\n")
        words = re.sub(r"(?<!\\)`[^`\n]+`", "", description)  # the commands of an action are code
        shown += [embed["title"], words, *(field["name"] for field in embed["fields"])]
        assert links.endswith(f"](<{COMMIT.url}>)")
        assert links.count("](<") == 1
        assert all(re.fullmatch(r"`[^`\n]+`", field["value"]) for field in embed["fields"])
    for text in shown:
        assert re.search(r"(?<!\\)([*_~`|<\[\]@]|://)|^[#>-]", text.replace("\\\\", ""), re.MULTILINE) is None


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("v1.5.0-rc.1", "v1.5.0-rc.1", id="a tag stays as it is"),
        pytest.param("-# small", r"\-# small", id="small print"),
        pytest.param("# big", r"\# big", id="heading"),
        pytest.param("> quote", r"\> quote", id="quotation"),
        pytest.param("1. list", r"1\. list", id="numbered list"),
        pytest.param("1.5.0", "1.5.0", id="a version is no list"),
        pytest.param("a\n- list", "a\n\\- list", id="a list on a later line"),
        pytest.param("https://x", r"https\://x", id="address"),
        pytest.param("<@1> @here", r"\<\@1> \@here", id="mentions"),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert Discord.escape(text) == escaped


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "told",
    [HUGE, MANY, MARKED_HUGE, message(*(entry(name=f"i{n}", headline="*" * 200) for n in range(11)))],
    ids=["huge", "many", "template", "eleven embeds"],
)
def test_what_is_too_large_is_shortened(told: Message, plain: bool) -> None:
    assert payload(told, plain=plain)
    assert discord().weigh(told) > Discord.max_bytes


def test_ten_events_fit_and_eleven_do_not() -> None:
    ten, eleven = (message(*MANY.entries[:count]) for count in (10, 11))
    assert discord().weigh(ten) <= Discord.max_bytes < discord().weigh(eleven)


@pytest.mark.parametrize(
    ("status", "said", "verdict"),
    [
        pytest.param(200, {"id": "1"}, Verdict.DELIVERED, id="delivered"),
        pytest.param(204, "", Verdict.DELIVERED, id="delivered, not waited for"),
        pytest.param(404, {"code": 10015, "message": "Unknown Webhook"}, Verdict.PERMANENT, id="unknown webhook"),
        pytest.param(401, {"code": 50027, "message": "Invalid Webhook Token"}, Verdict.PERMANENT, id="wrong token"),
        pytest.param(400, {"code": 10003, "message": "Unknown Channel"}, Verdict.PERMANENT, id="unknown channel"),
        pytest.param(400, {"code": 220001, "message": "x"}, Verdict.PERMANENT, id="a forum needs a thread"),
        pytest.param(400, {"code": 50035, "message": "Invalid Form Body"}, Verdict.DEGRADE, id="content refused"),
        pytest.param(400, {"code": 50006, "message": "empty"}, Verdict.DEGRADE, id="empty"),
        pytest.param(400, {"embeds": ["0"]}, Verdict.DEGRADE, id="embeds refused, no code"),
        pytest.param(413, {"code": 40005, "message": "too large"}, Verdict.DEGRADE, id="too large"),
        pytest.param(503, {"code": 130000, "message": "overloaded"}, Verdict.RETRY, id="overloaded"),
        pytest.param(502, "<html>", Verdict.RETRY, id="an outage"),
        pytest.param(403, "error code: 1010", Verdict.PERMANENT, id="banned by the proxy"),
    ],
)
def test_answers_have_a_class(status: int, said: Any, verdict: Verdict) -> None:
    found = discord().read(answer(status, said))
    assert found.verdict is verdict
    assert verdict is Verdict.DELIVERED or found.meaning


@pytest.mark.parametrize(
    ("found", "after"),
    [
        pytest.param(answer(429, {"message": "x", "retry_after": 64.57, "global": False}), 64.57, id="in the JSON"),
        pytest.param(answer(429, {"retry_after": 0.3}, retry_after="1"), 1.0, id="at least a second"),
        pytest.param(answer(429, "error code: 1015", retry_after="20"), 20.0, id="the proxy in front"),
        pytest.param(answer(429, {"retry_after": True}), 60.0, id="nothing usable: a minute"),
    ],
)
def test_too_many_is_a_pause_as_long_as_it_says(found: Any, after: float) -> None:
    judged = discord().read(found)
    assert (judged.verdict, judged.after) == (Verdict.PAUSE, after)


def test_over_the_wire() -> None:
    with served(in_turn(reply(200, {"id": "1"}), None)) as (server, wire):
        delivered, reset = over_the_wire(discord(base_url=server.url), wire, "secret-of-discord")
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert server.requests[0].query == {"thread_id": ["5"], "wait": ["true"]}


@pytest.mark.parametrize("token", ["only-a-token", "1/a/b", "1/a?b=c", "x/a", "1/", "1/a b"])
def test_a_token_is_the_end_of_the_address(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TOKEN", token)
    with pytest.raises(NotifyError, match="ID/TOKEN"):
        discord(url=None, token="env:TOKEN").address()


def test_the_address_is_a_reference() -> None:
    with pytest.raises(ValidationError, match="literal secret"):
        discord(url=HOOK)
